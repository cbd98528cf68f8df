// A decoded path -> what it names (DESIGN "Identity and URLs"). Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace ursula::http {

enum class RouteKind : std::uint8_t {
    root,  // "/"
    livez,
    readyz,
    health,
    metrics,
    admin,  // "/admin/...", decided by the admin plane: `stream_name` is what follows "/admin"
    subscriptions,  // "/v1/stream/__ds/...", "/{bucket}/__ds/...": `stream_name` follows "__ds"
    bucket,         // "/{bucket}"
    stream,         // "/{bucket}/{stream}", "/{bucket}/{affinity}/{stream}", "/v1/stream/{path}"
    refused,        // `why` says it
};

enum class NameTrouble : std::uint8_t {
    none,
    reserved_bucket,   // a first segment that is the server's own
    reserved_segment,  // a last segment kept for the stream's own resources
    bad_bucket_name,
    too_long,
    too_many_segments,
    empty_segment,
};

struct Route {
    RouteKind kind = RouteKind::refused;
    NameTrouble why = NameTrouble::none;
    bool built_in = false;         // under /v1/stream
    std::string_view bucket;       // bucket and stream routes outside the built-in namespace
    std::string_view stream_name;  // canonical: the path without its first '/', or "v1/..." (points
                                   // into `decoded`)
    std::string_view placed_by;    // what placement hashes: bucket/affinity, or the whole name
};

// `decoded` starts with '/', is valid UTF-8 without controls, backslashes and dot segments
// (net::decode_path saw to that). Its bytes are rewritten in place for /v1/stream/... so that "v1/"
// stands right before the rest.
Route find_route(char* decoded, std::size_t size);

// For Allow.
std::string_view allowed_methods(RouteKind kind);

}  // namespace ursula::http
