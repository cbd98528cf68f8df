#include "tools/ursulactl/client.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <thread>

#include "tools/ursulactl/output.h"

namespace ursula::ctl {

namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds usual_timeout{10'000};
constexpr std::chrono::milliseconds retry_pause{200};
constexpr std::size_t body_bytes_max = 64u << 20;  // 4096 groups are about 2 MiB

std::size_t keep_body(char* data, std::size_t size, std::size_t count, void* user) {
    auto& body = *static_cast<std::string*>(user);
    if (body.size() + size * count > body_bytes_max) {
        return 0;
    }
    body.append(data, size * count);
    return size * count;
}

// In single quotes, as a shell takes it back.
std::string shell_word(std::string_view text) {
    std::string word = "'";
    for (const char c : text) {
        word += c == '\'' ? std::string("'\\''") : std::string(1, c);
    }
    return word + "'";
}

struct Problem {
    std::string code;
    std::string title;
    std::string hint;
};

Problem read_problem(const std::string& body) {
    const Json json = Json::parse(body, nullptr, false);
    const auto text = [&json](const char* key) {
        return json.is_object() && json.contains(key) && json[key].is_string()
                   ? printable(json[key].get<std::string>())
                   : std::string();
    };
    return {text("code"), text("title"), text("hint")};
}

// A connection that was made and then ended, with nothing said.
bool hung_up(CURL* easy, CURLcode code) {
    long heads_bytes = 0;
    curl_easy_getinfo(easy, CURLINFO_HEADER_SIZE, &heads_bytes);
    return heads_bytes == 0 &&
           (code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR || code == CURLE_GOT_NOTHING);
}

}  // namespace

struct Client::Handle {
    CURL* easy = curl_easy_init();
    curl_slist* json_headers = curl_slist_append(nullptr, "Content-Type: application/json");
    ~Handle() {
        curl_slist_free_all(json_headers);
        curl_easy_cleanup(easy);
    }
};

Client::Client(Target target, const GlobalFlags& flags)
    : target_(std::move(target)),
      verbose_(flags.verbose),
      print_curl_(flags.print_curl),
      timeout_(flags.has_timeout ? flags.timeout : usual_timeout),
      handle_(std::make_unique<Handle>()),
      socket_path_(target_.socket) {
    constexpr std::size_t kernel_bytes_max = sizeof(sockaddr_un::sun_path) - 1;
    const std::size_t slash = socket_path_.rfind('/');
    if (socket_path_.size() > kernel_bytes_max && slash != std::string::npos) {
        directory_ =
            ::open(socket_path_.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (directory_ >= 0) {
            socket_path_ =
                fmt::format("/proc/self/fd/{}/{}", directory_, socket_path_.substr(slash + 1));
        }
    }
}

Client::~Client() {
    if (directory_ >= 0) {
        ::close(directory_);
    }
}

std::string Client::curl_command(const std::string& path, const std::string& body) const {
    std::string command = "curl -sS";
    if (!target_.socket.empty()) {
        command += " --unix-socket " + shell_word(target_.socket);
    }
    if (!body.empty()) {
        command += " -H 'Content-Type: application/json' -d " + shell_word(body);
    }
    return command + " " + shell_word(target_.base_url + path);
}

Reply Client::ask(const std::string& path, const std::string& body,
                  std::chrono::milliseconds timeout) {
    if (print_curl_) {
        throw CurlPrinted{curl_command(path, body)};
    }
    Reply reply;
    CURL* easy = handle_->easy;
    char error[CURL_ERROR_SIZE] = {};
    curl_easy_reset(easy);
    const std::string url = target_.base_url + path;
    curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");  // a node is asked itself
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "ursulactl/" URSULA_VERSION);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
                     static_cast<long>(std::max<std::int64_t>(1, timeout.count())));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &reply.body);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
    if (!socket_path_.empty()) {
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, socket_path_.c_str());
    }
    if (!body.empty()) {
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, handle_->json_headers);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.c_str());
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    }
    const auto began = Clock::now();
    const CURLcode code = curl_easy_perform(easy);
    if (code == CURLE_OK) {
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &reply.status);
    } else {
        long system_error = 0;
        curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &system_error);
        reply.error = error[0] != '\0' ? error : curl_easy_strerror(code);
        reply.trouble = code == CURLE_OPERATION_TIMEDOUT                  ? Reply::Trouble::timeout
                        : code == CURLE_COULDNT_RESOLVE_HOST              ? Reply::Trouble::refused
                        : hung_up(easy, code)                             ? Reply::Trouble::hung_up
                        : code != CURLE_COULDNT_CONNECT                   ? Reply::Trouble::other
                        : system_error == EACCES || system_error == EPERM ? Reply::Trouble::denied
                        : system_error == ENOENT ? Reply::Trouble::no_socket
                                                 : Reply::Trouble::refused;
    }
    if (verbose_) {
        const auto took =
            std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
        talk(fmt::format(
            "{} {} at {}: {} in {} ms", body.empty() ? "GET" : "POST", path, target_.name(),
            code == CURLE_OK ? std::to_string(reply.status) : reply.error, took.count()));
    }
    return reply;
}

