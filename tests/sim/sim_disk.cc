#include "sim/sim_disk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/verify.h"

namespace ursula::sim {

using storage::DiskOp;

namespace {

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
    std::uint64_t state = (a ^ (b * 0x9e3779b97f4a7c15u)) * 0xff51afd7ed558ccdu;
    state ^= state >> 32;
    state *= 0xc4ceb9fe1a85ec53u;
    return state ^ (state >> 29);
}

// 0 for zeros, so that a file's size is the only thing that zeros behind its content change.
std::uint64_t sector_hash(std::uint64_t position, base::Bytes bytes) {
    std::uint64_t sum = 0;
    for (std::size_t at = 0; at < bytes.size(); at += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + at, std::min<std::size_t>(8, bytes.size() - at));
        sum += word == 0 ? 0 : mixed(word, position + at);
    }
    return sum;
}

std::uint64_t content_sum(const std::vector<std::byte>& bytes) {
    return sector_hash(0, bytes);
}

std::uint64_t file_hash(const std::string& name, std::uint64_t size, std::uint64_t sum) {
    std::uint64_t state = size;
    for (const char c : name) {
        state = mixed(state, static_cast<std::uint64_t>(static_cast<unsigned char>(c)));
    }
    return mixed(state, sum);
}

}  // namespace

std::uint64_t Image::hash() const {
    std::uint64_t sum = 0;
    for (const auto& [name, bytes] : files) {
        sum += file_hash(name, bytes.size(), content_sum(bytes));
    }
    return sum;
}

SimDisk::SimDisk(const Image& image) {
    for (const auto& [name, bytes] : image.files) {
        auto inode = std::make_shared<Inode>();
        inode->durable = bytes;
        inode->visible = bytes;
        names_[name] = inode;
    }
    durable_names_ = names_;
}

std::uint64_t SimDisk::used_bytes() const {
    std::uint64_t used = 0;
    for (const auto& named : names_) {
        used += named.second->visible.size();
    }
    return used;
}

base::Result<storage::Space> SimDisk::space() {
    if (capacity_ == UINT64_MAX) {
        return storage::Space{UINT64_MAX, UINT64_MAX};
    }
    const std::uint64_t used = used_bytes();
    return storage::Space{capacity_, used < capacity_ ? capacity_ - used : 0};
}

base::Result<std::vector<storage::FileInfo>> SimDisk::list_now() {
    std::vector<storage::FileInfo> list;
    for (const auto& [name, inode] : names_) {
        list.push_back({name, inode->visible.size()});
    }
    return list;
}

void SimDisk::fail(DiskOp::Kind kind, std::uint32_t countdown, int error) {
    faults_.push_back({kind, countdown, error});
}

void SimDisk::flip(const std::string& name, std::uint64_t position, std::byte mask) {
    Inode& inode = *names_.at(name);
    VERIFY(inode.unsynced.empty() && position < inode.durable.size());
    inode.durable[position] ^= mask;
    inode.visible[position] ^= mask;
    inode.sum_known = false;
}

// --- carrying out ---

void SimDisk::put(Inode& inode, std::uint64_t position, base::Bytes bytes, std::uint64_t number) {
    VERIFY(position % sector_bytes == 0);
    const std::uint64_t end = position + bytes.size();
    const std::uint64_t sector_end = (end + sector_bytes - 1) / sector_bytes * sector_bytes;
    if (inode.visible.size() < end) {
        inode.visible.resize(end);
    }
    std::memcpy(inode.visible.data() + position, bytes.data(), bytes.size());
    inode.pending.resize(std::max(inode.pending.size(), sector_end / sector_bytes));
    inode.unsynced.reserve(inode.unsynced.size() + (sector_end - position) / sector_bytes);
    for (std::uint64_t at = position; at < sector_end; at += sector_bytes) {
        Sector& sector = inode.unsynced.emplace_back();
        sector.position = at;
        sector.size = static_cast<std::uint16_t>(
            std::min<std::uint64_t>(sector_bytes, inode.visible.size() - at));
        std::memcpy(sector.data.data(), inode.visible.data() + at, sector.size);
        sector.write = number;
        inode.overlaps = inode.overlaps || inode.pending[at / sector_bytes] > 0;
        ++inode.pending[at / sector_bytes];
    }
}

