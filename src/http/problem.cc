#include "http/problem.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "net/response_writer.h"

namespace ursula::http {
namespace {

namespace limits = base::limits;

// JSON string content; anything that is not plain ASCII is escaped bytewise as U+FFFD's ASCII
// stand-in '?', so that no client byte can break out or mislead a terminal.
void append_escaped(std::string& out, std::string_view text) {
    for (char c : text.substr(0, limits::quoted_bytes_max)) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c >= 0x20 && c < 0x7f) {
            out += c;
        } else {
            out += '?';
        }
    }
}

// The path as a person would name the stream.
std::string_view short_name(std::string_view path) {
    return path.starts_with('/') ? path.substr(1) : path;
}

// A URL between quotes that a shell takes as one word. Empty when it would not fit a hint whole: a
// command that was cut must not be pasted.
std::string shell_url(const Place& place, std::string_view path) {
    constexpr std::size_t bytes_max = limits::quoted_bytes_max - 100;  // leaves room for the rest
    std::string url = "'http://";
    for (const std::string_view part : {place.host, path}) {
        for (char c : part) {
            if (c == '\'') {
                url += "%27";
            } else {
                url += c;
            }
        }
    }
    url += '\'';
    return url.size() <= bytes_max ? url : std::string();
}

std::string create_hint(const Place& place, std::string_view path, std::string_view options) {
    const std::string url = shell_url(place, path);
    return url.empty() ? "create it with PUT"
                       : fmt::format("create it: curl -X PUT {}{}", url, options);
}

std::string list_hint(const Place& place) {
    const std::string url = shell_url(place, place.path);
    return url.empty() ? "list them with GET, DELETE each, then the bucket"
                       : fmt::format("list them: curl {} - DELETE each, then the bucket", url);
}

std::string_view bucket_path(std::string_view path) {
    const std::size_t slash = path.find('/', 1);
    return path.substr(0, slash);
}

}  // namespace

