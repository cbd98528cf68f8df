#include "ops/metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <ctime>

namespace ursula::ops {

namespace {

void put(std::string& out, std::uint64_t value) {
    std::array<char, 24> text{};
    out.append(text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr);
}

void put(std::string& out, double value) {
    std::array<char, 40> text{};
    out.append(text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr);
}

void put_family(std::string& out, std::string_view type, std::string_view name,
                std::string_view help) {
    out.append("# HELP ").append(name).append(" ").append(help);
    out.append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
}

template <class Value>
void put_series(std::string& out, std::string_view name, std::string_view labels, Value value) {
    out.append(name);
    if (!labels.empty()) {
        out.append("{").append(labels).append("}");
    }
    out.append(" ");
    put(out, value);
    out.append("\n");
}

template <class Value>
void put_single(std::string& out, std::string_view type, std::string_view name,
                std::string_view help, Value value) {
    put_family(out, type, name, help);
    put_series(out, name, "", value);
}

double to_seconds(std::uint64_t ns) {
    return static_cast<double>(ns) / 1e9;
}

std::uint64_t sum(std::span<const ShardMetrics* const> shards, base::Metric ShardMetrics::*field) {
    std::uint64_t total = 0;
    for (const ShardMetrics* shard : shards) {
        total += (shard->*field).value();
    }
    return total;
}

void put_histogram(std::string& out, std::string_view name, std::string_view help,
                   std::span<const ShardMetrics* const> shards,
                   base::Histogram ShardMetrics::*field) {
    put_family(out, "histogram", name, help);
    std::uint64_t count = 0;
    std::uint64_t sum_ns = 0;
    for (std::size_t bucket = 0; bucket < base::Histogram::bucket_count; ++bucket) {
        for (const ShardMetrics* shard : shards) {
            count += (shard->*field).count(bucket);
        }
        out.append(name).append("_bucket{le=\"");
        if (bucket + 1 < base::Histogram::bucket_count) {
            // Ours end below `le`, Prometheus' at it: whole nanoseconds make the two one.
            put(out, to_seconds(base::Histogram::end_ns(bucket) - 1));
        } else {
            out.append("+Inf");
        }
        out.append("\"} ");
        put(out, count);
        out.append("\n");
    }
    for (const ShardMetrics* shard : shards) {
        sum_ns += (shard->*field).sum_ns();
    }
    out.append(name).append("_sum ");
    put(out, to_seconds(sum_ns));
    out.append("\n").append(name).append("_count ");
    put(out, count);
    out.append("\n");
}

void put_http_requests(std::string& out, std::span<const ShardMetrics* const> shards) {
    constexpr std::string_view name = "ursula_http_requests_total";
    put_family(out, "counter", name, "Answered requests by method and class of status.");
    std::string labels;
    for (std::size_t method = 0; method < http_method_names.size(); ++method) {
        for (std::size_t status = 0; status < http_classes; ++status) {
            std::uint64_t total = 0;
            for (const ShardMetrics* shard : shards) {
                total += shard->http_requests[method][status].value();
            }
            labels.assign("method=\"").append(http_method_names[method]).append("\",code=\"");
            labels += static_cast<char>('2' + status);
            labels.append("xx\"");
            put_series(out, name, labels, total);
        }
    }
}

void put_node(std::string& out, const NodeMetrics& node) {
    put_family(out, "gauge", "ursula_build_info", "The version that runs; always 1.");
    std::string labels;
    labels.append("version=\"").append(node.version).append("\"");
    put_series(out, "ursula_build_info", labels, std::uint64_t{1});
    if (node.has_storage_free_bytes) {
        put_single(out, "gauge", "ursula_storage_free_bytes",
                   "Free bytes of the data directory's file system.", node.storage_free_bytes);
    }
    put_single(out, "counter", "process_cpu_seconds_total",
               "User and system CPU time of the process.", node.cpu_seconds);
    put_single(out, "gauge", "process_resident_memory_bytes", "Memory in RAM.",
               node.resident_bytes);
    put_single(out, "gauge", "process_virtual_memory_bytes", "Mapped memory.", node.virtual_bytes);
    put_single(out, "gauge", "process_open_fds", "Open file descriptors.", node.open_fds);
    put_single(out, "gauge", "process_max_fds", "Limit on open file descriptors.", node.max_fds);
    put_single(out, "gauge", "process_start_time_seconds",
               "Start of the process since the Unix epoch.", node.start_time_seconds);
}

// Reads a small file of /proc whole; the bytes read.
std::size_t read_small(const char* path, std::span<char> into) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    const ssize_t size = read(fd, into.data(), into.size());
    close(fd);
    return size > 0 ? static_cast<std::size_t>(size) : 0;
}

// The number-th field of text, counted from 0, or 0 when it is none.
std::uint64_t number_field(std::string_view text, std::size_t number) {
    for (; number > 0; --number) {
        const std::size_t blank = text.find(' ');
        if (blank == std::string_view::npos) {
            return 0;
        }
        text.remove_prefix(blank + 1);
    }
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

std::uint64_t count_fds() {
    struct stat status {};
    // Since Linux 6.2 the size of this directory is the number of entries: no walk over 50,000.
    if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0) {
        return static_cast<std::uint64_t>(status.st_size);
    }
    DIR* directory = opendir("/proc/self/fd");
    if (directory == nullptr) {
        return 0;
    }
    std::uint64_t count = 0;
    while (const dirent* entry = readdir(directory)) {
        count += entry->d_name[0] != '.' ? 1u : 0u;
    }
    closedir(directory);
    return count - 1;  // the directory's own
}

// Now minus the age of the process: /proc has the start in ticks since boot (proc(5), field 22).
double start_time() {
    std::array<char, 1024> buffer{};
    std::string_view text(buffer.data(), read_small("/proc/self/stat", buffer));
    const std::size_t name_end = text.rfind(')');  // the name may contain blanks
    if (name_end == std::string_view::npos || name_end + 2 > text.size()) {
        return 0;
    }
    const std::uint64_t ticks = number_field(text.substr(name_end + 2), 22 - 3);
    timespec boot{};
    timespec wall{};
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &wall);
    const auto seconds = [](const timespec& at) {
        return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) / 1e9;
    };
    const double start = static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
    // Whole hundredths, the kernel's resolution: the same number on every scrape.
    const double at = seconds(wall) - seconds(boot) + start;
    return static_cast<double>(static_cast<std::int64_t>(at * 100 + 0.5)) / 100;
}

}  // namespace

