// One value into one field of the Config, or an error that says why not and what to write instead.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "config.h"
#include "config_file.h"
#include "config_report.h"

namespace ursula {

// Each method reads `value` as one kind of thing. A refused value is reported and leaves the field
// alone. Lives during one read.
struct ConfigReader {
    const std::string& key;  // "server.shards"
    const ConfigValue& value;
    ConfigProblems& problems;

    void boolean(bool& field) const;
    void integer(std::uint32_t& field, std::uint32_t low, std::uint32_t high) const;
    void duration(base::Duration& field, base::Duration low, base::Duration high) const;
    void size(std::uint64_t& field, std::uint64_t low, std::uint64_t high) const;
    void path(std::string& field) const;
    void direct(DirectIo& field) const;
    void reserve(Reserve& field) const;
    void addresses(std::vector<ListenAddress>& field) const;
    void admin_listen(AdminListen& field) const;
    void switched(Config::Webhooks& field) const;
    void public_url(std::string& field) const;
    void origins(std::vector<std::string>& field) const;
    void cluster_name(std::string& field) const;
    void cluster_listen(std::vector<ListenAddress>& field) const;  // one address
    void members(std::vector<Config::Member>& field) const;

  private:
    void refuse(std::string message, std::string hint) const;
    void wrong_type(std::string_view wanted, std::string hint) const;
    // A text or a list of texts, each with its place. Nothing: refused.
    std::optional<std::vector<ConfigValue>> texts(std::string example) const;
    bool member(const ConfigValue& table, Config::Member& out) const;
};

}  // namespace ursula
