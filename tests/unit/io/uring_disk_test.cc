// UringDisk on a real directory, each test with direct I/O (where the probe finds it) and without,
// through the ring and by the blocking calls.
#include "io/uring_disk.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "tests/support/count_allocations.h"
#include "tests/support/temp_dir.h"

namespace ursula::io {
namespace {

using storage::DiskOp;
using storage::FileId;
using test_support::TempDir;

struct FreeAligned {
    void operator()(std::byte* bytes) const { ::free(bytes); }
};

// Bytes that direct I/O accepts.
class Buffer {
  public:
    explicit Buffer(std::size_t size, std::uint64_t seed = 0)
        : bytes_(static_cast<std::byte*>(::aligned_alloc(4096, (size + 4095) / 4096 * 4096))),
          size_(size) {
        base::Random random(seed);
        for (std::size_t i = 0; i < size; ++i) {
            bytes_.get()[i] = static_cast<std::byte>(random.next());
        }
    }
    base::MutableBytes bytes() { return {bytes_.get(), size_}; }
    bool operator==(const Buffer& other) const {
        return size_ == other.size_ && std::memcmp(bytes_.get(), other.bytes_.get(), size_) == 0;
    }

  private:
    std::unique_ptr<std::byte, FreeAligned> bytes_;
    std::size_t size_;
};

enum class Way { ring, now };

// A disk on a fresh directory.
class Fixture {
  public:
    Fixture(DirectIo direct, Way way, const std::string& other_directory = "") : way_(way) {
        directory_ =
            ::open(other_directory.empty() ? temp_.path().c_str() : other_directory.c_str(),
                   O_RDONLY | O_DIRECTORY);
        REQUIRE(directory_ >= 0);
        const auto profile = probe_disk(directory_, direct);
        REQUIRE(profile.has_value());
        direct_ = profile->direct;
        auto ring = net::Ring::open({.sq_entries = 64, .cq_entries = 256});
        REQUIRE(ring.has_value());
        ring_ = std::move(*ring);
        disk_ = std::make_unique<UringDisk>(directory_, *profile);
        disk_->attach(*ring_);
    }
    ~Fixture() {
        disk_.reset();
        ring_.reset();
        ::close(directory_);
    }

    // Runs one op to its end.
    std::int64_t run(DiskOp& op) {
        if (way_ == Way::now) {
            disk_->run_now(op);
        } else {
            disk_->submit(op);
            wait();
            CHECK(done_.size() == 1);
            CHECK(done_.front() == &op);
        }
        return op.result;
    }
    // Turns until nothing is in flight; what ended is in done().
    void wait() {
        done_.clear();
        while (disk_->in_flight() > 0) {
            REQUIRE(ring_->submit_and_wait(base::seconds(1)).has_value());
            ring_->reap();
            disk_->take_completions(done_);
        }
    }

    FileId open(const std::string& name, bool direct = true) {
        DiskOp op{.kind = DiskOp::Kind::open, .create = true, .direct = direct, .name = name};
        REQUIRE(run(op) == 0);
        return op.file;
    }
    std::int64_t write(FileId file, std::uint64_t position, base::Bytes bytes, bool durable) {
        DiskOp op{.kind = DiskOp::Kind::write,
                  .durable = durable,
                  .file = file,
                  .position = position,
                  .bytes = bytes};
        return run(op);
    }
    std::int64_t read(FileId file, std::uint64_t position, base::MutableBytes buffer) {
        DiskOp op{.kind = DiskOp::Kind::read, .file = file, .position = position, .buffer = buffer};
        return run(op);
    }
    std::int64_t on_file(DiskOp::Kind kind, FileId file) {
        DiskOp op{.kind = kind, .file = file};
        return run(op);
    }

    UringDisk& disk() { return *disk_; }
    net::Ring& ring() { return *ring_; }
    std::vector<DiskOp*>& done() { return done_; }
    bool direct() const { return direct_; }
    std::string path(const std::string& name) const { return temp_ / name; }