void read_process_metrics(NodeMetrics& node) {
    std::array<char, 256> buffer{};
    const std::string_view pages(buffer.data(), read_small("/proc/self/statm", buffer));
    const auto page_bytes = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    node.virtual_bytes = number_field(pages, 0) * page_bytes;
    node.resident_bytes = number_field(pages, 1) * page_bytes;

    rusage usage{};
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        const auto seconds = [](const timeval& time) {
            return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
        };
        node.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    }
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        node.max_fds = limit.rlim_cur;
    }
    node.open_fds = count_fds();
    // Read once: the wall clock may be set while we run, the start must not move with it.
    static const double started = start_time();
    node.start_time_seconds = started;
}

void write_metrics(std::string& out, const NodeMetrics& node,
                   std::span<const ShardMetrics* const> shards) {
    put_node(out, node);
    put_http_requests(out, shards);
    std::string_view name;
#define URSULA_FAMILY(type, metric, help) \
    name = metric;                        \
    put_family(out, type, name, help);
#define URSULA_SERIES(field, labels) \
    put_series(out, name, labels, sum(shards, &ShardMetrics::field));
#define URSULA_SECONDS(field, labels) \
    put_series(out, name, labels, to_seconds(sum(shards, &ShardMetrics::field)));
#define URSULA_HISTOGRAM(field, metric, help) \
    put_histogram(out, metric, help, shards, &ShardMetrics::field);
    URSULA_SHARD_METRICS(URSULA_FAMILY, URSULA_SERIES, URSULA_SECONDS, URSULA_HISTOGRAM)
#undef URSULA_FAMILY
#undef URSULA_SERIES
#undef URSULA_SECONDS
#undef URSULA_HISTOGRAM
}

}  // namespace ursula::ops
