#include "config.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "config_report.h"

namespace ursula {

namespace {

LoadedConfig from_file(std::string_view text) {
    ConfigSources sources;
    sources.file = "ursula.toml";
    return load_config_text(sources, text);
}

LoadedConfig with_settings(std::vector<Setting> settings, std::string_view text = "") {
    ConfigSources sources;
    sources.file = "ursula.toml";
    sources.command_line = std::move(settings);
    return load_config_text(sources, text);
}

Setting set(std::string key, std::string value) {
    std::string origin = "--set " + key;
    return Setting{std::move(origin), std::move(key), std::move(value)};
}

LoadedConfig with_environment(std::vector<const char*> entries, std::string_view text = "") {
    entries.push_back(nullptr);
    ConfigSources sources;
    sources.file = "ursula.toml";
    sources.environment = environment_settings(entries.data());
    return load_config_text(sources, text);
}

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

std::size_t count_lines_with(const std::string& text, std::string_view part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++count;
    }
    return count;
}

}  // namespace

TEST_CASE("no source: the defaults of INTERFACE.md") {
    const LoadedConfig loaded = load_config(ConfigSources{});
    CHECK(loaded.errors.empty());
    CHECK(loaded.warnings.empty());
    const Config& config = loaded.config;
    CHECK(config == Config{});
    CHECK(config.server.listen.size() == 1);
    CHECK(config.server.listen[0].text() == "127.0.0.1:4437");
    CHECK(config.server.shards == 0);
    CHECK(config.server.pin);
    CHECK_FALSE(config.server.insecure);
    CHECK(config.server.cors_origins == std::vector<std::string>{"*"});
    CHECK_FALSE(config.server.auto_create_buckets);
    CHECK(config.server.long_poll_timeout == base::seconds(20));
    CHECK(config.server.sse_heartbeat == base::seconds(15));
    CHECK(config.server.sse_lifetime == base::seconds(60));
    CHECK(config.server.drain_timeout == base::seconds(5));
    CHECK(config.server.max_body == 16u << 20);
    CHECK(config.server.read_chunk == 1u << 20);
    CHECK(config.server.max_connections == 0);
    CHECK(config.in_memory());
    CHECK(config.storage.hot_bytes == 256u << 20);
    CHECK(config.storage.segment_size == 64u << 20);
    CHECK(config.storage.direct == DirectIo::by_probe);
    CHECK(config.storage.reserve.is_share);
    CHECK(config.storage.reserve.of(1'000'000) == 50'000);
    CHECK(config.cluster.groups == 64);
}

TEST_CASE("a file sets every key") {
    const LoadedConfig loaded = from_file(R"(
[server]
listen = ["127.0.0.1:0", "[::1]:4437"]
shards = 3
pin = false
insecure = true
cors_origins = ["https://example.com", "http://localhost:3000"]
auto_create_buckets = true
long_poll_timeout = "1m"
sse_heartbeat = "500ms"
sse_lifetime = "2h"
drain_timeout = "0s"
max_body = "1MiB"
max_connections = 5000

[storage]
path = "/var/lib/ursula"
hot_bytes = "1GiB"
segment_size = "8MiB"
direct = "off"
reserve = "10GiB"

[cluster]
groups = 7
)");
    REQUIRE(loaded.errors == "");
    const Config& config = loaded.config;
    REQUIRE(config.server.listen.size() == 2);
    CHECK(config.server.listen[0].text() == "127.0.0.1:0");
    CHECK(config.server.listen[1].text() == "[::1]:4437");
    CHECK(config.server.listen[1].ipv6);
    CHECK(config.server.shards == 3);
    CHECK_FALSE(config.server.pin);
    CHECK(config.server.insecure);
    CHECK(config.server.cors_origins.size() == 2);
    CHECK(config.server.auto_create_buckets);
    CHECK(config.server.long_poll_timeout == base::seconds(60));
    CHECK(config.server.sse_heartbeat == base::milliseconds(500));
    CHECK(config.server.sse_lifetime == base::seconds(7200));
    CHECK(config.server.drain_timeout == base::Duration{});
    CHECK(config.server.max_body == 1u << 20);
    CHECK(config.server.max_connections == 5000);
    CHECK(config.storage.path == "/var/lib/ursula");
    CHECK_FALSE(config.in_memory());
    CHECK(config.storage.hot_bytes == 1u << 30);
    CHECK(config.storage.segment_size == 8u << 20);
    CHECK(config.storage.direct == DirectIo::off);
    CHECK_FALSE(config.storage.reserve.is_share);
    CHECK(config.storage.reserve.of(1) == 10ull << 30);
    CHECK(config.cluster.groups == 7);
}

TEST_CASE("where the admin plane listens") {
    CHECK(from_file("").config.server.admin_listen.is_default());
    const auto listen = [](const std::string& text) {
        const LoadedConfig loaded = from_file("server.admin_listen = \"" + text + "\"");
        REQUIRE(loaded.errors == "");
        return loaded.config.server.admin_listen;
    };
    CHECK(listen("unix:/run/ursula/admin.sock").is_default());
    CHECK(listen("").kind == AdminListen::Kind::none);
    CHECK(listen("unix:a.sock").path == "a.sock");
    CHECK(!listen("unix:a.sock").is_default());
    CHECK(listen("[::1]:0").kind == AdminListen::Kind::tcp);
    for (const char* text : {"", "unix:/x/y.sock", "127.0.0.1:4438", "[::1]:4438"}) {
        CHECK(listen(text).text() == text);
    }
    CHECK(from_file("[server]\ninsecure = true\nadmin_listen = \"0.0.0.0:1\"").errors == "");
}

TEST_CASE("dotted keys and inline tables are the same keys") {
    CHECK(from_file("server.shards = 2").config.server.shards == 2);
    CHECK(from_file("server = { shards = 2 }").config.server.shards == 2);
}

TEST_CASE("order: default < file < environment < command line") {
    const char* file = "[server]\nshards = 1\nsse_heartbeat = \"1s\"\nmax_connections = 11\n";
    ConfigSources sources;
    const char* environment[] = {"URSULA_SERVER__SHARDS=2", "URSULA_SERVER__SSE_HEARTBEAT=2s",
                                 nullptr};
    sources.environment = environment_settings(environment);
    sources.command_line = {set("server.shards", "3")};
    const LoadedConfig loaded = load_config_text(sources, file);
    REQUIRE(loaded.errors == "");
    CHECK(loaded.config.server.shards == 3);
    CHECK(loaded.config.server.sse_heartbeat == base::seconds(2));
    CHECK(loaded.config.server.max_connections == 11);
    CHECK(loaded.config.server.sse_lifetime == base::seconds(60));
}

TEST_CASE("the last setting of a key wins, lists do not add up") {
    const LoadedConfig loaded =
        with_settings({set("server.shards", "3"), set("server.shards", "4"),
                       set("server.listen", "127.0.0.1:1"), set("server.listen", "127.0.0.1:2")});
    REQUIRE(loaded.errors == "");
    CHECK(loaded.config.server.shards == 4);
    REQUIRE(loaded.config.server.listen.size() == 1);
    CHECK(loaded.config.server.listen[0].port == 2);
}

TEST_CASE("an overridden value is still checked: the file must be right by itself") {
    const LoadedConfig loaded = with_settings({set("server.shards", "3")}, "server.shards = 99");
    CHECK(contains(loaded.errors, "ursula.toml:1:17: error: server.shards = 99 is out of range"));
}

TEST_CASE("settings: every kind of value as text") {
    const LoadedConfig loaded = with_settings({
        set("server.listen", "127.0.0.1:1,[::1]:2"),
        set("server.pin", "false"),
        set("server.cors_origins", "[]"),
        set("server.max_body", "65536"),
        set("storage.path", "/data with = and [brackets]"),
        set("storage.direct", "\"on\""),
        set("storage.reserve", "2.5%"),
    });
    REQUIRE(loaded.errors == "");
    const Config& config = loaded.config;
    REQUIRE(config.server.listen.size() == 2);
    CHECK(config.server.listen[1].text() == "[::1]:2");
    CHECK_FALSE(config.server.pin);
    CHECK(config.server.cors_origins.empty());
    CHECK(config.server.max_body == 65536);
    CHECK(config.storage.path == "/data with = and [brackets]");
    CHECK(config.storage.direct == DirectIo::on);
    CHECK(config.storage.reserve.share_hundredths == 250);
}

TEST_CASE("settings: a list as in the file") {
    const LoadedConfig loaded =
        with_settings({set("server.listen", R"(["127.0.0.1:1", "127.0.0.1:2"])")});
    REQUIRE(loaded.errors == "");
    CHECK(loaded.config.server.listen.size() == 2);
    CHECK(contains(with_settings({set("server.listen", "[1, 2]")}).errors,
                   "server.listen must be a list of texts, not of a number"));
}

TEST_CASE("errors in settings name their origin") {
    CHECK(with_settings({set("server.shards", "many")}).errors ==
          "--set server.shards: error: server.shards must be a number, not \"many\"; write a "
          "number from 0 to 64\n1 error. Nothing was changed.\n");
    CHECK(with_settings({set("server.sharts", "1")}).errors ==
          "--set server.sharts: error: unknown key \"server.sharts\"; did you mean "
          "server.shards?\n1 error. Nothing was changed.\n");
    CHECK(with_settings({set("shards", "1")}).errors ==
          "--set shards: error: unknown key \"shards\"; did you mean server.shards?\n"
          "1 error. Nothing was changed.\n");
    CHECK(with_settings({set("cold.backend", "s3")}).errors ==
          "--set cold.backend: error: unknown key \"cold.backend\"; `ursula --help` lists the "
          "keys\n1 error. Nothing was changed.\n");
    CHECK(with_environment({"URSULA_SERVER__PIN=1"}).errors ==
          "environment URSULA_SERVER__PIN: error: server.pin must be true or false, not \"1\"; "
          "write true or false\n1 error. Nothing was changed.\n");
}

TEST_CASE("environment: unknown names are a warning, foreign ones nothing") {
    const LoadedConfig loaded = with_environment(
        {"PATH=/bin", "URSULA_HOME=/x", "URSULACTL_SERVER=x", "URSULA_SERVER__SHARDS=2",
         "URSULA_SERVER__SHARTS=2", "URSULA_SERVER_LISTEN=127.0.0.1:1", "URSULA_COLD__BACKEND=s3",
         "URSULA_X"});
    CHECK(loaded.errors == "");
    CHECK(loaded.config.server.shards == 2);
    CHECK(loaded.config.server.listen[0].port == 4437);
    CHECK(loaded.warnings ==
          "environment URSULA_SERVER__SHARTS: warning: is not a key of ours and was ignored; did "
          "you mean URSULA_SERVER__SHARDS?\n"
          "environment URSULA_SERVER_LISTEN: warning: is not a key of ours and was ignored; did "
          "you mean URSULA_SERVER__LISTEN?\n"
          "environment URSULA_COLD__BACKEND: warning: is not a key of ours and was ignored; "
          "`ursula --help` lists the keys\n");
}

TEST_CASE("every key can be set by the environment") {
    for (const char* entry :
         {"URSULA_SERVER__LISTEN=127.0.0.1:1", "URSULA_SERVER__SHARDS=1", "URSULA_SERVER__PIN=true",
          "URSULA_SERVER__INSECURE=true", "URSULA_SERVER__CORS_ORIGINS=*",
          "URSULA_SERVER__AUTO_CREATE_BUCKETS=true", "URSULA_SERVER__LONG_POLL_TIMEOUT=1s",
          "URSULA_SERVER__SSE_HEARTBEAT=1s", "URSULA_SERVER__SSE_LIFETIME=1s",
          "URSULA_SERVER__DRAIN_TIMEOUT=1s", "URSULA_SERVER__MAX_BODY=1MiB",
          "URSULA_SERVER__MAX_CONNECTIONS=1", "URSULA_STORAGE__PATH=/x",
          "URSULA_STORAGE__HOT_BYTES=1MiB", "URSULA_STORAGE__SEGMENT_SIZE=64MiB",
          "URSULA_STORAGE__DIRECT=auto", "URSULA_STORAGE__RESERVE=5%",
          "URSULA_CLUSTER__GROUPS=1"}) {
        CAPTURE(entry);
        const LoadedConfig loaded = with_environment({entry});
        CHECK(loaded.errors == "");
        CHECK(loaded.warnings == "");
    }
}

TEST_CASE("the empty path is refused from everywhere: it must not turn a server forgetful") {
    CHECK(contains(from_file("storage.path = \"\"").errors, "storage.path is empty"));
    CHECK(contains(with_settings({set("storage.path", "")}).errors, "storage.path is empty"));
    CHECK(contains(with_environment({"URSULA_STORAGE__PATH="}).errors, "storage.path is empty"));
}

TEST_CASE("ranges: the limit is fine, one beyond is not") {
    const auto fine = [](const char* key, const char* value) {
        CAPTURE(key);
        CAPTURE(value);
        CHECK(with_settings({set(key, value)}).errors == "");
    };
    const auto wrong = [](const char* key, const char* value) {
        CAPTURE(key);
        CAPTURE(value);
        CHECK(contains(with_settings({set(key, value)}).errors, "is out of range"));
    };
    fine("server.shards", "64");
    wrong("server.shards", "65");
    wrong("server.shards", "-1");
    wrong("server.shards", "4294967296");
    fine("server.long_poll_timeout", "100ms");
    wrong("server.long_poll_timeout", "99ms");
    fine("server.sse_heartbeat", "100ms");
    wrong("server.sse_heartbeat", "99999us");
    fine("server.sse_lifetime", "24h");
    wrong("server.sse_lifetime", "86401s");
    fine("server.drain_timeout", "1h");
    wrong("server.drain_timeout", "61m");
    fine("server.max_body", "1KiB");
    wrong("server.max_body", "1023");
    wrong("server.max_body", "257MiB");
    fine("server.read_chunk", "1KiB");
    wrong("server.read_chunk", "1023");
    fine("server.read_chunk", "16MiB");
    wrong("server.read_chunk", "17MiB");
    fine("server.max_connections", "1000000");
    wrong("server.max_connections", "1000001");
    fine("storage.hot_bytes", "64KiB");
    wrong("storage.hot_bytes", "65535");
    wrong("storage.segment_size", "2047KiB");
    fine("storage.segment_size", "1GiB");
    wrong("storage.segment_size", "1025MiB");
    fine("storage.reserve", "0%");
    fine("storage.reserve", "90%");
    wrong("storage.reserve", "90.01%");
    fine("cluster.groups", "1");
    wrong("cluster.groups", "0");
    fine("cluster.groups", "4096");
    wrong("cluster.groups", "4097");
}

TEST_CASE("a body is at most a quarter of a segment") {
    CHECK(with_settings({set("storage.segment_size", "4MiB"), set("server.max_body", "1MiB")})
              .errors == "");
    const std::string errors =
        with_settings({set("storage.segment_size", "4MiB"), set("server.max_body", "1048577")})
            .errors;
    CHECK(contains(errors,
                   "--set server.max_body: error: server.max_body = \"1048577\" is more "
                   "than a quarter of storage.segment_size = \"4MiB\"; set "
                   "server.max_body to at most \"1MiB\""));
    // Only the segment was set: the error stands there.
    CHECK(contains(with_settings({set("storage.segment_size", "4MiB")}).errors,
                   "--set storage.segment_size: error: server.max_body = \"16MiB\" is more"));
}

TEST_CASE("every shard has a group") {
    CHECK(with_settings({set("server.shards", "2"), set("cluster.groups", "2")}).errors == "");
    CHECK(
        contains(with_settings({set("server.shards", "3"), set("cluster.groups", "2")}).errors,
                 "--set server.shards: error: server.shards = 3 is more than cluster.groups = 2"));
}

TEST_CASE("groups: whether somebody wrote them is known") {
    CHECK_FALSE(from_file("[server]\nshards = 1").config.cluster.groups_given);
    CHECK(from_file("[cluster]\ngroups = 64").config.cluster.groups_given);
    CHECK(with_settings({set("cluster.groups", "64")}).config.cluster.groups_given);
}

TEST_CASE("rules between keys keep quiet when one of the two is already wrong") {
    const std::string errors = with_settings({set("storage.segment_size", "4MB")}).errors;
    CHECK(count_lines_with(errors, ": error: ") == 1);
    CHECK(contains(errors, "did you mean \"4MiB\"?"));
}

TEST_CASE("beyond loopback only with insecure = true") {
    const auto errors = [](const char* address, bool insecure) {
        return with_settings({set("server.listen", address),
                              set("server.insecure", insecure ? "true" : "false")})
            .errors;
    };
    for (const char* address : {"0.0.0.0:4437", "10.0.0.1:0", "[::]:4437", "[fe80::1]:1",
                                "[::ffff:10.0.0.1]:1", "127.0.0.1:1,10.0.0.1:1"}) {
        CAPTURE(address);
        CHECK(contains(errors(address, false), "add --set server.insecure=true to allow that"));
        CHECK(errors(address, true) == "");
    }
    for (const char* address :
         {"127.0.0.1:4437", "127.255.0.9:0", "[::1]:4437", "[::ffff:127.0.0.1]:1"}) {
        CAPTURE(address);
        CHECK(errors(address, false) == "");
    }
}

TEST_CASE("addresses: canonical, or refused with the right spelling") {
    CHECK(with_settings({set("server.listen", "[0:0:0:0:0:0:0:1]:1")})
              .config.server.listen[0]
              .text() == "[::1]:1");
    const auto hint = [](const char* address) {
        const std::string errors = with_settings({set("server.listen", address)}).errors;
        CHECK(contains(errors, "is not ADDR:PORT; "));
        return errors;
    };
    CHECK(contains(hint("4437"), "did you mean \"127.0.0.1:4437\"?"));
    CHECK(contains(hint("127.0.0.1"), "did you mean \"127.0.0.1:4437\"?"));
    CHECK(contains(hint("::1"), "did you mean \"[::1]:4437\"?"));
    CHECK(contains(hint("localhost:80"), "did you mean \"127.0.0.1:80\"?"));
    CHECK(contains(hint(":80"), "write \"127.0.0.1:80\" for this machine alone"));
    CHECK(contains(hint("127.0.0.1:65536"), "a port is at most 65535"));
    CHECK(contains(hint("127.0.0.1:"), "write it as"));
    CHECK(contains(hint("127.0.0.1:-1"), "write it as"));
    CHECK(contains(hint("127.0.0.1:+1"), "write it as"));
    CHECK(contains(hint("[127.0.0.1]:1"), "write it as"));
    CHECK(contains(hint("example.com:80"), "names are not looked up"));
    CHECK(contains(hint("127.1:80"), "names are not looked up"));
    CHECK(contains(hint("0177.0.0.1:80"), "names are not looked up"));
}

TEST_CASE("addresses: none, one twice, many") {
    CHECK(contains(with_settings({set("server.listen", "")}).errors, "has 0 addresses"));
    CHECK(contains(from_file("server.listen = []").errors, "has 0 addresses"));
    CHECK(contains(with_settings({set("server.listen", "127.0.0.1:1,127.0.0.1:1")}).errors,
                   "names \"127.0.0.1:1\" twice"));
    CHECK(with_settings({set("server.listen", "127.0.0.1:0,127.0.0.1:0")}).errors == "");
    std::string many = "127.0.0.1:1";
    for (int port = 2; port <= 16; ++port) {
        many += ",127.0.0.1:" + std::to_string(port);
    }
    CHECK(with_settings({set("server.listen", many)}).errors == "");
    CHECK(contains(with_settings({set("server.listen", many + ",127.0.0.1:17")}).errors,
                   "has 17 addresses"));
}

TEST_CASE("origins") {
    for (const char* origin : {"*", "https://a.example", "http://localhost:3000", "tauri://x"}) {
        CAPTURE(origin);
        CHECK(with_settings({set("server.cors_origins", origin)}).errors == "");
    }
    for (const char* origin : {"a.example", "https://", "://x", "https://a/b", "https://*.a",
                               "https://a b", "https://a?x"}) {
        CAPTURE(origin);
        CHECK(contains(with_settings({set("server.cors_origins", origin)}).errors,
                       "is not an origin"));
    }
    CHECK(contains(with_settings({set("server.cors_origins", "https://a/")}).errors,
                   "did you mean \"https://a\"?"));
}

TEST_CASE("a file that cannot be read") {
    ConfigSources sources;
    sources.file = "/nonexistent/ursula.toml";
    CHECK(load_config(sources).errors ==
          "/nonexistent/ursula.toml: error: cannot be read: No such file or directory; --config "
          "names a readable TOML file\n1 error. Nothing was changed.\n");
    sources.file = "/";
    CHECK(contains(load_config(sources).errors, "/: error: cannot be read: Is a directory"));
    sources.file = "/dev/zero";
    CHECK(contains(load_config(sources).errors, "is larger than 1MiB"));
}

TEST_CASE("hostile text: many errors, long lines, binary; never a crash, always a place") {
    std::string wide = "[server]\n" + std::string(3000, ' ') + "shards = " + std::string(40, '9');
    CHECK(contains(from_file(wide).errors, "ursula.toml:2:30"));
    CHECK(contains(from_file(wide).errors, "..."));
    CHECK(contains(from_file("[server]\nname\x01 = 1").errors, "error: "));
    CHECK(contains(from_file("\xff\xfe").errors, "error: "));
    CHECK(contains(from_file(std::string(1000, '[')).errors, "error: "));
    CHECK(contains(from_file(std::string_view("\0\0\0", 3)).errors, "error: "));
    std::string many = "[server]\n";
    for (int i = 0; i < 100; ++i) {
        many += "key" + std::to_string(i) + " = = 1\n";
    }
    CHECK(count_lines_with(from_file(many).errors, ": error: ") == 20);
    std::string unknown = "[server]\n";
    for (int i = 0; i < 100; ++i) {
        unknown += "key" + std::to_string(i) + " = 1\n";
    }
    CHECK(count_lines_with(from_file(unknown).errors, ": error: ") == 100);
    CHECK(contains(from_file(unknown).errors, "100 errors. Nothing was changed.\n"));
}

TEST_CASE("every prefix of a good file ends in a configuration or an error, never in a crash") {
    const std::string text =
        "[server]\nlisten = [\"127.0.0.1:0\", '[::1]:4437'] # x\nshards = 3\n"
        "sse_heartbeat = \"500ms\"\n[storage]\nreserve = \"\"\"5%\"\"\"\n";
    for (std::size_t size = 0; size <= text.size(); ++size) {
        const LoadedConfig loaded = from_file(std::string_view(text).substr(0, size));
        CHECK((loaded.errors.empty() || contains(loaded.errors, ": error: ")));
    }
    CHECK(from_file(text).errors == "");
}

TEST_CASE("what takes effect at a reload, and what needs a restart") {
    Config running;
    Config wanted;
    CHECK(keys_needing_restart(running, wanted).empty());
    wanted.server.cors_origins = {"https://a"};
    wanted.server.sse_heartbeat = base::seconds(1);
    CHECK(keys_needing_restart(running, wanted).empty());
    wanted.server.listen[0].port = 1;
    wanted.storage.path = "/x";
    wanted.storage.reserve.share_hundredths = 100;
    CHECK(keys_needing_restart(running, wanted) ==
          std::vector<std::string>{"server.listen", "storage.path", "storage.reserve"});
}

TEST_CASE("the key table names every key with its default") {
    const std::string table = describe_keys();
    CHECK(contains(table, "server.listen "));
    CHECK(contains(table, "\"16MiB\""));
    CHECK(contains(table, "\"60s\""));
    CHECK(contains(table, "\"5%\""));
    std::size_t begin = 0;
    while (begin < table.size()) {
        const std::size_t end = table.find('\n', begin);
        CHECK(end - begin <= 80);
        begin = end + 1;
    }
}

TEST_CASE("the nearest name") {
    const std::vector<std::string_view> names = {"listen", "shards", "pin", "flush_interval"};
    CHECK(nearest_name("flush_intervall", names) == "flush_interval");
    CHECK(nearest_name("lsiten", names) == "listen");
    CHECK(nearest_name("LISTEN", names) == "listen");
    CHECK(nearest_name("shard", names) == "shards");
    CHECK(nearest_name("in", names) == "pin");
    CHECK(nearest_name("quota", names).empty());
    CHECK(nearest_name("", names).empty());
    CHECK(nearest_name(std::string(1'000'000, 'x'), names).empty());
}

TEST_CASE("quotes: cut, and safe on a terminal") {
    CHECK(in_quotes("a") == "\"a\"");
    CHECK(in_quotes("a\x1b[2J\n") == "\"a?[2J?\"");
    CHECK(in_quotes(std::string(81, 'x')) == '"' + std::string(80, 'x') + "...\"");
    CHECK(in_quotes(std::string(79, 'x') + "\xc3\xa4") == '"' + std::string(79, 'x') + "...\"");
}

}  // namespace ursula
