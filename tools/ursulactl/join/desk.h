// JoinDesk: what `cluster invite` answers to a request, without sockets. Order of a good one: the
// token is looked up, the request checked, the token burnt, the certificate made and its record
// durable; only then is there an answer to send. A request that is refused for another reason than
// its token does not cost the token.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tools/ursulactl/join/authority.h"
#include "tools/ursulactl/join/invitations.h"
#include "tools/ursulactl/join/messages.h"

namespace ursula::ctl {

class JoinDesk {
  public:
    // Told of each node that got a certificate, and of each request that was refused.
    using Tell = std::function<void(const std::string& sentence)>;

    // `formed`: the cluster runs already. The folder and the invitations outlive the desk.
    JoinDesk(AuthorityFolder& folder, Invitations& invitations, bool formed, Tell tell)
        : folder_(folder), invitations_(invitations), formed_(formed), tell_(std::move(tell)) {}

    // A line as it came, and who sent it. The answer has no newline.
    std::string answer(const std::string& line, const std::string& from, Invitations::Instant now,
                       std::int64_t now_s);

    const Invitations& invitations() const { return invitations_; }

  private:
    JoinReply decide(const std::string& line, const std::string& from, Invitations::Instant now,
                     std::int64_t now_s);
    std::string choose_address(const JoinRequest& request, std::string& why) const;

    AuthorityFolder& folder_;
    Invitations& invitations_;
    const bool formed_;
    const Tell tell_;
};

}  // namespace ursula::ctl
