// stream show, ls.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/ursulactl/client.h"
#include "tools/ursulactl/output.h"

namespace ursula::ctl {

namespace {

using Json = nlohmann::ordered_json;

// As people write it: with or without a slash in front.
std::string without_slash(const std::string& name) {
    return name.starts_with('/') ? name.substr(1) : name;
}

int run_show(Context& context) {
    const std::string name = without_slash(context.text("BUCKET/STREAM"));
    if (name.find('/') == std::string::npos) {
        throw Failure(exit_usage, "a stream's name has a bucket before it",
                      "write it as BUCKET/STREAM, or v1/stream/PATH");
    }
    const std::string body = context.client.get("/admin/v1/streams/" + escape_path(name));
    if (context.out.json(body)) {
        return exit_ok;
    }
    const Json stream = Json::parse(body);
    const auto line = [&context](std::string_view what, const std::string& value) {
        context.out.line(fmt::format("{:<13}{}", what, value));
    };
    line("stream", text_of(stream.at("stream")));
    line("group",
         fmt::format("{} (shard {})", text_of(stream.at("group")), text_of(stream.at("shard"))));
    line("leader",
         stream.at("leader").is_null() ? "none is known" : "node " + text_of(stream.at("leader")));
    line("tail", fmt::format("{} bytes{}", text_of(stream.at("tail")),
                             stream.at("confirmed") == true
                                 ? ""
                                 : " on this node; its group has no leader to confirm it"));
    line("next offset", text_of(stream.at("next_offset")));
    line("state", stream.at("closed") == true ? "closed" : "open");
    line("content type", text_of(stream.at("content_type")));
    if (!stream.at("expires_in_ms").is_null()) {
        const std::int64_t seconds = stream.at("expires_in_ms").get<std::int64_t>() / 1000;
        line("expires", stream.at("ttl_s").is_null()
                            ? fmt::format("in {} s", seconds)
                            : fmt::format("in {} s, if nobody reads or appends for {} s", seconds,
                                          text_of(stream.at("ttl_s"))));
    }
    line("incarnation", text_of(stream.at("incarnation")));
    context.out.print(members_table(stream.at("replicas").dump()));
    return exit_ok;
}

int run_ls(Context& context) {
    const std::string bucket = without_slash(context.text("BUCKET"));
    if (bucket.empty() || bucket.find('/') != std::string::npos) {
        throw Failure(exit_usage, "a bucket's name has no slash in it",
                      "--prefix narrows the list: ursulactl stream ls BUCKET --prefix a/");
    }
    const std::string path =
        "/" + escape_path(bucket) + "?prefix=" + escape_path(context.text("--prefix"));
    Json all = {{"schema", 1}, {"bucket", bucket}, {"streams", Json::array()}};
    std::string after;
    do {
        Json page = Json::parse(
            context.client.get(path + (after.empty() ? "" : "&after=" + escape_path(after))));
        for (Json& name : page.at("streams")) {
            all["streams"].push_back(std::move(name));
        }
        after = page.contains("after") ? page["after"].get<std::string>() : std::string();
    } while (!after.empty());
    if (!context.out.json(all.dump(), "streams")) {
        for (const Json& name : all["streams"]) {
            context.out.line(text_of(name));
        }
    }
    return exit_ok;
}

constexpr Parameter show_parameters[] = {
    {"BUCKET/STREAM", "", "or v1/stream/PATH, for one without a bucket", true},
};
constexpr Parameter ls_parameters[] = {
    {"BUCKET", "", "its name", true},
    {"--prefix", "TEXT", "only streams whose names begin so"},
};

const Command commands[] = {
    {"stream show", "Show where a stream is and how far it goes.", show_parameters,
     "  ursulactl stream show demo/hello\n"
     "  ursulactl stream show v1/stream/a/b -o json | jq .tail\n",
     "3 when there is no such stream.", run_show},
    {"stream ls", "List the streams of a bucket.", ls_parameters,
     "  ursulactl stream ls demo\n"
     "  ursulactl stream ls demo --prefix orders/ -o ndjson\n",
     "3 when there is no such bucket.", run_ls},
};

}  // namespace

std::span<const Command> stream_commands() {
    return commands;
}

}  // namespace ursula::ctl
