#include "tools/ursulactl/target.h"

#include <doctest/doctest.h>

#include <map>
#include <set>

namespace ursula::ctl {

namespace {

struct World {
    std::map<std::string, std::string> environment;
    std::set<std::string> sockets;
    GlobalFlags flags;

    Target choose() const {
        return choose_target(
            flags,
            [this](const char* name) {
                const auto at = environment.find(name);
                return at == environment.end() ? std::string() : at->second;
            },
            [this](const std::string& path) { return sockets.count(path) != 0; });
    }
    std::string name() const { return choose().name(); }
};

}  // namespace

TEST_CASE("what names a node, the more deliberate first") {
    World world;
    CHECK(world.name() == "http://127.0.0.1:4437");
    world.environment["URSULA_STORAGE__PATH"] = "/data";
    CHECK(world.name() == "http://127.0.0.1:4437");
    world.sockets.insert("/data/admin.sock");
    CHECK(world.name() == "unix:/data/admin.sock");
    world.sockets.insert("/run/ursula/admin.sock");
    CHECK(world.name() == "unix:/run/ursula/admin.sock");
    world.environment["URSULACTL_DATA_DIR"] = "/other/";
    CHECK(world.name() == "unix:/other/admin.sock");
    world.environment["URSULACTL_SERVER"] = "http://10.0.0.1:4437/";
    CHECK(world.name() == "http://10.0.0.1:4437");
    world.flags.data_dir = "mine";
    CHECK(world.name() == "unix:mine/admin.sock");
    world.flags.data_dir.clear();
    world.flags.server = "unix:/a/b.sock";
    CHECK(world.name() == "unix:/a/b.sock");
    CHECK(world.choose().base_url == "http://localhost");
}

TEST_CASE("how a node may be written") {
    const auto name_of = [](const std::string& server) {
        World world;
        world.flags.server = server;
        return world.name();
    };
    CHECK(name_of("10.0.0.1:4437") == "http://10.0.0.1:4437");
    CHECK(name_of("localhost:1/") == "http://localhost:1");
    CHECK(name_of("https://ursula.example") == "https://ursula.example");
    CHECK(name_of("http://[::1]:4437") == "http://[::1]:4437");
    CHECK(name_of("/a.sock") == "unix:/a.sock");
    CHECK(name_of("unix:a.sock") == "unix:a.sock");
    CHECK(name_of("unix:///a.sock") == "unix:/a.sock");
    for (const char* wrong : {"unix:", "http://", "ftp://x", "http://a/b", "http://a?b",
                              "http://u@h", "http:///x", "a b", "http://a#b"}) {
        CAPTURE(wrong);
        try {
            name_of(wrong);
            FAIL("was taken");
        } catch (const Failure& failure) {
            CHECK(failure.exit_code == exit_usage);
            CHECK(!failure.next.empty());
        }
    }
}

TEST_CASE("two names of a node are one too many") {
    World world;
    world.flags.server = "a:1";
    world.flags.data_dir = "d";
    CHECK_THROWS_AS(world.choose(), Failure);
}

}  // namespace ursula::ctl
