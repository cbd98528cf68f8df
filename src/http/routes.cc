#include "http/routes.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "api/content_type.h"
#include "base/limits.h"

namespace ursula::http {
namespace {

namespace limits = base::limits;

constexpr std::array<std::string_view, 9> reserved_buckets{
    "health", "livez", "readyz", "metrics", "console", "admin", "debug", "__ursula", "__ds"};
constexpr std::array<std::string_view, 7> reserved_segments{
    "attrs", "snapshot", "bootstrap", "retention", "append-batch", "records", "$transaction"};

constexpr std::string_view control_segment = "__ds";

template <class List>
bool contains(const List& list, std::string_view name) {
    return std::find(list.begin(), list.end(), name) != list.end();
}

// What is the server's own is so in any mix of cases: a proxy in front may not care about case.
bool is_control_segment(std::string_view segment) {
    return api::equal_ignoring_case(segment, control_segment);
}

bool is_reserved_bucket(std::string_view name) {
    return std::any_of(
        reserved_buckets.begin(), reserved_buckets.end(),
        [name](std::string_view reserved) { return api::equal_ignoring_case(name, reserved); });
}

std::string_view first_segment(std::string_view path) {
    return path.substr(0, path.find('/'));
}

bool good_bucket_name(std::string_view name) {
    if (name.size() < limits::bucket_name_bytes_min ||
        name.size() > limits::bucket_name_bytes_max || name.starts_with("__")) {
        return false;
    }
    return std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-' || c == '.';
    });
}

Route refuse(NameTrouble why) {
    Route route;
    route.why = why;
    return route;
}

// The first `count` segments of `path` (no leading slash) have no empty one and are counted; 0 on
// an empty segment.
std::size_t count_segments(std::string_view path) {
    if (path.empty() || path.front() == '/' || path.back() == '/' ||
        path.find("//") != std::string_view::npos) {
        return 0;
    }
    return 1 + static_cast<std::size_t>(std::count(path.begin(), path.end(), '/'));
}

Route built_in_stream(char* decoded, std::size_t size, std::size_t prefix) {
    // "/v1/stream/rest": write "v1/" over the three bytes before rest.
    std::memcpy(decoded + prefix - 3, "v1/", 3);
    const std::string_view name(decoded + prefix - 3, size - prefix + 3);
    const std::string_view rest = name.substr(3);
    if (first_segment(rest) == control_segment) {
        Route route;
        route.kind = RouteKind::subscriptions;
        route.stream_name = rest.substr(control_segment.size());
        return route;
    }
    const std::size_t segments = count_segments(rest);
    if (segments == 0) {
        return refuse(NameTrouble::empty_segment);
    }
    if (segments > limits::path_segments_max) {
        return refuse(NameTrouble::too_many_segments);
    }
    if (rest.size() > limits::path_bytes_max) {
        return refuse(NameTrouble::too_long);
    }
    if (is_control_segment(first_segment(rest))) {
        return refuse(NameTrouble::reserved_segment);
    }
    Route route;
    route.kind = RouteKind::stream;
    route.built_in = true;
    route.stream_name = name;
    route.placed_by = name;
    return route;
}

Route server_route(std::string_view first) {
    Route route;
    if (first == "livez") {
        route.kind = RouteKind::livez;
    } else if (first == "readyz") {
        route.kind = RouteKind::readyz;
    } else if (first == "health") {
        route.kind = RouteKind::health;
    } else if (first == "metrics") {
        route.kind = RouteKind::metrics;
    } else {
        return refuse(NameTrouble::reserved_bucket);
    }
    return route;
}

}  // namespace

Route find_route(char* decoded, std::size_t size) {
    const std::string_view path(decoded + 1, size - 1);
    if (path.empty()) {
        Route route;
        route.kind = RouteKind::root;
        return route;
    }
    if (path.starts_with("v1/stream/")) {
        return built_in_stream(decoded, size, 11);
    }
    if (path.starts_with("admin/")) {
        Route route;
        route.kind = RouteKind::admin;
        route.stream_name = {decoded + 6, size - 6};
        return route;
    }
    if (path.starts_with("v1/streams/")) {
        return built_in_stream(decoded, size, 12);
    }
    const std::size_t segments = count_segments(path);
    if (segments == 0) {
        return refuse(NameTrouble::empty_segment);
    }
    const std::string_view first = first_segment(path);
    if (api::equal_ignoring_case(first, "v1") || (segments > 1 && is_reserved_bucket(first))) {
        return refuse(NameTrouble::reserved_bucket);
    }
    if (segments == 1 && is_reserved_bucket(first)) {
        return server_route(first);
    }
    if (!good_bucket_name(first)) {
        return refuse(NameTrouble::bad_bucket_name);
    }
    Route route;
    route.bucket = first;
    if (segments == 1) {
        route.kind = RouteKind::bucket;
        return route;
    }
    const std::string_view behind = path.substr(first.size() + 1);
    if (first_segment(behind) == control_segment && segments > 2) {
        route.kind = RouteKind::subscriptions;
        route.stream_name = behind.substr(control_segment.size());
        return route;
    }
    if (segments > 3) {
        return refuse(NameTrouble::too_many_segments);
    }
    if (path.size() - first.size() - 1 > limits::path_bytes_max) {
        return refuse(NameTrouble::too_long);
    }
    const std::size_t last_slash = path.rfind('/');
    const std::string_view last = path.substr(last_slash + 1);
    if (contains(reserved_segments, last) || is_control_segment(last) ||
        is_control_segment(first_segment(path.substr(first.size() + 1)))) {
        return refuse(NameTrouble::reserved_segment);
    }
    route.kind = RouteKind::stream;
    route.stream_name = path;
    route.placed_by = segments == 3 ? path.substr(0, last_slash) : path;
    return route;
}

std::string_view allowed_methods(RouteKind kind) {
    switch (kind) {
        case RouteKind::bucket:
            return "PUT, GET, HEAD, DELETE, OPTIONS";
        case RouteKind::root:
        case RouteKind::livez:
        case RouteKind::readyz:
        case RouteKind::health:
        case RouteKind::metrics:
            return "GET, HEAD, OPTIONS";
        case RouteKind::stream:
        case RouteKind::subscriptions:  // each of its paths has its own
        case RouteKind::admin:
        case RouteKind::refused:
            break;
    }
    return "GET, HEAD, POST, PUT, DELETE, OPTIONS";
}

}  // namespace ursula::http