Problem problem_of(const api::Refused& refused, const Place& place) {
    const std::string_view name = short_name(place.path);
    switch (refused.why) {
        case api::Refusal::stream_not_found:
            return {404, "stream_not_found", fmt::format("No stream {}", name),
                    create_hint(place, place.path, " -H 'Content-Type: text/plain'"), false};
        case api::Refusal::stream_exists_with_other_config:
            return {409, "stream_exists",
                    fmt::format("Stream {} exists with another configuration", name),
                    "PUT it with the same Content-Type, Stream-Closed and Stream-TTL or "
                    "Stream-Expires-At as it has (HEAD shows them), or DELETE it first",
                    false};
        case api::Refusal::bucket_not_found:
            return {404, "bucket_not_found",
                    fmt::format("No bucket {}", short_name(bucket_path(place.path))),
                    create_hint(place, bucket_path(place.path), ""), false};
        case api::Refusal::bucket_not_empty:
            return {409, "bucket_not_empty", fmt::format("Bucket {} still holds streams", name),
                    list_hint(place), false};
        case api::Refusal::bucket_being_removed:
            return {409, "bucket_being_removed",
                    fmt::format("Bucket {} is being removed", short_name(bucket_path(place.path))),
                    "try again in a second", false};
        case api::Refusal::stream_closed:
            return {409, "stream_closed", fmt::format("Stream {} is closed", name),
                    "a closed stream takes no more appends; reads go on, its end is in "
                    "Stream-Next-Offset",
                    false};
        case api::Refusal::content_type_missing:
            return {400, "content_type_missing", "An append needs a Content-Type",
                    "send the stream's own Content-Type (HEAD shows it), as in -H 'Content-Type: "
                    "text/plain'",
                    false};
        case api::Refusal::content_type_mismatch:
            return {409, "content_type_mismatch",
                    fmt::format("Stream {} has another Content-Type", name),
                    "append with the Content-Type that HEAD shows", false};
        case api::Refusal::empty_append:
            return {400, "empty_append", "An append needs a body",
                    "send at least one byte, or Stream-Closed: true to close the stream", false};
        case api::Refusal::stream_seq_not_increasing:
            return {
                409, "stream_seq_not_increasing", "Stream-Seq is not above the last accepted one",
                "Stream-Seq values of a stream increase in byte order; pad numbers to one width",
                false};
        case api::Refusal::producer_epoch_stale:
            return {403, "producer_fenced", "A newer epoch of this producer has been seen",
                    "the current epoch is in Producer-Epoch; stop, or take a higher one and start "
                    "at Producer-Seq 0",
                    false};
        case api::Refusal::producer_epoch_must_start_at_zero:
            return {400, "producer_epoch_start", "A new Producer-Epoch starts at Producer-Seq 0",
                    "send Producer-Seq: 0 first", false};
        case api::Refusal::producer_gap:
            return {409, "producer_gap", "Producer-Seq is ahead of the next one expected",
                    "send the missing appends first; Producer-Expected-Seq names the next", false};
        case api::Refusal::json_invalid:
            return {400, "json_invalid", "The body is not one valid JSON text",
                    "send one RFC 8259 value in UTF-8; the elements of a top-level array become "
                    "messages",
                    false};
        case api::Refusal::json_empty_array:
            return {400, "json_empty_array", "An empty JSON array appends nothing",
                    "send at least one element", false};
        case api::Refusal::json_too_deep:
            return {400, "json_too_deep", "The JSON is nested too deeply",
                    "at most 512 levels are accepted", false};
        case api::Refusal::overloaded:
            return {503, "overloaded", "The server has more work than it may hold",
                    "nothing was stored; try again", true};
        case api::Refusal::disk_full:
            return {
                507, "disk_full", "The data directory's disk is down to its reserve",
                "nothing was stored; free space or lower storage.reserve; reads and deletes go on",
                true};
        case api::Refusal::memory_full:
            return {507, "memory_full",
                    "This node keeps everything in memory and storage.hot_bytes is used up",
                    "nothing was stored; delete streams, raise storage.hot_bytes, or start with "
                    "--data-dir",
                    true};
        case api::Refusal::too_many_tails:
            return {503, "too_many_tails", "This node has as many live readers as it may",
                    "try again later", true};
        case api::Refusal::data_damaged:
            return {500, "data_damaged", "Stored bytes fail their checksum and are not served",
                    "check the disk; ursula-wal verify names the place", false};
        case api::Refusal::read_failed:
            return {500, "read_failed", "The disk did not give the bytes back",
                    "see the server's log", false};
        case api::Refusal::not_leader:
            return {503, "not_leader", "Another node leads this stream's group",
                    "nothing was stored; try again, or ask that node", true};
        case api::Refusal::member_invalid:
            return {400, "member_invalid", "Such a node cannot be a member of this cluster",
                    "it needs an id, a shard count, a storage incarnation and an address", false};
        case api::Refusal::member_unknown:
            return {404, "member_unknown", "The node is no member of the group", "add it first",
                    false};
        case api::Refusal::member_other_storage:
            return {409, "member_other_storage",
                    "The member of that id has other storage than the one named",
                    "an emptied node is another member: remove the old one first", false};
        case api::Refusal::member_not_caught_up:
            return {409, "member_not_caught_up",
                    fmt::format("The learner has not caught up yet: it lacks {} of the group's "
                                "entries, or is not heard of",
                                refused.numbers[0]),
                    "ask again when it has", true};
        case api::Refusal::member_change_under_way:
            return {409, "member_change_under_way",
                    "Another change of the members, or of the leader, is under way",
                    "ask again when it is over", true};
        case api::Refusal::member_quorum:
            return {409, "member_quorum", "Too few of the voters that would be are up",
                    "bring them up first, or change the members in another order", false};
        case api::Refusal::members_too_many:
            return {409, "members_too_many", "The group would have too many members",
                    "remove one first", false};
        case api::Refusal::no_leader:
            return {503, "no_leader", "No leader of this stream's group can be reached now",
                    "nothing was stored; try again in a second, here or at another node", true};
        case api::Refusal::shutting_down:
            return {503, "shutting_down", "The server is stopping", "try again", true};
        case api::Refusal::stream_deleted:
            return {410, "stream_deleted",
                    fmt::format("Stream {} was deleted, or has expired", name),
                    "its bytes stay for its forks, which go on reading them", false};
        case api::Refusal::stream_held:
            return {409, "stream_held",
                    fmt::format("Stream {} was deleted, or has expired, and forks read its bytes",
                                name),
                    "take another name, or delete its forks first", false};
        case api::Refusal::fork_source_not_found:
            return {404, "fork_source_not_found",
                    "The stream that Stream-Forked-From names is not there",
                    "create it first, or look for a slip in its path", false};
        case api::Refusal::fork_source_deleted:
            return {409, "fork_source_deleted",
                    "The stream that Stream-Forked-From names was deleted, or has expired",
                    "its forks go on reading its bytes; fork one of them instead", false};
        case api::Refusal::fork_type_mismatch:
            return {409, "fork_type_mismatch", "A fork has the Content-Type of its source",
                    "leave Content-Type out, or send the source's (HEAD shows it)", false};
        case api::Refusal::fork_offset_invalid:
            return {400, "fork_offset_invalid",
                    "Stream-Fork-Offset is beyond the source's tail, or inside an append",
                    "send a Stream-Next-Offset of the source as it was given", false};
        case api::Refusal::fork_sub_offset_invalid:
            return {400, "fork_sub_offset_invalid",
                    "Stream-Fork-Sub-Offset is more than the append at the offset has",
                    "it counts bytes, or messages of a JSON stream, of the one append that follows "
                    "Stream-Fork-Offset; without that, nothing follows",
                    false};
        case api::Refusal::fork_too_deep:
            return {400, "fork_too_deep",
                    fmt::format("Forks of forks end at a depth of {}", limits::fork_depth_max),
                    "fork a stream that is nearer to the first one", false};
        case api::Refusal::forks_too_many:
            return {409, "forks_too_many",
                    fmt::format("The source has as many forks as it may: {}",
                                limits::forks_per_stream_max),
                    "delete some of them, or fork a fork", false};
        case api::Refusal::fork_abandoned:
            return {503, "fork_abandoned", "The fork was given up while its leader changed",
                    "nothing was created; try again", true};
        case api::Refusal::outcome_unknown:
        case api::Refusal::none:
            break;
    }
    return {
        500, "outcome_unknown", "Whether the request took effect is not known",
        "read the stream before repeating it, or use producer headers, which make repeating safe",
        false};
}

