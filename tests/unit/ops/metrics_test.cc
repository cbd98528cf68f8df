#include "ops/metrics.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <ctime>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace ursula::ops {

namespace {

NodeMetrics some_node() {
    NodeMetrics node;
    node.version = "1.2.3";
    node.has_storage_free_bytes = true;
    node.storage_free_bytes = 123456789012;
    node.start_time_seconds = 1795406400.25;
    node.cpu_seconds = 0.5;
    node.resident_bytes = 4096;
    node.virtual_bytes = 8192;
    node.open_fds = 7;
    node.max_fds = 1048576;
    return node;
}

std::string text_of(const NodeMetrics& node, std::vector<const ShardMetrics*> shards) {
    std::string text;
    write_metrics(text, node, shards);
    return text;
}

bool has_line(const std::string& text, const std::string& line) {
    return text.find("\n" + line + "\n") != std::string::npos || text.starts_with(line + "\n");
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::stringstream in(text);
    for (std::string line; std::getline(in, line);) {
        lines.push_back(line);
    }
    return lines;
}

}  // namespace

TEST_CASE("counts of the shards are added up") {
    const auto a = std::make_unique<ShardMetrics>();
    const auto b = std::make_unique<ShardMetrics>();
    a->appended_bytes.add(100);
    b->appended_bytes.add(23);
    a->live_readers_sse.set(2);
    b->live_readers_sse.set(3);
    b->live_readers_long_poll.set(1);
    a->count_request(HttpMethod::post, 204);
    b->count_request(HttpMethod::post, 200);
    b->count_request(HttpMethod::get, 404);
    b->count_request(HttpMethod::other, 501);
    a->core_stall.add(1'500'000'000);
    const std::string text = text_of(some_node(), {a.get(), b.get()});
    CHECK(has_line(text, "ursula_appended_bytes_total 123"));
    CHECK(has_line(text, "ursula_live_readers{mode=\"sse\"} 5"));
    CHECK(has_line(text, "ursula_live_readers{mode=\"long_poll\"} 1"));
    CHECK(has_line(text, "ursula_http_requests_total{method=\"POST\",code=\"2xx\"} 2"));
    CHECK(has_line(text, "ursula_http_requests_total{method=\"GET\",code=\"4xx\"} 1"));
    CHECK(has_line(text, "ursula_http_requests_total{method=\"other\",code=\"5xx\"} 1"));
    CHECK(has_line(text, "ursula_http_requests_total{method=\"DELETE\",code=\"2xx\"} 0"));
    CHECK(has_line(text, "ursula_core_stall_seconds_total 1.5"));
}

TEST_CASE("statuses that are no class are not counted and not a crash") {
    const auto shard = std::make_unique<ShardMetrics>();
    for (const int status : {-1, 0, 99, 100, 199, 600, 999, 1'000'000}) {
        shard->count_request(HttpMethod::get, status);
    }
    for (const auto& count : shard->http_requests[0]) {
        CHECK(count.value() == 0);
    }
}

TEST_CASE("the node's own part") {
    const std::string text = text_of(some_node(), {});
    CHECK(has_line(text, "ursula_build_info{version=\"1.2.3\"} 1"));
    CHECK(has_line(text, "ursula_storage_free_bytes 123456789012"));
    CHECK(has_line(text, "process_open_fds 7"));
    CHECK(has_line(text, "process_cpu_seconds_total 0.5"));
    CHECK(has_line(text, "process_start_time_seconds 1795406400.25"));
    NodeMetrics in_memory = some_node();
    in_memory.has_storage_free_bytes = false;
    CHECK(text_of(in_memory, {}).find("storage_free") == std::string::npos);
}

TEST_CASE("histograms: cumulative, ended by +Inf, with sum and count") {
    const auto a = std::make_unique<ShardMetrics>();
    const auto b = std::make_unique<ShardMetrics>();
    a->wal_sync_duration.record(base::microseconds(1));
    a->wal_sync_duration.record(base::milliseconds(2));
    b->wal_sync_duration.record(base::milliseconds(2));
    b->wal_sync_duration.record(base::seconds(60));
    const std::string text = text_of(some_node(), {a.get(), b.get()});
    const std::string name = "ursula_wal_sync_duration_seconds";
    CHECK(has_line(text, name + "_bucket{le=\"4.095e-06\"} 1"));
    CHECK(has_line(text, name + "_bucket{le=\"+Inf\"} 4"));
    CHECK(has_line(text, name + "_sum 60.004001"));
    CHECK(has_line(text, name + "_count 4"));
    double last_le = 0;
    int last_count = 0;
    for (const std::string& line : lines_of(text)) {
        if (!line.starts_with(name + "_bucket{le=\"") || line.find("+Inf") != std::string::npos) {
            continue;
        }
        const double le = std::stod(line.substr(name.size() + 12));
        const int count = std::stoi(line.substr(line.find("} ") + 2));
        CHECK(le > last_le);
        CHECK(count >= last_count);
        CHECK(count == (le < 2e-3 ? 1 : 3));
        last_le = le;
        last_count = count;
    }
}

TEST_CASE("every series has HELP and TYPE once, and no series stands twice") {
    const auto shard = std::make_unique<ShardMetrics>();
    std::set<std::string> families;
    std::set<std::string> series;
    std::string family;
    for (const std::string& line : lines_of(text_of(some_node(), {shard.get()}))) {
        if (line.starts_with("# HELP ")) {
            family = line.substr(7, line.find(' ', 7) - 7);
            CHECK(families.insert(family).second);
            CHECK(line.ends_with("."));
        } else if (line.starts_with("# TYPE ")) {
            CHECK(line.substr(7, line.find(' ', 7) - 7) == family);
            CHECK((line.ends_with(" counter")) == family.ends_with("_total"));
        } else {
            CHECK(line.starts_with(family));
            CHECK(series.insert(line.substr(0, line.rfind(' '))).second);
        }
    }
    // The bar of notes/ecosystem-anchors.md row 20, with room for what is to come.
    CHECK(series.size() < 600);
}

TEST_CASE("promtool finds nothing to say") {
    if (std::system("command -v promtool >/dev/null") != 0) {
        MESSAGE("promtool is not installed (package prometheus); the text is not checked by it");
        return;
    }
    const auto shard = std::make_unique<ShardMetrics>();
    shard->http_request_duration.record(base::milliseconds(3));
    FILE* promtool = popen("promtool check metrics 2>&1", "w");
    REQUIRE(promtool != nullptr);
    const std::string text = text_of(some_node(), {shard.get()});
    std::fwrite(text.data(), 1, text.size(), promtool);
    CHECK(pclose(promtool) == 0);
}

TEST_CASE("the process's own numbers are there and plausible") {
    NodeMetrics node;
    read_process_metrics(node);
    CHECK(node.resident_bytes > 100'000);
    CHECK(node.virtual_bytes >= node.resident_bytes);
    CHECK(node.open_fds >= 3);
    CHECK(node.max_fds >= node.open_fds);
    CHECK(node.cpu_seconds >= 0);
    std::timespec now{};
    std::timespec_get(&now, TIME_UTC);
    CHECK(node.start_time_seconds <= static_cast<double>(now.tv_sec) + 1);
    CHECK(node.start_time_seconds > static_cast<double>(now.tv_sec) - 3600);

    const std::uint64_t before = node.open_fds;
    std::array<int, 2> ends{};
    REQUIRE(pipe(ends.data()) == 0);
    read_process_metrics(node);
    CHECK(node.open_fds == before + 2);
    close(ends[0]);
    close(ends[1]);
}

}  // namespace ursula::ops
