#include "hooks/crypto.h"

#include <doctest/doctest.h>
#include <openssl/evp.h>

#include <string>

#include "base/base64url.h"

namespace ursula::hooks {

namespace {

std::string text_of(const std::vector<std::byte>& bytes) {
    return std::string(base::as_text(bytes));
}

bool verifies(const api::SigningKey& key, std::string_view text, std::string_view signature) {
    const auto decoded = base::from_base64url(signature);
    REQUIRE(decoded);
    const std::vector<std::byte>& bytes = *decoded;
    EVP_PKEY* own = EVP_PKEY_new_raw_public_key(
        EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(key.public_key.data()),
        key.public_key.size());
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    REQUIRE(EVP_DigestVerifyInit(context, nullptr, nullptr, nullptr, own) == 1);
    const int outcome = EVP_DigestVerify(
        context, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
        reinterpret_cast<const unsigned char*>(text.data()), text.size());
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(own);
    return outcome == 1;
}

}  // namespace

TEST_CASE("base64url has one text for each content") {
    for (const std::string& text : {std::string(), std::string("f"), std::string("fo"),
                                    std::string("foo"), std::string("\xff\xfe\x00\x01", 4)}) {
        const auto back = base::from_base64url(base::to_base64url(base::as_bytes(text)));
        REQUIRE(back);
        CHECK(text_of(*back) == text);
    }
    CHECK(base::to_base64url(base::as_bytes("\xfb\xff")) == "-_8");
    for (const char* bad : {"A", "AB=", "A+", "A/", "-_9", "AAAAA", " AA", "AA\n"}) {
        CAPTURE(bad);
        CHECK_FALSE(base::from_base64url(bad).has_value());
    }
}

TEST_CASE("a signature is over the time, a dot and the body") {
    const api::SigningKey key = make_key();
    CHECK(key.kid.starts_with("ds_"));
    CHECK(key.kid.size() == 3 + 43);
    CHECK(key.private_key.size() == 32);
    CHECK(make_key().kid != key.kid);
    const std::string header = signature_header(key, 1700000000, "{}");
    const std::string start = "t=1700000000,kid=" + key.kid + ",ed25519=";
    REQUIRE(header.starts_with(start));
    const std::string signature = header.substr(start.size());
    CHECK(verifies(key, "1700000000.{}", signature));
    CHECK_FALSE(verifies(key, "1700000001.{}", signature));
    CHECK_FALSE(verifies(key, "1700000000.{} ", signature));
}

TEST_CASE("no change of a token is good") {
    const std::string content("\x00\x01generation", 12);
    const std::string token = make_token("secret", base::as_bytes(content));
    std::vector<std::byte> out;
    REQUIRE(read_token("secret", token, out));
    CHECK(text_of(out) == content);
    CHECK_FALSE(read_token("other", token, out));
    CHECK_FALSE(read_token("secret", "", out));
    CHECK_FALSE(read_token("secret", ".", out));
    CHECK_FALSE(read_token("secret", token + ".", out));
    for (std::size_t at = 0; at < token.size(); ++at) {
        CHECK_FALSE(read_token("secret", token.substr(0, at), out));
        std::string changed = token;
        changed[at] = changed[at] == 'A' ? 'B' : 'A';
        CHECK_FALSE(read_token("secret", changed, out));
    }
}

}  // namespace ursula::hooks