  private:
    TempDir temp_;
    Way way_;
    int directory_ = -1;
    bool direct_ = false;
    std::unique_ptr<net::Ring> ring_;
    std::unique_ptr<UringDisk> disk_;
    std::vector<DiskOp*> done_;
};

template <class Test>
void in_all_ways(Test test) {
    for (const DirectIo direct : {DirectIo::by_probe, DirectIo::off}) {
        for (const Way way : {Way::ring, Way::now}) {
            CAPTURE(direct == DirectIo::off);
            CAPTURE(way == Way::now);
            Fixture fixture(direct, way);
            test(fixture);
        }
    }
}

// Files may not grow beyond this while it lives: writes across the bound are cut short first.
class FileSizeLimit {
  public:
    explicit FileSizeLimit(rlim_t bytes) {
        ::signal(SIGXFSZ, SIG_IGN);
        REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
        const rlimit limited{bytes, before_.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &limited) == 0);
    }
    ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

  private:
    rlimit before_{};
};

}  // namespace

TEST_CASE("what is written is read back, durable or not") {
    in_all_ways([](Fixture& fixture) {
        const FileId file = fixture.open("log");
        Buffer first(8192, 1);
        Buffer second(4096, 2);
        CHECK(fixture.write(file, 0, first.bytes(), true) == 8192);
        CHECK(fixture.write(file, 8192, second.bytes(), false) == 4096);
        Buffer got_first(8192);
        Buffer got_second(4096);
        CHECK(fixture.read(file, 0, got_first.bytes()) == 8192);
        CHECK(fixture.read(file, 8192, got_second.bytes()) == 4096);
        CHECK(got_first == first);
        CHECK(got_second == second);
        CHECK(fixture.on_file(DiskOp::Kind::sync, file) == 0);
        CHECK(fixture.on_file(DiskOp::Kind::close, file) == 0);
    });
}

TEST_CASE("files are opened direct as the probe and the op say") {
    in_all_ways([](Fixture& fixture) {
        fixture.open("a", true);
        fixture.open("b", false);
        int found = 0;
        for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
            std::error_code gone;
            const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
            const int flags = ::fcntl(std::stoi(entry.path().filename()), F_GETFL);
            if (target == fixture.path("a")) {
                CHECK(((flags & O_DIRECT) != 0) == fixture.direct());
                ++found;
            }
            if (target == fixture.path("b")) {
                CHECK((flags & O_DIRECT) == 0);
                ++found;
            }
        }
        CHECK(found == 2);
    });
}

TEST_CASE("a read beyond the end is short, at the end empty") {
    in_all_ways([](Fixture& fixture) {
        for (const bool direct : {true, false}) {
            const FileId file = fixture.open(direct ? "direct" : "buffered", direct);
            Buffer bytes(4096, 1);
            CHECK(fixture.write(file, 0, bytes.bytes(), false) == 4096);
            Buffer got(16384);
            CHECK(fixture.read(file, 0, got.bytes()) == 4096);
            CHECK(fixture.read(file, 4096, got.bytes()) == 0);
        }
        // A file that ends within a block.
        const FileId odd = fixture.open("odd", false);
        Buffer bytes(5000, 3);
        CHECK(fixture.write(odd, 0, bytes.bytes(), true) == 5000);
        const FileId again = fixture.open("odd", true);
        Buffer got(8192);
        CHECK(fixture.read(again, 0, got.bytes()) == 5000);
        CHECK(std::memcmp(got.bytes().data(), bytes.bytes().data(), 5000) == 0);
    });
}

TEST_CASE("fill_zero makes the size and overwrites what was there") {
    in_all_ways([](Fixture& fixture) {
        const FileId file = fixture.open("segment");
        Buffer noise(4096, 1);
        CHECK(fixture.write(file, 4096, noise.bytes(), false) == 4096);
        constexpr std::uint64_t size = 2 * UringDisk::fill_bytes + 8192;
        DiskOp fill{.kind = DiskOp::Kind::fill_zero, .file = file, .position = 4096, .size = size};
        CHECK(fixture.run(fill) == 0);
        CHECK(std::filesystem::file_size(fixture.path("segment")) == 4096 + size);
        Buffer got(4096 + size);
        CHECK(fixture.read(file, 0, got.bytes()) == static_cast<std::int64_t>(4096 + size));
        CHECK(std::all_of(got.bytes().begin(), got.bytes().end(),
                          [](std::byte byte) { return byte == std::byte{0}; }));
        DiskOp nothing{.kind = DiskOp::Kind::fill_zero, .file = file, .position = 0, .size = 0};
        CHECK(fixture.run(nothing) < 0);  // fallocate's EINVAL: nobody asks for no bytes
    });
}