Failure Client::failure_of(const Reply& reply, const std::string& path) const {
    const std::string name = target_.name();
    const bool local = !target_.socket.empty();
    switch (reply.trouble) {
        case Reply::Trouble::none:
            break;
        case Reply::Trouble::denied:
            return {exit_denied, "you may not use " + name,
                    "run it with sudo, or as a member of the socket's group"};
        case Reply::Trouble::no_socket:
            return {exit_unreachable, "there is no " + name,
                    "is the node running, with this data directory? --server or --data-dir names "
                    "another"};
        case Reply::Trouble::refused:
            return {exit_unreachable, "cannot reach " + name + ": " + reply.error,
                    local ? "no process listens there: start the node"
                          : "is the node running? --server URL or --data-dir DIR names another"};
        case Reply::Trouble::hung_up:
            return {exit_unreachable,
                    "cannot reach " + name + ": the connection ended before an answer",
                    "the node ended, or is about to: see its log, start it and ask again"};
        case Reply::Trouble::timeout:
            return {exit_unreachable, name + " did not answer in time",
                    "it may be reading its log after a start; --timeout gives it longer"};
        case Reply::Trouble::other:
            return {exit_unreachable, "talking to " + name + " failed: " + reply.error,
                    "see the node's log"};
    }
    const Problem problem = read_problem(reply.body);
    if (problem.code.empty()) {
        return {exit_failed,
                fmt::format("{} answered {} and is no Ursula node", name, reply.status),
                "--server names the address that the node's ready line shows"};
    }
    if (path.starts_with("/admin/") &&
        (problem.code == "reserved_name" || problem.code == "no_such_route")) {
        return {exit_failed, name + " does not know this request: it is of another version",
                "see both: ursulactl version"};
    }
    if (problem.code == "bucket_not_found") {
        // The server's own hint names the host it was asked by, which a socket has none of.
        return {exit_not_found, problem.title, "see that its name is right; PUT creates one"};
    }
    const int code = reply.status == 400                          ? exit_usage
                     : reply.status == 401 || reply.status == 403 ? exit_denied
                     : reply.status == 404                        ? exit_not_found
                     : reply.status == 409                        ? exit_conflict
                     : reply.status == 503 || reply.status == 504 ? exit_unreachable
                                                                  : exit_failed;
    return {code, problem.title, problem.hint};
}

std::string Client::checked(Reply&& reply, const std::string& path) const {
    if (reply.trouble != Reply::Trouble::none || reply.status < 200 || reply.status > 299) {
        throw failure_of(reply, path);
    }
    if (!Json::parse(reply.body, nullptr, false).is_object()) {
        throw Failure(exit_failed, target_.name() + " answered something that is not ours",
                      "--server names the address that the node's ready line shows");
    }
    return std::move(reply.body);
}

std::string Client::get(const std::string& path) {
    const auto end = Clock::now() + timeout_;
    Reply refusal;
    for (;;) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
        Reply reply = ask(path, "", left);
        if (reply.trouble == Reply::Trouble::timeout && refusal.status != 0) {
            reply = std::move(refusal);  // says more than that the time is over
        }
        const bool again = reply.trouble == Reply::Trouble::none && reply.status == 503;
        if (!again || left <= retry_pause) {
            return checked(std::move(reply), path);
        }
        refusal = std::move(reply);
        std::this_thread::sleep_for(retry_pause);
    }
}

std::string Client::post(const std::string& path, const std::string& body) {
    return checked(ask(path, body, timeout_), path);
}

std::string problem_code(const std::string& body) {
    return read_problem(body).code;
}

std::string escape_path(std::string_view path) {
    std::string out;
    for (const char c : path) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') ||
                           std::string_view("/-._~").find(c) != std::string_view::npos;
        out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
}

}  // namespace ursula::ctl
