// The group of a stream by its canonical name alone: what src/http/routes.cc finds out from a path,
// for those who have only the name.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "api/placement.h"

namespace ursula::api {

inline base::GroupId group_of_stream(std::string_view name, std::uint32_t groups) {
    const bool has_affinity =
        !name.starts_with("v1/") && std::count(name.begin(), name.end(), '/') == 2;
    return group_of(has_affinity ? name.substr(0, name.rfind('/')) : name, groups);
}

}  // namespace ursula::api
