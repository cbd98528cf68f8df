// The JSON splitter against arbitrary bytes. Oracles beyond "no crash":
// - it accepts exactly what a plain recursive parser of the grammar accepts;
// - what it would store is valid again as an array of as many elements, and white space around the
//   body changes nothing;
// - an error lies in the body.
#include <cstdint>
#include <memory>
#include <string>

#include "base/verify.h"
#include "stream/json.h"
#include "tests/support/json_reference.h"

using namespace ursula;

namespace {

// In a block of exactly its size, so that AddressSanitizer sees any look beyond it.
stream::JsonBody split(std::string_view text, std::string& elements) {
    const std::unique_ptr<char[]> exact(new char[text.size()]);
    base::copy_bytes(exact.get(), base::as_bytes(text));
    const stream::JsonBody body = stream::split_json(base::as_bytes({exact.get(), text.size()}));
    elements = base::as_text(body.elements);
    return body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    std::string elements;
    const stream::JsonBody body = split(text, elements);
    const bool valid = body.error == stream::JsonError::none;
    VERIFY(valid == test_support::JsonReference(text).valid());
    VERIFY(body.error_at <= size);
    if (!valid) {
        VERIFY(elements.empty() && body.count == 0);
        return 0;
    }
    VERIFY(elements.empty() == (body.count == 0) && (body.array || body.count == 1));
    std::string again;
    const stream::JsonBody stored = split("[" + elements + "]", again);
    // One more bracket may be one too many.
    if (stored.error != stream::JsonError::too_deep) {
        VERIFY(stored.error == stream::JsonError::none && stored.count == body.count &&
               again == elements);
    }
    const stream::JsonBody spaced = split("\n " + std::string(text) + "\t\r", again);
    VERIFY(spaced.error == stream::JsonError::none && spaced.count == body.count &&
           again == elements);
    return 0;
}
