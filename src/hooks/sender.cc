#include "hooks/sender.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/limits.h"
#include "base/verify.h"
#include "net/ring.h"

namespace ursula::hooks {

namespace limits = base::limits;

namespace {

std::int64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

std::string offset_text(std::int64_t offset) {
    return offset < 0 ? "-1" : fmt::format("{:016}_{:016}", 0, offset);
}

std::string body_of(const shard::Delivery& delivery) {
    nlohmann::ordered_json streams = nlohmann::ordered_json::array();
    for (const api::LinkView& link : delivery.streams) {
        streams.push_back({{"path", link.path},
                           {"link_type", link.is_explicit ? "explicit" : "glob"},
                           {"acked_offset", offset_text(link.acked)},
                           {"tail_offset", offset_text(link.tail)},
                           {"has_pending", link.pending}});
    }
    const nlohmann::ordered_json body = {
        {"subscription_id", delivery.subscription_id}, {"wake_id", delivery.wake_id},
        {"generation", delivery.generation},           {"streams", std::move(streams)},
        {"callback_url", delivery.callback_url},       {"callback_token", delivery.callback_token}};
    return body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

bool says_done(const std::string& answer) {
    const nlohmann::json parsed = nlohmann::json::parse(answer, nullptr, false);
    if (!parsed.is_object()) {
        return false;
    }
    const auto done = parsed.find("done");
    return done != parsed.end() && done->is_boolean() && done->get<bool>();
}

template <class T>
void set(CURL* easy, CURLoption option, T value) {
    VERIFY(curl_easy_setopt(easy, option, value) == CURLE_OK);
}

}  // namespace

struct Sender::Job {
    std::uint32_t shard = 0;
    std::int64_t taken_ns = 0;
    shard::Delivery delivery;
};

// Results wait here for their shard.
class Sender::OfShard final : public shard::Webhooks {
  public:
    OfShard(Sender& sender, std::uint32_t shard) : sender_(sender), shard_(shard) {}

    bool send(shard::Delivery&& delivery) override {
        return sender_.take({shard_, now_ns(), std::move(delivery)});
    }
    void take_results(std::vector<shard::DeliveryResult>& out) override {
        const std::lock_guard lock(mutex_);
        out.swap(results_);
    }
    void put(const shard::DeliveryResult& result) {
        const std::lock_guard lock(mutex_);
        results_.push_back(result);
    }
    void fill_random(base::MutableBytes out) override { hooks::fill_random(out); }
    api::SigningKey make_key() override { return hooks::make_key(); }
    std::string make_token(std::string_view secret, base::Bytes content) override {
        return hooks::make_token(secret, content);
    }
    bool read_token(std::string_view secret, std::string_view token,
                    std::vector<std::byte>& content) override {
        return hooks::read_token(secret, token, content);
    }

  private:
    Sender& sender_;
    const std::uint32_t shard_;
    std::mutex mutex_;
    std::vector<shard::DeliveryResult> results_;
};

// The thread's own: curl's handles and what their callbacks look at.
class Sender::Requests {
  public:
    explicit Requests(Sender& sender) : sender_(sender), multi_(curl_multi_init()) {
        VERIFY(multi_ != nullptr);
        curl_multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS,
                          static_cast<long>(limits::webhooks_per_host_max));
        curl_multi_setopt(multi_, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                          static_cast<long>(limits::webhooks_in_flight_max));
    }
    // After the thread has ended.
    ~Requests() {
        for (const auto& request : open_) {
            curl_multi_remove_handle(multi_, request->easy);
        }
        open_.clear();
        curl_multi_cleanup(multi_);
    }

    void wake() { curl_multi_wakeup(multi_); }
    void begin(Job&& job);
    void run();

  private:
    struct Request {
        Job job;
        Sender* sender = nullptr;
        bool https = false;
        std::string body;
        std::string answer;
        curl_slist* headers = nullptr;
        CURL* easy = nullptr;
        Request() = default;
        Request(const Request&) = delete;
        Request& operator=(const Request&) = delete;
        ~Request() {
            curl_easy_cleanup(easy);
            curl_slist_free_all(headers);
        }
    };

    static std::size_t on_answer(char* bytes, std::size_t size, std::size_t count, void* request);
    static curl_socket_t on_connect(void* request, curlsocktype purpose, curl_sockaddr* address);
    void end(Request& request, CURLcode code);

