#include "sim/swarm.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/random.h"

namespace ursula::sim {

namespace {

constexpr auto fault_classes = static_cast<std::uint32_t>(Fault::last);

bool read_number(std::string_view text, std::uint64_t& number) {
    const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
    return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

// Calls visit(part) for what stands between the separators; stops when it returns false.
template <class Visit>
bool for_each_part(std::string_view text, char separator, Visit visit) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(separator), text.size());
        if (end > 0 && !visit(text.substr(0, end))) {
            return false;
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return true;
}

}  // namespace

const char* name_of(Fault fault) {
    switch (fault) {
        case Fault::loss:
            return "loss";
        case Fault::doubles:
            return "doubles";
        case Fault::delays:
            return "delays";
        case Fault::cuts:
            return "cuts";
        case Fault::clogs:
            return "clogs";
        case Fault::resets:
            return "resets";
        case Fault::kills:
            return "kills";
        case Fault::power:
            return "power";
        case Fault::failed_disks:
            return "failed_disks";
        case Fault::slow_disks:
            return "slow_disks";
        case Fault::rot:
            return "rot";
        case Fault::pauses:
            return "pauses";
        case Fault::wipes:
            return "wipes";
        case Fault::skew:
            return "skew";
        case Fault::drift:
            return "drift";
        case Fault::jumps:
            return "jumps";
        case Fault::members:
            return "members";
        case Fault::last:
            break;
    }
    return "?";
}

bool Swarm::operator==(const Swarm& other) const {
    return to_text(*this) == to_text(other);
}

// Every draw is made whatever the others gave, so that adding one at the end changes no other.
Swarm draw_swarm(std::uint64_t seed) {
    base::Random random(mixed(seed, 1));
    Swarm swarm;
    swarm.seed = seed;
    const std::uint64_t size = random.below(10);
    const std::size_t nodes = size == 0 ? 1 : size < 8 ? 3 : 5;
    const std::uint64_t many = random.below(6);
    const std::uint64_t few_groups = random.between(1, 4);
    const std::uint64_t some_groups = random.between(5, 16);
    const std::uint64_t many_groups = random.between(17, 64);
    swarm.groups = static_cast<std::uint32_t>(many < 4    ? few_groups
                                              : many == 4 ? some_groups
                                                          : many_groups);
    const std::uint64_t shards = random.between(1, 8);  // 1 or 2 mostly
    const bool differ = random.chance(1, 4);
    for (std::size_t node = 0; node < nodes; ++node) {
        const std::uint64_t own = random.between(1, 4);
        const std::uint64_t all = shards <= 4 ? 1 : shards <= 6 ? 2 : shards - 4;
        swarm.shards.push_back(static_cast<std::uint32_t>(differ ? own : all));
    }
    swarm.groups =
        std::max(swarm.groups, *std::max_element(swarm.shards.begin(), swarm.shards.end()));
    swarm.tiny = random.chance(1, 3);
    swarm.streams = static_cast<std::uint32_t>(random.between(1, 6));
    const std::uint64_t more_streams = random.between(0, 10);
    if (swarm.groups > 4) {
        swarm.streams += static_cast<std::uint32_t>(more_streams);
    }
    swarm.clients = static_cast<std::uint32_t>(random.between(2, 8));
    swarm.life_ms = static_cast<std::int64_t>(random.between(2000, 8000));
    const auto draw = [&](Fault fault, std::uint64_t of_six) {
        if (random.chance(of_six, 6)) {
            swarm.faults |= 1u << static_cast<unsigned>(fault);
        }
    };
    draw(Fault::loss, 3);
    draw(Fault::doubles, 3);
    draw(Fault::delays, 3);
    draw(Fault::cuts, 3);
    draw(Fault::clogs, 2);
    draw(Fault::resets, 3);
    draw(Fault::kills, 4);
    draw(Fault::power, 4);
    draw(Fault::failed_disks, 2);
    draw(Fault::slow_disks, 2);
    draw(Fault::rot, 1);
    draw(Fault::pauses, 2);
    draw(Fault::wipes, 1);
    draw(Fault::skew, 5);
    draw(Fault::drift, 3);
    draw(Fault::jumps, 2);
    const std::uint64_t loss = random.below(100);
    const std::uint64_t heavy_loss = random.below(300);
    swarm.net.loss_permille = random.chance(1, 5) ? heavy_loss : loss;
    swarm.net.double_permille = random.below(100);
    swarm.net.delay_permille = random.below(50);
    swarm.fault_gap_ms_max = static_cast<std::int64_t>(random.between(200, 2000));
    const std::uint64_t pace = random.below(8);
    swarm.net.latency_us_max = pace < 6 ? 200 : pace == 6 ? 3'000 : 60'000;
    swarm.reads_of_ten = static_cast<std::uint32_t>(random.between(1, 6));
    swarm.snapshots = random.chance(1, 2);
    draw(Fault::members, 2);
    const std::uint64_t spares = random.between(0, 2);
    for (std::uint64_t spare = 0; spare < 2; ++spare) {
        const auto own =
            static_cast<std::uint32_t>(random.between(1, std::min<std::uint64_t>(swarm.groups, 4)));
        if (swarm.has(Fault::members) && spare < spares) {
            swarm.shards.push_back(differ ? own : swarm.shards.front());
            ++swarm.spares;
        }
    }
    const bool two = random.chance(1, 2);
    const bool wipes = random.chance(1, 2);
    if (swarm.has(Fault::members)) {
        swarm.operators = two ? 2 : 1;
        swarm.faults |= wipes ? 1u << static_cast<unsigned>(Fault::wipes) : 0u;
    }
    swarm.buckets = random.chance(1, 3);
    swarm.expiring = random.chance(1, 3);
    swarm.json = random.chance(1, 3);
    swarm.forks = random.chance(1, 3);
    return swarm;
}

std::string to_text(const Swarm& swarm) {
    const Swarm drawn = draw_swarm(swarm.seed);
    std::string text = fmt::format("seed={}", swarm.seed);
    const auto tell = [&text](const char* key, auto value, auto otherwise) {
        if (value != otherwise) {
            text += fmt::format(" {}={}", key, value);
        }
    };
    if (swarm.shards != drawn.shards) {
        text += " shards=";
        for (const std::uint32_t shards : swarm.shards) {
            text += fmt::format("{}{}", text.back() == '=' ? "" : ",", shards);
        }
    }
    tell("spares", swarm.spares, drawn.spares);
    tell("operators", swarm.operators, drawn.operators);
    tell("groups", swarm.groups, drawn.groups);
    tell("streams", swarm.streams, drawn.streams);
    tell("clients", swarm.clients, drawn.clients);
    tell("life", swarm.life_ms, drawn.life_ms);
    tell("tiny", swarm.tiny ? 1 : 0, drawn.tiny ? 1 : 0);
    tell("snapshots", swarm.snapshots ? 1 : 0, drawn.snapshots ? 1 : 0);
    tell("buckets", swarm.buckets ? 1 : 0, drawn.buckets ? 1 : 0);
    tell("forks", swarm.forks ? 1 : 0, drawn.forks ? 1 : 0);
    tell("expiring", swarm.expiring ? 1 : 0, drawn.expiring ? 1 : 0);
    tell("json", swarm.json ? 1 : 0, drawn.json ? 1 : 0);
    tell("loss", swarm.net.loss_permille, drawn.net.loss_permille);
    tell("doubles", swarm.net.double_permille, drawn.net.double_permille);
    tell("delays", swarm.net.delay_permille, drawn.net.delay_permille);
    tell("latency", swarm.net.latency_us_max, drawn.net.latency_us_max);
    tell("reads", swarm.reads_of_ten, drawn.reads_of_ten);
    tell("gap", swarm.fault_gap_ms_max, drawn.fault_gap_ms_max);
    tell("first", swarm.first_fault, drawn.first_fault);
    tell("end", swarm.end_fault, drawn.end_fault);
    std::string off;
    std::string on;
    for (std::uint32_t i = 0; i < fault_classes; ++i) {
        const auto fault = static_cast<Fault>(i);
        if (swarm.has(fault) != drawn.has(fault)) {
            std::string& list = swarm.has(fault) ? on : off;
            list += list.empty() ? "" : ",";
            list += name_of(fault);
        }
    }
    text += off.empty() ? "" : " off=" + off;
    text += on.empty() ? "" : " on=" + on;
    return text;
}

bool parse_swarm(std::string_view text, Swarm& swarm) {
    bool seeded = false;
    const bool good = for_each_part(text, ' ', [&](std::string_view word) {
        const std::size_t equals = word.find('=');
        if (equals == std::string_view::npos) {
            return false;
        }
        const std::string_view key = word.substr(0, equals);
        const std::string_view value = word.substr(equals + 1);
        if (key == "off" || key == "on") {
            return for_each_part(value, ',', [&](std::string_view name) {
                for (std::uint32_t i = 0; i < fault_classes; ++i) {
                    if (name == name_of(static_cast<Fault>(i))) {
                        swarm.drop(static_cast<Fault>(i));
                        swarm.faults |= key == "on" ? 1u << i : 0;
                        return true;
                    }
                }
                return false;
            });
        }
        if (key == "shards") {
            swarm.shards.clear();
            const bool numbers = for_each_part(value, ',', [&](std::string_view one) {
                std::uint64_t number = 0;
                const bool fits = read_number(one, number) && number >= 1 && number <= 64;
                swarm.shards.push_back(static_cast<std::uint32_t>(number));
                return fits;
            });
            return numbers && !swarm.shards.empty();
        }
        std::uint64_t number = 0;
        if (!read_number(value, number)) {
            return false;
        }
        if (key == "seed") {
            swarm = draw_swarm(number);
            seeded = true;
        } else if (!seeded) {
            return false;  // the seed comes first: the others change what it draws
        } else if (key == "spares") {
            swarm.spares = static_cast<std::uint32_t>(number);
        } else if (key == "operators") {
            swarm.operators = static_cast<std::uint32_t>(number);
        } else if (key == "groups") {
            swarm.groups = static_cast<std::uint32_t>(number);
        } else if (key == "streams") {
            swarm.streams = static_cast<std::uint32_t>(number);
        } else if (key == "clients") {
            swarm.clients = static_cast<std::uint32_t>(number);
        } else if (key == "life") {
            swarm.life_ms = static_cast<std::int64_t>(number);
        } else if (key == "tiny") {
            swarm.tiny = number != 0;
        } else if (key == "snapshots") {
            swarm.snapshots = number != 0;
        } else if (key == "buckets") {
            swarm.buckets = number != 0;
        } else if (key == "forks") {
            swarm.forks = number != 0;
        } else if (key == "expiring") {
            swarm.expiring = number != 0;
        } else if (key == "json") {
            swarm.json = number != 0;
        } else if (key == "loss") {
            swarm.net.loss_permille = number;
        } else if (key == "doubles") {
            swarm.net.double_permille = number;
        } else if (key == "delays") {
            swarm.net.delay_permille = number;
        } else if (key == "latency") {
            swarm.net.latency_us_max = std::max<std::uint64_t>(number, 20);
        } else if (key == "reads") {
            swarm.reads_of_ten = static_cast<std::uint32_t>(number);
        } else if (key == "gap") {
            swarm.fault_gap_ms_max = static_cast<std::int64_t>(number);
        } else if (key == "first") {
            swarm.first_fault = number;
        } else if (key == "end") {
            swarm.end_fault = number;
        } else {
            return false;
        }
        return true;
    });
    return good && seeded;
}

}  // namespace ursula::sim