TEST_CASE("names: missing, made, replaced, removed") {
    in_all_ways([](Fixture& fixture) {
        DiskOp missing{.kind = DiskOp::Kind::open, .name = "none"};
        CHECK(fixture.run(missing) == -ENOENT);
        const FileId a = fixture.open("a");
        const FileId b = fixture.open("b");
        CHECK(a != b);
        DiskOp rename{.kind = DiskOp::Kind::rename, .name = "a", .new_name = "b"};
        CHECK(fixture.run(rename) == 0);
        CHECK_FALSE(std::filesystem::exists(fixture.path("a")));
        DiskOp sync{.kind = DiskOp::Kind::sync_directory};
        CHECK(fixture.run(sync) == 0);
        CHECK(fixture.run(rename) == -ENOENT);
        DiskOp remove{.kind = DiskOp::Kind::remove, .name = "b"};
        CHECK(fixture.run(remove) == 0);
        CHECK(fixture.run(remove) == -ENOENT);
        CHECK(fixture.on_file(DiskOp::Kind::close, a) == 0);
        CHECK(fixture.open("c") == a);  // ids are dense
        std::filesystem::create_symlink("/etc/passwd", fixture.path("link"));
        DiskOp link{.kind = DiskOp::Kind::open, .name = "link"};
        CHECK(fixture.run(link) == -ELOOP);
    });
}

TEST_CASE("the list holds files with their sizes, nothing else") {
    Fixture fixture(DirectIo::by_probe, Way::now);
    CHECK(fixture.disk().list_now()->empty());
    const FileId file = fixture.open("a");
    fixture.open("b");
    Buffer bytes(4096, 1);
    CHECK(fixture.write(file, 4096, bytes.bytes(), false) == 4096);
    std::filesystem::create_directory(fixture.path("directory"));
    auto files = *fixture.disk().list_now();
    std::sort(files.begin(), files.end(),
              [](const auto& x, const auto& y) { return x.name < y.name; });
    REQUIRE(files.size() == 2);
    CHECK(files[0].name == "a");
    CHECK(files[0].size == 8192);
    CHECK(files[1].name == "b");
    CHECK(files[1].size == 0);
    CHECK(fixture.disk().space()->total_bytes > 0);
}

TEST_CASE("what is no regular file has a list of its own") {
    Fixture fixture(DirectIo::by_probe, Way::now);
    fixture.open("a");
    CHECK(fixture.disk().list_others_now()->empty());
    std::filesystem::create_directory(fixture.path("directory"));
    std::filesystem::create_symlink("a", fixture.path("link"));
    REQUIRE(::mkfifo(fixture.path("pipe").c_str(), 0600) == 0);
    auto others = *fixture.disk().list_others_now();
    std::sort(others.begin(), others.end());
    CHECK(others == std::vector<std::string>{"directory", "link", "pipe"});
    CHECK(fixture.disk().list_now()->size() == 1);
}

TEST_CASE("a rename that may not replace leaves both files as they are") {
    in_all_ways([](Fixture& fixture) {
        fixture.open("a");
        fixture.open("b");
        DiskOp rename{
            .kind = DiskOp::Kind::rename, .no_replace = true, .name = "a", .new_name = "b"};
        CHECK(fixture.run(rename) == -EEXIST);
        CHECK(std::filesystem::exists(fixture.path("a")));
        rename.new_name = "c";
        CHECK(fixture.run(rename) == 0);
        CHECK(std::filesystem::exists(fixture.path("c")));
        CHECK(fixture.run(rename) == -ENOENT);
    });
}

TEST_CASE("a short write is continued, and the failure that cut it is told") {
    in_all_ways([](Fixture& fixture) {
        const FileId file = fixture.open("f");
        Buffer bytes(16384, 7);
        {
            const FileSizeLimit limit(8192);
            CHECK(fixture.write(file, 0, bytes.bytes(), true) == -EFBIG);
            DiskOp fill{
                .kind = DiskOp::Kind::fill_zero, .file = file, .position = 0, .size = 1 << 20};
            CHECK(fixture.run(fill) == -EFBIG);
        }
        // The part before the bound was written: the op went on from there and failed.
        Buffer got(8192);
        CHECK(fixture.read(file, 0, got.bytes()) == 8192);
        CHECK(std::memcmp(got.bytes().data(), bytes.bytes().data(), 8192) == 0);
        CHECK(fixture.write(file, 0, bytes.bytes(), true) == 16384);
    });
}