Problem problem_of(NameTrouble trouble, const Place& place) {
    switch (trouble) {
        case NameTrouble::reserved_bucket:
            return {404, "reserved_name",
                    fmt::format("{} is the server's own name", short_name(bucket_path(place.path))),
                    "streams are /{bucket}/{stream} or /v1/stream/{path}; take another bucket name",
                    false};
        case NameTrouble::reserved_segment:
            return {400, "reserved_name", "This name is kept for the server's own resources",
                    "attrs, snapshot, bootstrap, retention, append-batch, records, $transaction "
                    "and __ds are reserved",
                    false};
        case NameTrouble::bad_bucket_name:
            return {400, "bad_bucket_name", "Not a bucket name",
                    "1 to 64 of a-z A-Z 0-9 _ - . and not starting with __; nested names live "
                    "under /v1/stream/{path}",
                    false};
        case NameTrouble::too_long:
            return {400, "name_too_long", "The stream's name is longer than 1024 bytes",
                    "take a shorter one", false};
        case NameTrouble::too_many_segments:
            return {404, "no_such_route", "No such path",
                    "streams are /{bucket}/{stream}, /{bucket}/{affinity}/{stream} or "
                    "/v1/stream/{path...}",
                    false};
        case NameTrouble::empty_segment:
            return {400, "empty_segment", "The path has an empty segment",
                    "leave out double and trailing slashes", false};
        case NameTrouble::none:
            break;
    }
    return {404, "no_such_route", "No such path",
            "streams are /{bucket}/{stream} or /v1/stream/{path...}", false};
}

Problem problem_of_status(int status, std::string_view code) {
    Problem problem;
    problem.status = status;
    problem.code = code;
    problem.title = std::string(net::reason_phrase(status));
    problem.hint = status == 413   ? "send a smaller body"
                   : status == 431 ? "send fewer or shorter headers"
                   : status == 414 ? "send a shorter URL"
                   : status == 408 ? "send the whole request without long pauses"
                   : status == 503 ? "try again in a second"
                                   : "send the request as RFC 9112 writes it";
    problem.retry_after = status == 503;
    return problem;
}

Problem bad_request(std::string_view code, std::string_view title, std::string_view hint) {
    return {400, code, std::string(title), std::string(hint), false};
}

Problem redirected(std::string_view url) {
    return {307, "not_leader", "Another node leads this stream's group",
            fmt::format("nothing was stored; send it to {} (Location has all of the URL), or leave "
                        "\"Prefer: redirect\" out and it is passed on",
                        url),
            false};
}

Problem content_type_differs(std::string_view path, std::string_view of_stream,
                             std::string_view given) {
    constexpr std::size_t shown = limits::quoted_bytes_max / 3;  // of each, so that both fit
    return {409, "content_type_mismatch",
            fmt::format("Stream {} has another Content-Type", short_name(path)),
            fmt::format("the stream has {}, the append {}: append with the stream's own",
                        of_stream.substr(0, shown), given.substr(0, shown)),
            false};
}

Problem method_not_allowed(std::string_view allow) {
    return {405, "method_not_allowed", "This path does not take that method",
            fmt::format("use one of {}", allow), false};
}

std::string problem_body(const Problem& problem, std::string_view request_id) {
    std::string body =
        fmt::format("{{\"status\":{},\"code\":\"{}\",\"title\":\"", problem.status, problem.code);
    append_escaped(body, problem.title);
    body += "\",\"hint\":\"";
    append_escaped(body, problem.hint);
    body += "\",\"request_id\":\"";
    append_escaped(body, request_id);
    body += "\"}\n";
    return body;
}

}  // namespace ursula::http