void SimDisk::sum_up(const Inode& inode, const Sector& sector) {
    if (sector.summed) {
        return;
    }
    sector.summed = true;
    const std::uint64_t at = sector.position;
    std::array<std::byte, sector_bytes> old{};
    if (at < inode.durable.size()) {
        std::memcpy(old.data(), inode.durable.data() + at,
                    std::min<std::uint64_t>(sector.size, inode.durable.size() - at));
    }
    const base::Bytes was = base::Bytes(old).first(sector.size);
    const std::uint64_t old_hash = sector_hash(at, was);
    sector.kept_delta = sector_hash(at, sector.bytes()) - old_hash;
    std::memcpy(old.data(), sector.data.data(), sector.size / 2);
    sector.torn_delta = sector_hash(at, was) - old_hash;
}

bool SimDisk::Flight::covers(std::uint64_t write) const {
    return write < number &&
           std::find(uncovered.begin(), uncovered.end(), write) == uncovered.end();
}

void SimDisk::make_durable(Inode& inode, const std::function<bool(std::uint64_t)>& covered) {
    std::erase_if(inode.unsynced, [&](const Sector& sector) {
        if (!covered(sector.write)) {
            return false;
        }
        if (inode.sum_known) {
            sum_up(inode, sector);
            inode.durable_sum += sector.kept_delta;
        }
        const std::uint64_t end = sector.position + sector.size;
        if (inode.durable.size() < end) {
            inode.durable.resize(end);
        }
        std::memcpy(inode.durable.data() + sector.position, sector.data.data(), sector.size);
        --inode.pending[sector.position / sector_bytes];
        return true;
    });
    if (inode.overlaps) {
        inode.sum_known = false;
        inode.overlaps = !inode.unsynced.empty();
    }
}

// What the op does at once; what it promises comes with complete().
SimDisk::Flight SimDisk::begin(DiskOp& op) {
    Flight flight;
    flight.op = &op;
    ++ops_;
    if (ops_left_ == 0) {
        op.result = -EIO;
        return flight;
    }
    if (ops_left_ != UINT64_MAX) {
        --ops_left_;
    }
    op.result = 0;
    for (std::size_t i = 0; i < faults_.size(); ++i) {
        if (faults_[i].kind == op.kind && faults_[i].countdown-- == 0) {
            op.result = -faults_[i].error;
            faults_.erase(faults_.begin() + static_cast<std::ptrdiff_t>(i));
            return flight;
        }
    }
    flight.number = next_number_++;
    switch (op.kind) {
        case DiskOp::Kind::open: {
            auto named = names_.find(op.name);
            if (named == names_.end()) {
                if (!op.create) {
                    op.result = -ENOENT;
                    return flight;
                }
                named = names_.emplace(op.name, std::make_shared<Inode>()).first;
                name_changes_.push_back(
                    {NameChange::Kind::link, op.name, "", named->second, flight.number});
            }
            std::size_t free = 0;
            while (free < open_.size() && open_[free] != nullptr) {
                ++free;
            }
            if (free == open_.size()) {
                open_.push_back(nullptr);
            }
            open_[free] = named->second;
            op.file = storage::FileId(static_cast<std::uint32_t>(free));
            return flight;
        }
        case DiskOp::Kind::fill_zero:
        case DiskOp::Kind::write: {
            Inode& inode = *open_[op.file.value];
            const std::vector<std::byte> zeros(op.kind == DiskOp::Kind::write ? 0 : op.size);
            const base::Bytes bytes =
                op.kind == DiskOp::Kind::write ? op.bytes : base::Bytes(zeros);
            const std::uint64_t end = op.position + bytes.size();
            if (end > inode.visible.size() &&
                used_bytes() + (end - inode.visible.size()) > capacity_) {
                op.result = -ENOSPC;
                return flight;
            }
            put(inode, op.position, bytes, flight.number);
            op.result =
                op.kind == DiskOp::Kind::write ? static_cast<std::int64_t>(bytes.size()) : 0;
            return flight;
        }
        case DiskOp::Kind::read:
            return flight;
        case DiskOp::Kind::sync:
        case DiskOp::Kind::sync_directory:
            for (const Flight& other : in_flight_) {
                flight.uncovered.push_back(other.number);
            }
            return flight;
        case DiskOp::Kind::rename: {
            const auto named = names_.find(op.name);
            if (named == names_.end()) {
                op.result = -ENOENT;
                return flight;
            }
            if (op.no_replace && names_.find(op.new_name) != names_.end()) {
                op.result = -EEXIST;
                return flight;
            }
            const std::shared_ptr<Inode> inode = named->second;
            names_.erase(named);
            names_[op.new_name] = inode;
            name_changes_.push_back(
                {NameChange::Kind::link, op.new_name, op.name, inode, flight.number});
            return flight;
        }
        case DiskOp::Kind::remove: {
            const auto named = names_.find(op.name);
            if (named == names_.end()) {
                op.result = -ENOENT;
                return flight;
            }
            name_changes_.push_back(
                {NameChange::Kind::unlink, op.name, "", named->second, flight.number});
            names_.erase(named);
            return flight;
        }
        case DiskOp::Kind::close:
            VERIFY(open_[op.file.value] != nullptr);
            open_[op.file.value] = nullptr;
            return flight;
    }
    return flight;
}