TEST_CASE("a full disk is told as such") {
    for (const Way way : {Way::ring, Way::now}) {
        Fixture fixture(DirectIo::off, way, "/dev");
        DiskOp open{.kind = DiskOp::Kind::open, .name = "full"};
        REQUIRE(fixture.run(open) == 0);
        Buffer bytes(4096, 1);
        CHECK(fixture.write(open.file, 0, bytes.bytes(), true) == -ENOSPC);
    }
}

TEST_CASE("many ops in flight complete, each with its own result") {
    for (const DirectIo direct : {DirectIo::by_probe, DirectIo::off}) {
        Fixture fixture(direct, Way::ring);
        const FileId file = fixture.open("log");
        constexpr std::size_t count = 100;  // more than the ring holds
        std::vector<std::unique_ptr<Buffer>> buffers;
        std::vector<DiskOp> ops(count);
        for (std::size_t i = 0; i < count; ++i) {
            buffers.push_back(std::make_unique<Buffer>(4096, i + 1));
            ops[i].kind = DiskOp::Kind::write;
            ops[i].durable = i % 2 == 0;
            ops[i].file = file;
            ops[i].position = i * 4096;
            ops[i].bytes = buffers[i]->bytes();
            fixture.disk().submit(ops[i]);
        }
        CHECK(fixture.disk().in_flight() == count);
        fixture.wait();
        CHECK(fixture.done().size() == count);
        std::sort(fixture.done().begin(), fixture.done().end());
        CHECK(std::unique(fixture.done().begin(), fixture.done().end()) == fixture.done().end());
        for (std::size_t i = 0; i < count; ++i) {
            CHECK(ops[i].result == 4096);
            Buffer got(4096);
            CHECK(fixture.read(file, i * 4096, got.bytes()) == 4096);
            CHECK(got == *buffers[i]);
        }
    }
}

TEST_CASE("nothing completes inside submit, and a reap starts nothing") {
    Fixture fixture(DirectIo::off, Way::ring);
    const FileId file = fixture.open("log");
    Buffer bytes(4096, 1);
    DiskOp op{.kind = DiskOp::Kind::write, .durable = true, .file = file, .bytes = bytes.bytes()};
    std::vector<DiskOp*> done;
    fixture.disk().submit(op);
    fixture.disk().take_completions(done);
    CHECK(done.empty());
    // The write comes back first; its fdatasync starts in take_completions, not in reap.
    while (fixture.ring().reap() == 0) {
        REQUIRE(fixture.ring().submit_and_wait(base::seconds(1)).has_value());
    }
    const std::uint64_t submitted = fixture.ring().counters().submitted;
    REQUIRE(fixture.ring().submit_and_wait(base::Duration{}).has_value());
    CHECK(fixture.ring().counters().submitted == submitted);
    fixture.disk().take_completions(done);
    CHECK(done.empty());
    REQUIRE(fixture.ring().submit_and_wait(base::seconds(1)).has_value());
    CHECK(fixture.ring().counters().submitted == submitted + 1);
    fixture.wait();
    CHECK(fixture.done() == std::vector<DiskOp*>{&op});
    CHECK(op.result == 4096);
}

TEST_CASE("a warm disk allocates nothing") {
    for (const DirectIo direct : {DirectIo::by_probe, DirectIo::off}) {
        Fixture fixture(direct, Way::ring);
        const FileId file = fixture.open("log");
        Buffer bytes(4096, 1);
        Buffer got(4096);
        std::vector<DiskOp> ops(4);
        for (std::size_t i = 0; i < 4; ++i) {
            ops[i].kind = i < 3 ? DiskOp::Kind::write : DiskOp::Kind::read;
            ops[i].durable = i < 2;
            ops[i].file = file;
            ops[i].position = i < 3 ? i * 4096 : 0;
            ops[i].bytes = bytes.bytes();
            ops[i].buffer = got.bytes();
        }
        const auto turn = [&] {
            for (DiskOp& op : ops) {
                fixture.disk().submit(op);
            }
            fixture.wait();
        };
        for (int i = 0; i < 3; ++i) {
            turn();
        }
        const std::uint64_t before = test_support::allocations();
        for (int i = 0; i < 20; ++i) {
            turn();
        }
        CHECK(test_support::allocations() == before);
    }
}

}  // namespace ursula::io
