#include "tools/ursulactl/join/secrets.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "base/verify.h"

namespace ursula::ctl {

Token random_token() {
    Token token{};
    VERIFY(RAND_bytes(reinterpret_cast<unsigned char*>(token.data()),
                      static_cast<int>(token.size())) == 1);
    return token;
}

Digest digest_of(base::Bytes bytes) {
    Digest digest{};
    SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
           reinterpret_cast<unsigned char*>(digest.data()));
    return digest;
}

bool same_secret(base::Bytes a, base::Bytes b) {
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void forget(std::string& secret) {
    OPENSSL_cleanse(secret.data(), secret.size());
    secret.clear();
}

}  // namespace ursula::ctl
