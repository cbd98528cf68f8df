#include "hooks/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <memory>
#include <utility>

#include "base/base64url.h"
#include "base/verify.h"

namespace ursula::hooks {

namespace {

constexpr std::size_t key_bytes = 32;
constexpr std::size_t mac_bytes = 32;

const unsigned char* raw(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
}

struct FreeKey {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeContext {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Key = std::unique_ptr<EVP_PKEY, FreeKey>;
using Context = std::unique_ptr<EVP_MD_CTX, FreeContext>;

void mac_of(std::string_view secret, base::Bytes content, unsigned char* out) {
    unsigned size = 0;
    VERIFY(HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
                reinterpret_cast<const unsigned char*>(content.data()), content.size(), out,
                &size) != nullptr);
    VERIFY(size == mac_bytes);
}

}  // namespace

void fill_random(base::MutableBytes out) {
    VERIFY(RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size())) ==
           1);
}

api::SigningKey make_key() {
    const Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    VERIFY(key != nullptr);
    api::SigningKey made;
    made.private_key.resize(key_bytes);
    made.public_key.resize(key_bytes);
    std::size_t size = key_bytes;
    VERIFY(EVP_PKEY_get_raw_private_key(
               key.get(), reinterpret_cast<unsigned char*>(made.private_key.data()), &size) == 1);
    size = key_bytes;
    VERIFY(EVP_PKEY_get_raw_public_key(
               key.get(), reinterpret_cast<unsigned char*>(made.public_key.data()), &size) == 1);
    const std::string thumbprint = R"({"crv":"Ed25519","kty":"OKP","x":")" +
                                   base::to_base64url(base::as_bytes(made.public_key)) + "\"}";
    std::byte digest[SHA256_DIGEST_LENGTH];
    SHA256(raw(thumbprint), thumbprint.size(), reinterpret_cast<unsigned char*>(digest));
    made.kid = "ds_" + base::to_base64url(digest);
    return made;
}

std::string signature_header(const api::SigningKey& key, std::int64_t time_s,
                             std::string_view body) {
    const std::string time = std::to_string(time_s);
    std::string text = time + ".";
    text += body;
    const Key own(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, raw(key.private_key),
                                               key.private_key.size()));
    const Context context(EVP_MD_CTX_new());
    VERIFY(own != nullptr && context != nullptr);
    std::byte signature[64];
    std::size_t size = sizeof signature;
    VERIFY(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, own.get()) == 1);
    VERIFY(EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature), &size,
                          raw(text), text.size()) == 1);
    return "t=" + time + ",kid=" + key.kid + ",ed25519=" + base::to_base64url({signature, size});
}

std::string make_token(std::string_view secret, base::Bytes content) {
    std::byte mac[mac_bytes];
    mac_of(secret, content, reinterpret_cast<unsigned char*>(mac));
    return base::to_base64url(content) + "." + base::to_base64url(mac);
}

bool read_token(std::string_view secret, std::string_view token, std::vector<std::byte>& content) {
    const std::size_t dot = token.find('.');
    if (dot == std::string_view::npos) {
        return false;
    }
    auto said = base::from_base64url(token.substr(0, dot));
    const auto given = base::from_base64url(token.substr(dot + 1));
    if (!said || !given || given->size() != mac_bytes) {
        return false;
    }
    content = std::move(*said);
    std::byte mac[mac_bytes];
    mac_of(secret, content, reinterpret_cast<unsigned char*>(mac));
    return CRYPTO_memcmp(mac, given->data(), mac_bytes) == 0;
}

}  // namespace ursula::hooks