void SimDisk::complete(Flight& flight) {
    DiskOp& op = *flight.op;
    if (op.result < 0) {
        return;
    }
    switch (op.kind) {
        case DiskOp::Kind::write:
            if (op.durable) {
                make_durable(*open_[op.file.value],
                             [&](std::uint64_t write) { return write == flight.number; });
            }
            return;
        case DiskOp::Kind::fill_zero:
        case DiskOp::Kind::open:
        case DiskOp::Kind::rename:
        case DiskOp::Kind::remove:
            return;
        case DiskOp::Kind::read: {
            const Inode& inode = *open_[op.file.value];
            const std::uint64_t size =
                op.position >= inode.visible.size()
                    ? 0
                    : std::min<std::uint64_t>(op.buffer.size(), inode.visible.size() - op.position);
            if (size > 0) {
                std::memcpy(op.buffer.data(), inode.visible.data() + op.position, size);
            }
            op.result = static_cast<std::int64_t>(size);
            return;
        }
        case DiskOp::Kind::sync: {
            Inode& inode = *open_[op.file.value];
            make_durable(inode, [&](std::uint64_t write) { return flight.covers(write); });
            return;
        }
        case DiskOp::Kind::sync_directory:
            std::erase_if(name_changes_, [&](const NameChange& change) {
                if (!flight.covers(change.number)) {
                    return false;
                }
                if (change.kind == NameChange::Kind::unlink) {
                    durable_names_.erase(change.name);
                } else {
                    durable_names_.erase(change.from);
                    durable_names_[change.name] = change.inode;
                }
                return true;
            });
            return;
        case DiskOp::Kind::close:
            return;
    }
}

void SimDisk::submit(DiskOp& op) {
    in_flight_.push_back(begin(op));
}

void SimDisk::take_completions(std::vector<DiskOp*>& done) {
    if (ops_left_ == 0) {
        return;
    }
    std::vector<Flight> later;
    std::vector<Flight> now;
    for (Flight& flight : in_flight_) {
        (random_ != nullptr && random_->chance(1, 2) ? later : now).push_back(std::move(flight));
    }
    in_flight_ = std::move(later);
    while (!now.empty()) {
        const std::size_t at = random_ == nullptr ? 0 : random_->below(now.size());
        complete(now[at]);
        done.push_back(now[at].op);
        now.erase(now.begin() + static_cast<std::ptrdiff_t>(at));
    }
}

void SimDisk::run_now(DiskOp& op) {
    Flight flight = begin(op);
    complete(flight);
}

// --- crash states ---

std::vector<std::shared_ptr<SimDisk::Inode>> SimDisk::inodes() const {
    std::vector<std::shared_ptr<Inode>> all;
    const auto add = [&all](const std::shared_ptr<Inode>& inode) {
        if (std::find(all.begin(), all.end(), inode) == all.end()) {
            all.push_back(inode);
        }
    };
    for (const auto& named : durable_names_) {
        add(named.second);
    }
    for (const auto& named : names_) {
        add(named.second);
    }
    for (const NameChange& change : name_changes_) {
        add(change.inode);
    }
    return all;
}

