#include "net/output_buffer.h"

#include <doctest/doctest.h>
#include <sys/uio.h>

#include <array>
#include <cstring>
#include <string>

#include "base/random.h"
#include "tests/support/count_allocations.h"

using namespace ursula;
using net::OutputBuffer;
using net::OutputPool;

namespace {

std::string text_of(const OutputBuffer& output) {
    const std::vector<std::byte> bytes = output.flat();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::size_t parts_of(const OutputBuffer& output) {
    std::array<iovec, 64> parts;
    return output.front(parts.data(), parts.size());
}

}  // namespace

TEST_CASE("copied bytes go to one part, a large slice is a part of its own") {
    OutputPool pool;
    OutputBuffer output(pool);
    CHECK(output.empty());
    output.write(std::string_view("head "));
    output.write(std::string_view("more "));
    CHECK(parts_of(output) == 1);
    const base::Slice large = base::Slice::copy_of(base::as_bytes(std::string(2000, 's')));
    output.write(large);
    CHECK(parts_of(output) == 2);
    output.write(std::string_view(" end"));
    CHECK(parts_of(output) == 3);
    CHECK(text_of(output) == "head more " + std::string(2000, 's') + " end");
    std::array<iovec, 64> parts;
    output.front(parts.data(), parts.size());
    CHECK(parts[1].iov_base == large.data());  // not copied
}

TEST_CASE("a short slice behind copied bytes is copied, alone it is not") {
    OutputPool pool;
    OutputBuffer output(pool);
    const base::Slice slice = base::Slice::copy_of(base::as_bytes("short"));
    output.write(slice);
    CHECK(parts_of(output) == 1);
    std::array<iovec, 4> parts;
    output.front(parts.data(), parts.size());
    CHECK(parts[0].iov_base == slice.data());
    output.clear();
    output.write(std::string_view("head "));
    output.write(slice);
    CHECK(parts_of(output) == 1);
    CHECK(text_of(output) == "head short");
}

TEST_CASE("bytes being sent stay in place while more is written") {
    OutputPool pool;
    OutputBuffer output(pool);
    output.write(std::string_view("first"));
    std::array<iovec, 4> parts;
    REQUIRE(output.front(parts.data(), parts.size()) == 1);
    const void* at = parts[0].iov_base;
    for (int i = 0; i < 1000; ++i) {
        output.write(std::string_view("0123456789"));
    }
    CHECK(std::memcmp(at, "first", 5) == 0);
    output.consume(5);
    CHECK(output.size() == 10000);
    CHECK(text_of(output).substr(0, 20) == "01234567890123456789");
}

TEST_CASE("whatever is written comes out, however it is consumed and rewound") {
    OutputPool pool;
    base::Random random(7);
    for (int round = 0; round < 200; ++round) {
        OutputBuffer output(pool);
        std::string model;
        for (int step = 0; step < 100; ++step) {
            const std::string text(random.between(0, random.chance(1, 10) ? 9000 : 60),
                                   static_cast<char>('a' + random.below(26)));
            switch (random.below(5)) {
                case 0:
                    output.write(base::Slice::copy_of(base::as_bytes(text)));
                    model += text;
                    break;
                case 1: {
                    const OutputBuffer::Mark mark = output.mark();
                    output.write(std::string_view(text));
                    output.write(base::Slice::copy_of(base::as_bytes(text)));
                    output.reserve(100);
                    output.rewind(mark);
                    break;
                }
                case 2: {
                    const std::size_t size = random.below(model.size() + 1);
                    output.consume(size);
                    model.erase(0, size);
                    break;
                }
                case 3: {
                    std::byte* to = output.reserve(text.size() + 10);
                    base::copy_bytes(to, base::as_bytes(text));
                    output.commit(text.size());
                    model += text;
                    break;
                }
                default:
                    output.write(std::string_view(text));
                    model += text;
                    break;
            }
            REQUIRE(output.size() == model.size());
        }
        REQUIRE(text_of(output) == model);
    }
}

TEST_CASE("slices are let go of") {
    OutputPool pool;
    base::Block* block = base::Block::make(3000);
    {
        OutputBuffer output(pool);
        output.write(base::Slice(block, 0, 3000));
        output.write(base::Slice(block, 0, 2000));
        CHECK(block->references() == 3);
        output.consume(3500);
        CHECK(block->references() == 2);
        const OutputBuffer::Mark mark = output.mark();
        output.write(base::Slice(block, 0, 2000));
        CHECK(block->references() == 3);
        output.rewind(mark);
        CHECK(block->references() == 2);
    }
    CHECK(block->references() == 1);
    block->release();
}

TEST_CASE("a warm buffer allocates nothing and holds nothing when empty") {
    CHECK(sizeof(OutputBuffer) <= 24);
    OutputPool pool;
    OutputBuffer output(pool);
    const base::Slice large = base::Slice::copy_of(base::as_bytes(std::string(3000, 's')));
    const auto run = [&] {
        output.write(std::string_view("head"));
        output.write(large);
        output.write(std::string_view("tail"));
        output.consume(output.size());
    };
    for (int i = 0; i < 3; ++i) {
        run();
    }
    const std::uint64_t before = test_support::allocations();
    for (int i = 0; i < 1000; ++i) {
        run();
    }
    CHECK(test_support::allocations() == before);
}
