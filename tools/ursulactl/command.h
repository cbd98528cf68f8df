// The frame of ursulactl: what a command is, and what it is given. A family of commands is one file
// that defines a table of Command; commands.cc lists the tables.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tools/ursulactl/exit_codes.h"

namespace ursula::ctl {

// Ends the command: `what()` happened, `next` is what to do about it (may be empty).
struct Failure : std::runtime_error {
    Failure(int code, const std::string& what, std::string next_step = {})
        : std::runtime_error(what), exit_code(code), next(std::move(next_step)) {}
    int exit_code;
    std::string next;
};

// An option ("--to") or an argument ("GROUP").
struct Parameter {
    std::string_view name;
    std::string_view value;  // an option's value as help names it: "NODE"; empty: a switch
    std::string_view help;   // one line
    bool required = false;

    bool is_option() const { return name.starts_with("-"); }
};

enum class Format { table, wide, json, ndjson };

// The flags every command takes, from the command line or URSULACTL_*.
struct GlobalFlags {
    std::string server;    // URL, or unix:PATH
    std::string data_dir;  // whose admin.sock to use
    Format format = Format::table;
    bool headers = true;
    bool quiet = false;
    bool verbose = false;
    bool colour = false;
    bool yes = false;
    bool print_curl = false;
    bool has_timeout = false;
    std::chrono::milliseconds timeout{0};
};

class Client;
class Output;

struct Context {
    GlobalFlags flags;
    std::map<std::string, std::string, std::less<>> values;  // by parameter name, those given
    Client& client;
    Output& out;

    bool has(std::string_view name) const { return values.find(name) != values.end(); }
    // "" when it was not given.
    const std::string& text(std::string_view name) const;
    // A number in these bounds, or a Failure that names the parameter.
    std::uint64_t number(std::string_view name, std::uint64_t low, std::uint64_t high) const;
    std::chrono::milliseconds timeout_or(std::chrono::milliseconds usual) const {
        return flags.has_timeout ? flags.timeout : usual;
    }
};

struct Command {
    std::string_view words;    // "group transfer"
    std::string_view summary;  // one line, ending in a full stop
    std::span<const Parameter> parameters;
    std::string_view examples;    // lines of "ursulactl ...   what it does"
    std::string_view exit_codes;  // beside the usual ones: "6 it does not lead"
    int (*run)(Context& context);
};

// All of them, in the order help lists them.
std::span<const Command* const> all_commands();

std::span<const Command> node_commands();
std::span<const Command> group_commands();
std::span<const Command> stream_commands();
std::span<const Command> member_commands();
std::span<const Command> join_commands();

}  // namespace ursula::ctl