std::size_t SimDisk::unsynced_sectors() const {
    std::size_t count = 0;
    for (const std::shared_ptr<Inode>& inode : inodes()) {
        count += inode->unsynced.size();
    }
    return count;
}

std::size_t SimDisk::unsynced_names() const {
    return name_changes_.size();
}

Image SimDisk::everything() const {
    return image(std::vector<Choice>(unsynced_sectors(), Choice::kept),
                 std::vector<bool>(name_changes_.size(), true));
}

Image SimDisk::settled() const {
    Image result;
    for (const auto& [name, inode] : names_) {
        if (inode->unsynced.empty()) {
            result.files[name] = inode->durable;
        }
    }
    return result;
}

Image SimDisk::durable() const {
    return image(std::vector<Choice>(unsynced_sectors(), Choice::lost),
                 std::vector<bool>(name_changes_.size(), false));
}

std::map<std::string, std::shared_ptr<SimDisk::Inode>> SimDisk::names_left(
    const std::vector<bool>& names) const {
    std::map<std::string, std::shared_ptr<Inode>> left = durable_names_;
    for (std::size_t i = 0; i < name_changes_.size(); ++i) {
        const NameChange& change = name_changes_[i];
        if (!names[i]) {
            continue;
        }
        if (change.kind == NameChange::Kind::unlink) {
            left.erase(change.name);
        } else {
            left.erase(change.from);
            left[change.name] = change.inode;
        }
    }
    return left;
}

std::uint64_t SimDisk::hash_of(const std::vector<Choice>& sectors,
                               const std::vector<bool>& names) const {
    std::map<const Inode*, std::pair<std::uint64_t, std::uint64_t>> content;  // size, sum
    std::size_t number = 0;
    for (const std::shared_ptr<Inode>& inode : inodes()) {
        if (inode->overlaps) {
            return image(sectors, names).hash();
        }
        std::uint64_t size = inode->durable.size();
        if (!inode->sum_known) {
            inode->durable_sum = content_sum(inode->durable);
            inode->sum_known = true;
        }
        std::uint64_t sum = inode->durable_sum;
        for (const Sector& sector : inode->unsynced) {
            const Choice choice = sectors[number++];
            if (choice != Choice::lost) {
                sum_up(*inode, sector);
                size = std::max<std::uint64_t>(size, sector.position + sector.size);
                sum += choice == Choice::kept ? sector.kept_delta : sector.torn_delta;
            }
        }
        content[inode.get()] = {size, sum};
    }
    std::uint64_t hash = 0;
    for (const auto& [name, inode] : names_left(names)) {
        const auto& [size, sum] = content[inode.get()];
        hash += file_hash(name, size, sum);
    }
    return hash;
}

Image SimDisk::image(const std::vector<Choice>& sectors, const std::vector<bool>& names) const {
    const std::map<std::string, std::shared_ptr<Inode>> left = names_left(names);
    Image result;
    std::map<const Inode*, std::size_t> first_sector;
    std::size_t at = 0;
    for (const std::shared_ptr<Inode>& inode : inodes()) {
        first_sector[inode.get()] = at;
        at += inode->unsynced.size();
    }
    for (const auto& [name, inode] : left) {
        std::vector<std::byte>& bytes = result.files[name];
        bytes = inode->durable;
        std::size_t number = first_sector[inode.get()];
        for (const Sector& sector : inode->unsynced) {
            const Choice choice = sectors[number++];
            if (choice == Choice::lost) {
                continue;
            }
            if (bytes.size() < sector.position + sector.size) {
                bytes.resize(sector.position + sector.size);
            }
            const std::size_t size = choice == Choice::torn ? sector.size / 2u : sector.size;
            std::memcpy(bytes.data() + sector.position, sector.data.data(), size);
        }
    }
    return result;
}

Image SimDisk::crash_image(base::Random& random) const {
    const std::uint64_t luck = random.below(8);
    std::vector<Choice> sectors(unsynced_sectors(), luck == 0 ? Choice::kept : Choice::lost);
    std::vector<bool> names(name_changes_.size(), luck == 0);
    if (luck > 1) {
        for (Choice& one : sectors) {
            one = static_cast<Choice>(random.below(3));
        }
        for (std::size_t i = 0; i < names.size(); ++i) {
            names[i] = random.chance(1, 2);
        }
    }
    return image(sectors, names);
}

