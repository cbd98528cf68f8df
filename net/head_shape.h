// HeadShape: what of a head decides how llhttp reads it. Of a head that our own grammar accepted
// llhttp looks at the method, the version, which fields there are, and at the values of Connection,
// Transfer-Encoding, Upgrade and Proxy-Connection. The target and other values it only passes by,
// as long as they are printable ASCII; a Content-Length is digits by then. So heads of one shape
// get one verdict, and llhttp is asked about each shape once instead of about each request (it
// costs more than all the rest of reading a request). tests/unit/net/head_shape_test.cc checks this
// claim byte by byte, the fuzzer in general.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "net/http_message.h"

namespace ursula::net {

struct HeadShape {
    static constexpr std::size_t bytes_max = 126;
    std::uint16_t size = 0;  // 0: none
    std::array<char, bytes_max> bytes;
};

// False: the head has no shape (bytes beyond ASCII, HTABs, absolute-form targets, too many unusual
// fields): ask llhttp.
bool shape_of(std::string_view head, const Request& request, HeadShape& shape);

// Shapes that llhttp agreed on. One per loop; what shares a slot is only asked about again.
class AgreedShapes {
  public:
    AgreedShapes();
    ~AgreedShapes();
    AgreedShapes(const AgreedShapes&) = delete;
    AgreedShapes& operator=(const AgreedShapes&) = delete;

    bool has(const HeadShape& shape) const;
    void add(const HeadShape& shape);

  private:
    static constexpr std::size_t slots = 128;
    static std::size_t slot_of(const HeadShape& shape);

    std::unique_ptr<HeadShape[]> shapes_;
};

}  // namespace ursula::net
