#include "tools/ursulactl/join/invitations.h"

namespace ursula::ctl {

Token Invitations::invite(std::uint32_t node) {
    const Token token = random_token();
    all_.push_back(One{node, digest_of(token), false});
    return token;
}

Invitations::Found Invitations::look(base::Bytes token, Instant now) {
    const Digest digest = digest_of(token);
    const One* found = nullptr;
    for (const One& one : all_) {
        found = same_secret(one.digest, digest) ? &one : found;
    }
    if (found == nullptr) {
        ++unknown_;
        return {};
    }
    const Verdict verdict = found->used     ? Verdict::used
                            : now >= until_ ? Verdict::expired
                                            : Verdict::good;
    return {verdict, found->node};
}

void Invitations::burn(std::uint32_t node) {
    for (One& one : all_) {
        one.used = one.used || one.node == node;
    }
}

std::vector<std::uint32_t> Invitations::open() const {
    std::vector<std::uint32_t> nodes;
    for (const One& one : all_) {
        if (!one.used) {
            nodes.push_back(one.node);
        }
    }
    return nodes;
}

}  // namespace ursula::ctl
