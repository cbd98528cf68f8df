#include "tools/ursulactl/join/dial.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "tools/ursulactl/command.h"
#include "tools/ursulactl/join/join_openssl.h"

namespace ursula::ctl {

namespace {

using Clock = std::chrono::steady_clock;

// Who may be at the other end, and what was wrong with who was.
struct Expected {
    Fingerprint authority{};
    std::string uri;
    bool is_other = false;  // not the line's authority, or not speaking for it
};

bool has_uri(X509* certificate, const std::string& uri) {
    auto* names = static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
    bool found = false;
    for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_URI) {
            const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
            found = found ||
                    std::string_view(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                                     static_cast<std::size_t>(ASN1_STRING_length(text))) == uri;
        }
    }
    GENERAL_NAMES_free(names);
    return found;
}

// The one trusted certificate is that in the chain whose key has the line's fingerprint; the rest
// is OpenSSL's usual verification against it.
int verify(X509_STORE_CTX* store, void* user) {
    auto& expected = *static_cast<Expected*>(user);
    STACK_OF(X509)* chain = X509_STORE_CTX_get0_untrusted(store);
    X509* authority = nullptr;
    for (int i = 0; i < sk_X509_num(chain); ++i) {
        X509* one = sk_X509_value(chain, i);
        authority = key_fingerprint(one) == expected.authority ? one : authority;
    }
    X509* leaf = X509_STORE_CTX_get0_cert(store);
    if (authority == nullptr || leaf == nullptr || !has_uri(leaf, expected.uri)) {
        expected.is_other = true;
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    STACK_OF(X509)* trusted = sk_X509_new_null();
    sk_X509_push(trusted, authority);
    X509_STORE_CTX_set0_trusted_stack(store, trusted);
    const int verified = X509_verify_cert(store);
    X509_STORE_CTX_set0_trusted_stack(store, nullptr);
    sk_X509_free(trusted);
    return verified;
}

class Dialled {
  public:
    Dialled(const JoinLine& line, Clock::time_point end) : line_(line), end_(end) {}
    ~Dialled() {
        ssl_.reset();
        if (socket_ >= 0) {
            ::close(socket_);
        }
    }
    Dialled(const Dialled&) = delete;
    Dialled& operator=(const Dialled&) = delete;

    void connect() {
        sockaddr_storage address{};
        socklen_t size = 0;
        if (line_.issuer.ipv6) {
            auto* six = reinterpret_cast<sockaddr_in6*>(&address);
            six->sin6_family = AF_INET6;
            six->sin6_port = htons(line_.issuer.port);
            ::inet_pton(AF_INET6, line_.issuer.host.c_str(), &six->sin6_addr);
            size = sizeof *six;
        } else {
            auto* four = reinterpret_cast<sockaddr_in*>(&address);
            four->sin_family = AF_INET;
            four->sin_port = htons(line_.issuer.port);
            ::inet_pton(AF_INET, line_.issuer.host.c_str(), &four->sin_addr);
            size = sizeof *four;
        }
        socket_ = ::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (socket_ < 0) {
            fail_unreachable(errno);
        }
        if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), size) != 0) {
            if (errno != EINPROGRESS) {
                fail_unreachable(errno);
            }
            wait(POLLOUT);
            int error = 0;
            socklen_t error_size = sizeof error;
            ::getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &error_size);
            if (error != 0) {
                fail_unreachable(error);
            }
        }
    }

    void shake_hands() {
        ERR_clear_error();
        expected_.authority = line_.authority;
        expected_.uri = issuer_uri(line_.cluster);
        context_.reset(SSL_CTX_new(TLS_client_method()));
        if (!context_ || SSL_CTX_set_min_proto_version(context_.get(), TLS1_3_VERSION) != 1) {
            throw Failure(exit_failed, "TLS cannot be set up: " + openssl_reason());
        }
        SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
        SSL_CTX_set_cert_verify_callback(context_.get(), verify, &expected_);
        ssl_.reset(SSL_new(context_.get()));
        if (!ssl_ || SSL_set_fd(ssl_.get(), socket_) != 1) {
            throw Failure(exit_failed, "TLS cannot be set up: " + openssl_reason());
        }
        SSL_set_connect_state(ssl_.get());
        for (int result = 0; (result = SSL_do_handshake(ssl_.get())) != 1;) {
            if (!wait_for_more(result)) {
                fail_handshake();
            }
        }
    }

    void send(const std::string& text) {
        std::size_t written = 0;
        while (written < text.size()) {
            std::size_t size = 0;
            if (SSL_write_ex(ssl_.get(), text.data() + written, text.size() - written, &size) ==
                1) {
                written += size;
            } else if (!wait_for_more(0)) {
                fail_without_answer();
            }
        }
    }

    // Without its newline.
    std::string receive_line() {
        std::string text;
        std::array<char, 4096> buffer;
        while (text.size() <= message_bytes_max) {
            std::size_t size = 0;
            if (SSL_read_ex(ssl_.get(), buffer.data(), buffer.size(), &size) == 1) {
                text.append(buffer.data(), size);
                if (const std::size_t end = text.find('\n'); end != std::string::npos) {
                    return text.substr(0, end);
                }
            } else if (!wait_for_more(0)) {
                fail_without_answer();
            }
        }
        fail_without_answer();
    }

    [[noreturn]] void fail_without_answer() const {
        throw Failure(exit_unreachable,
                      fmt::format("{} ended the connection without an answer", name()),
                      fmt::format("the line may be used up; where it came from, run: ursulactl "
                                  "cluster invite {} --replace",
                                  line_.node));
    }

  private:
    std::string name() const { return line_.issuer.text(); }

    void wait(short events) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(end_ - Clock::now()).count();
        pollfd polled{socket_, events, 0};
        const int got =
            left <= 0
                ? 0
                : ::poll(&polled, 1, static_cast<int>(std::min<std::int64_t>(left + 1, 3'600'000)));
        if (got == 0) {
            throw Failure(exit_unreachable, fmt::format("{} did not answer in time", name()),
                          "is a firewall in between? --timeout TIME waits longer");
        }
    }

    bool wait_for_more(int result) {
        const int error = SSL_get_error(ssl_.get(), result);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
            return false;
        }
        wait(error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT);
        ERR_clear_error();
        return true;
    }

    [[noreturn]] void fail_unreachable(int error) const {
        throw Failure(
            exit_unreachable, fmt::format("cannot reach {}: {}", name(), std::strerror(error)),
            fmt::format("a line is good while the command that printed it runs; for a new one, "
                        "there: ursulactl cluster invite {}",
                        line_.node));
    }

    [[noreturn]] void fail_handshake() const {
        if (expected_.is_other) {
            throw Failure(exit_denied,
                          fmt::format("{} is not the authority that the join line is from; the "
                                      "token was not sent",
                                      name()),
                          "copy the line again from where it was printed; if it is right, "
                          "somebody is in between");
        }
        const long verified = SSL_get_verify_result(ssl_.get());
        if (verified != X509_V_OK) {
            throw Failure(exit_denied,
                          fmt::format("the authority at {} is not accepted: {}", name(),
                                      X509_verify_cert_error_string(verified)),
                          "are the clocks of both machines right? See: date -u");
        }
        throw Failure(exit_unreachable,
                      fmt::format("{} does not speak TLS as `ursulactl cluster invite` does: {}",
                                  name(), openssl_reason()),
                      "what else listens there? Copy the line again from where it was printed");
    }

    const JoinLine& line_;
    const Clock::time_point end_;
    int socket_ = -1;
    Expected expected_;
    SslContextPointer context_;
    SslPointer ssl_;
};

}  // namespace

JoinReply ask_to_join(const JoinLine& line, const JoinRequest& request,
                      std::chrono::milliseconds timeout) {
    Dialled dialled(line, Clock::now() + timeout);
    dialled.connect();
    dialled.shake_hands();
    std::string text = text_of(request) + "\n";
    dialled.send(text);
    forget(text);
    auto reply = read_reply(dialled.receive_line());
    if (!reply) {
        throw Failure(exit_failed, line.issuer.text() + " answered what this version does not know",
                      "is the other ursulactl of the same version? See: ursulactl version");
    }
    return *reply;
}

}  // namespace ursula::ctl