void SimDisk::crash_images(base::Random& random, Seen& seen, std::uint64_t key,
                           const Visit& visit) const {
    // What is chosen about: each unsynced sector that would change its file's bytes; those that
    // would not (zeros written over nothing) count as one per file, since only the file's size
    // depends on them.
    std::vector<std::vector<std::size_t>> units;
    std::size_t number = 0;
    for (const std::shared_ptr<Inode>& inode : inodes()) {
        std::vector<std::size_t> silent;
        for (const Sector& sector : inode->unsynced) {
            const base::Bytes bytes = sector.bytes();
            const bool zero = std::all_of(bytes.begin(), bytes.end(),
                                          [](std::byte one) { return one == std::byte{0}; });
            if (zero && sector.position >= inode->durable.size()) {
                silent.push_back(number);
            } else {
                units.push_back({number});
            }
            ++number;
        }
        if (!silent.empty()) {
            units.push_back(silent);
        }
    }
    const std::size_t n = units.size();
    const std::size_t d = name_changes_.size();
    const auto tried = [&](const std::vector<Choice>& chosen, const std::vector<bool>& names) {
        std::vector<Choice> sectors(number);
        for (std::size_t i = 0; i < n; ++i) {
            for (const std::size_t sector : units[i]) {
                sectors[sector] = chosen[i];
            }
        }
        const std::uint64_t hash = hash_of(sectors, names);
        return !seen.insert(hash ^ key).second || visit(image(sectors, names), hash);
    };
    std::vector<std::vector<bool>> name_choices;
    if (d <= 4) {
        for (std::size_t bits = 0; bits < (std::size_t{1} << d); ++bits) {
            std::vector<bool> choice(d);
            for (std::size_t i = 0; i < d; ++i) {
                choice[i] = (bits >> i & 1) != 0;
            }
            name_choices.push_back(choice);
        }
    } else {
        for (std::size_t kept = 0; kept <= d; ++kept) {
            std::vector<bool> choice(d);
            std::fill(choice.begin(), choice.begin() + static_cast<std::ptrdiff_t>(kept), true);
            name_choices.push_back(choice);
        }
        for (std::size_t missing = 0; missing < d; ++missing) {
            std::vector<bool> choice(d, true);
            choice[missing] = false;
            name_choices.push_back(choice);
        }
    }
    const std::vector<bool> all_names(d, true);
    const std::vector<Choice> none(n, Choice::lost);
    const std::vector<Choice> all(n, Choice::kept);
    for (const std::vector<bool>& names : name_choices) {
        if (!tried(none, names) || !tried(all, names)) {
            return;
        }
    }
    std::vector<Choice> choice(n);
    if (n <= 10) {
        const std::size_t base = n <= 5 ? 3 : 2;
        std::size_t count = 1;
        for (std::size_t i = 0; i < n; ++i) {
            count *= base;
        }
        for (std::size_t code = 0; code < count; ++code) {
            std::size_t rest = code;
            for (std::size_t i = 0; i < n; ++i) {
                choice[i] = static_cast<Choice>(rest % base);
                rest /= base;
            }
            if (!tried(choice, all_names)) {
                return;
            }
        }
    } else {
        for (std::size_t kept = 1; kept < n; ++kept) {
            choice = none;
            std::fill(choice.begin(), choice.begin() + static_cast<std::ptrdiff_t>(kept),
                      Choice::kept);
            if (!tried(choice, all_names)) {
                return;
            }
        }
        for (int seeded = 0; seeded < 64; ++seeded) {
            for (Choice& one : choice) {
                one = static_cast<Choice>(random.below(3));
            }
            if (!tried(choice, all_names)) {
                return;
            }
        }
    }
    for (std::size_t i = 0; i < n; ++i) {
        for (const Choice one : {Choice::lost, Choice::torn}) {
            choice = all;
            choice[i] = one;
            if (!tried(choice, all_names)) {
                return;
            }
        }
        choice = none;
        choice[i] = Choice::torn;
        if (!tried(choice, all_names)) {
            return;
        }
    }
}

}  // namespace ursula::sim
