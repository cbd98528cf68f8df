#include "tools/ursulactl/join/authority.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "tools/ursulactl/command.h"
#include "tools/ursulactl/join/secrets.h"

namespace ursula::ctl {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* certificate_name = "ca.pem";
constexpr const char* key_name = "ca.key";
constexpr const char* issued_name = "issued.json";

std::string list_text(const std::string& cluster, std::uint32_t own,
                      const std::vector<Issued>& issued) {
    Json list;
    list["schema"] = 1;
    list["cluster"] = cluster;
    list["own"] = own;
    list["members"] = Json::array();
    for (const Issued& one : issued) {
        Json member;
        member["node"] = one.node;
        member["address"] = one.address;
        member["serial"] = one.serial;
        member["ends"] = one.ends_s;
        list["members"].push_back(std::move(member));
    }
    return list.dump(2) + "\n";
}

bool take_node(const Json& json, std::uint32_t& out) {
    const bool fits = json.is_number_unsigned() && json.get<std::uint64_t>() >= 1 &&
                      json.get<std::uint64_t>() <= base::limits::node_id_max;
    out = fits ? json.get<std::uint32_t>() : 0;
    return fits;
}

// Written by us, and still: a person may have edited it.
bool read_list(const std::string& text, std::string& cluster, std::uint32_t& own,
               std::vector<Issued>& issued) {
    const Json list = Json::parse(text, nullptr, false);
    if (!list.is_object() || list.value("schema", Json()) != 1 ||
        !list.value("cluster", Json()).is_string() || !take_node(list.value("own", Json()), own) ||
        !list.value("members", Json()).is_array()) {
        return false;
    }
    cluster = list["cluster"].get<std::string>();
    bool has_own = false;
    for (const Json& member : list["members"]) {
        Issued one;
        if (!member.is_object() || !take_node(member.value("node", Json()), one.node) ||
            !member.value("address", Json()).is_string() ||
            !member.value("serial", Json()).is_string() ||
            !member.value("ends", Json()).is_number_integer()) {
            return false;
        }
        one.address = member["address"].get<std::string>();
        one.serial = member["serial"].get<std::string>();
        one.ends_s = member["ends"].get<std::int64_t>();
        has_own = has_own || one.node == own;
        issued.push_back(std::move(one));
    }
    return has_own;
}

}  // namespace

void AuthorityFolder::create(const std::string& dir, const std::string& cluster,
                             const CertifiedKey& authority, const Issued& first) {
    const std::string list = list_text(cluster, first.node, {first});
    place_folder(dir, authority_folder,
                 {{certificate_name, &authority.certificate, false},
                  {key_name, &authority.key, true},
                  {issued_name, &list, false}},
                 false, false);
}

AuthorityFolder::AuthorityFolder(const std::string& dir) : folder_(dir + "/" + authority_folder) {
    const std::string key_path = folder_ + "/" + key_name;
    lock_ = ::open(key_path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (lock_ < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        throw Failure(exit_not_found, dir + " holds no authority of a cluster",
                      "certificates are made where `ursulactl cluster init` was run, with that "
                      "node's --data-dir");
    }
    if (lock_ >= 0 && ::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
        ::close(lock_);
        throw Failure(exit_conflict, folder_ + " is in use by another `ursulactl cluster invite`",
                      "end that one, or wait for it");
    }
    try {
        authority_.key = read_file(key_path, true);
        authority_.certificate = read_file(folder_ + "/" + certificate_name, false);
        const std::string list_path = folder_ + "/" + issued_name;
        if (!read_list(read_file(list_path, false), cluster_, own_node_, issued_)) {
            throw Failure(exit_failed, list_path + " is damaged", "restore it from a backup");
        }
    } catch (const Failure&) {
        ::close(lock_);
        throw;
    }
}

AuthorityFolder::~AuthorityFolder() {
    forget(authority_.key);
    ::close(lock_);
}

const Issued* AuthorityFolder::find(std::uint32_t node) const {
    const auto at = std::find_if(issued_.begin(), issued_.end(),
                                 [node](const Issued& one) { return one.node == node; });
    return at == issued_.end() ? nullptr : &*at;
}

void AuthorityFolder::record(const Issued& issued) {
    std::vector<Issued> changed = issued_;
    std::erase_if(changed, [&issued](const Issued& one) { return one.node == issued.node; });
    changed.push_back(issued);
    std::sort(changed.begin(), changed.end(),
              [](const Issued& a, const Issued& b) { return a.node < b.node; });
    const std::string list = list_text(cluster_, own_node_, changed);
    replace_file(folder_, {issued_name, &list, false});
    issued_ = std::move(changed);
}

}  // namespace ursula::ctl