    Sender& sender_;
    CURLM* multi_;
    std::vector<std::unique_ptr<Request>> open_;
};

std::size_t Sender::Requests::on_answer(char* bytes, std::size_t size, std::size_t count,
                                        void* of) {
    auto& request = *static_cast<Request*>(of);
    if (request.answer.size() + size * count > limits::webhook_answer_bytes_max) {
        return 0;  // ends the transfer as failed
    }
    request.answer.append(bytes, size * count);
    return size * count;
}

// Every address that a name leads to comes by here before it is connected to.
curl_socket_t Sender::Requests::on_connect(void* of, curlsocktype purpose, curl_sockaddr* address) {
    auto& request = *static_cast<Request*>(of);
    if (purpose != CURLSOCKTYPE_IPCXN ||
        !request.sender->options_.rules.allows(&address->addr, request.https)) {
        request.sender->counters_.refused.add();
        return CURL_SOCKET_BAD;
    }
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

void Sender::Requests::begin(Job&& job) {
    auto request = std::make_unique<Request>();
    request->job = std::move(job);
    request->sender = &sender_;
    const shard::Delivery& delivery = request->job.delivery;
    // The rules may have changed since the subscription was made.
    const net::WebhookUrl url = net::check_webhook_url(delivery.url, sender_.options_.rules);
    if (!url.refusal.empty()) {
        sender_.counters_.refused.add();
        end(*request, CURLE_URL_MALFORMAT);
        return;
    }
    request->https = url.https;
    request->body = body_of(delivery);
    const std::string signature =
        "Webhook-Signature: " + signature_header(delivery.key, delivery.time_s, request->body);
    for (const std::string& line :
         {std::string("Content-Type: application/json"), signature, std::string("Expect:"),
          std::string("Accept: application/json")}) {
        request->headers = curl_slist_append(request->headers, line.c_str());
    }
    CURL* easy = curl_easy_init();
    VERIFY(easy != nullptr && request->headers != nullptr);
    request->easy = easy;
    set(easy, CURLOPT_URL, delivery.url.c_str());
    set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    set(easy, CURLOPT_FOLLOWLOCATION, 0L);
    set(easy, CURLOPT_PROXY, "");
    set(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
    set(easy, CURLOPT_NOSIGNAL, 1L);
    set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    set(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(limits::webhook_timeout_ms));
    set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(limits::webhook_connect_timeout_ms));
    set(easy, CURLOPT_USERAGENT, sender_.options_.user_agent.c_str());
    set(easy, CURLOPT_HTTPHEADER, request->headers);
    set(easy, CURLOPT_POST, 1L);
    set(easy, CURLOPT_POSTFIELDS, request->body.c_str());
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request->body.size()));
    set(easy, CURLOPT_WRITEFUNCTION, &Requests::on_answer);
    set(easy, CURLOPT_WRITEDATA, request.get());
    set(easy, CURLOPT_OPENSOCKETFUNCTION, &Requests::on_connect);
    set(easy, CURLOPT_OPENSOCKETDATA, request.get());
    set(easy, CURLOPT_PRIVATE, request.get());
    VERIFY(curl_multi_add_handle(multi_, easy) == CURLM_OK);
    open_.push_back(std::move(request));
}

void Sender::Requests::run() {
    int running = 0;
    curl_multi_perform(multi_, &running);
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        const CURLcode code = message->data.result;
        Request* request = nullptr;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request);
        curl_multi_remove_handle(multi_, request->easy);
        end(*request, code);
        std::erase_if(open_, [request](const auto& one) { return one.get() == request; });
    }
    curl_multi_poll(multi_, nullptr, 0, 1000, nullptr);
}

void Sender::Requests::end(Request& request, CURLcode code) {
    shard::DeliveryResult result;
    result.number = request.job.delivery.number;
    if (code == CURLE_OK) {
        long status = 0;
        curl_easy_getinfo(request.easy, CURLINFO_RESPONSE_CODE, &status);
        result.ok = status >= 200 && status < 300;
        result.done = result.ok && says_done(request.answer);
    }
    sender_.end(request.job, result);
}

Sender::Sender(SenderOptions options) : options_(std::move(options)) {
    for (std::uint32_t shard = 0; shard < options_.shards; ++shard) {
        shards_.push_back(std::make_unique<OfShard>(*this, shard));
    }
}

Sender::~Sender() {
    stop();
}

void Sender::stop() {
    stopping_ = true;
    if (thread_.joinable()) {
        requests_->wake();
        thread_.join();
    }
}

shard::Webhooks& Sender::of_shard(std::uint32_t shard) {
    return *shards_[shard];
}

bool Sender::take(Job&& job) {
    if (under_way_.fetch_add(1) >= limits::webhooks_in_flight_max) {
        --under_way_;
        return false;
    }
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(job));
    if (requests_ == nullptr) {
        VERIFY(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
        requests_ = std::make_unique<Requests>(*this);
        thread_ = std::thread([this] { work(); });
    } else {
        requests_->wake();
    }
    return true;
}

void Sender::work() {
    while (!stopping_) {
        std::vector<Job> jobs;
        {
            const std::lock_guard lock(mutex_);
            jobs.swap(waiting_);
        }
        for (Job& job : jobs) {
            requests_->begin(std::move(job));
        }
        requests_->run();
    }
}

void Sender::end(const Job& job, const shard::DeliveryResult& result) {
    counters_.deliveries.add();
    if (!result.ok) {
        counters_.failures.add();
    }
    if (options_.duration != nullptr) {
        options_.duration->record({now_ns() - job.taken_ns});
    }
    --under_way_;
    shards_[job.shard]->put(result);
    const int doorbell = options_.doorbells == nullptr ? -1 : options_.doorbells[job.shard].load();
    if (doorbell >= 0) {
        net::Ring::ring_foreign_doorbell(doorbell);
    }
}

}  // namespace ursula::hooks
