#include "tools/ursulactl/join/desk.h"

#include <fmt/format.h>

#include "tools/ursulactl/command.h"
#include "tools/ursulactl/join/join_line.h"

namespace ursula::ctl {

namespace {

constexpr std::uint16_t usual_port = 4439;

JoinReply refused(Refusal refusal, std::string why) {
    JoinReply reply;
    reply.refusal = refusal;
    reply.why = std::move(why);
    return reply;
}

}  // namespace

std::string JoinDesk::answer(const std::string& line, const std::string& from,
                             Invitations::Instant now, std::int64_t now_s) {
    const JoinReply reply = decide(line, from, now, now_s);
    if (reply.refusal != Refusal::none) {
        tell_(fmt::format("refused a request from {}: {}", from, reply.why));
    }
    return text_of(reply);
}

std::string JoinDesk::choose_address(const JoinRequest& request, std::string& why) const {
    std::string address = request.address;
    if (address.empty()) {
        const Issued* before = folder_.find(request.node);
        if (before == nullptr) {
            why = fmt::format("node {} did not say where its peers reach it: give --advertise",
                              request.node);
            return {};
        }
        return before->address;
    }
    try {
        address = parse_node_address("--advertise", address, usual_port, false).text();
    } catch (const Failure& failure) {
        why = failure.what();
        return {};
    }
    for (const Issued& one : folder_.issued()) {
        if (one.node != request.node && one.address == address) {
            why = fmt::format("{} is the address of node {}", address, one.node);
            return {};
        }
    }
    return address;
}

JoinReply JoinDesk::decide(const std::string& line, const std::string& from,
                           Invitations::Instant now, std::int64_t now_s) {
    const auto request = read_request(line);
    if (!request) {
        return refused(Refusal::bad_request,
                       "it is no request to join; is the other ursulactl of the same version?");
    }
    const Invitations::Found found = invitations_.look(request->token, now);
    switch (found.verdict) {
        case Invitations::Verdict::good:
            break;
        case Invitations::Verdict::unknown:
            return refused(Refusal::unknown_token, "nobody was invited with its token");
        case Invitations::Verdict::used:
            return refused(Refusal::used_token,
                           fmt::format("the join line of node {} was used already", found.node));
        case Invitations::Verdict::expired:
            return refused(Refusal::expired_token,
                           fmt::format("the join line of node {} is too old", found.node));
    }
    if (found.node != request->node) {
        return refused(Refusal::conflict,
                       fmt::format("the join line is for node {}, not for node {}", found.node,
                                   request->node));
    }
    std::string why;
    const std::string address = choose_address(*request, why);
    if (address.empty()) {
        return refused(Refusal::conflict, why);
    }
    auto made =
        certify(folder_.authority(), request->request, {folder_.cluster(), found.node}, now_s);
    if (!made) {
        return refused(Refusal::bad_request, made.error().message);
    }
    invitations_.burn(found.node);
    const bool again = folder_.find(found.node) != nullptr;
    Issued issued;
    issued.node = found.node;
    issued.address = address;
    issued.serial = made->serial;
    issued.ends_s = made->ends_s;
    try {
        folder_.record(issued);
    } catch (const Failure& failure) {
        return refused(Refusal::failed,
                       std::string("the certificate cannot be recorded: ") + failure.what());
    }
    tell_(fmt::format("node {} has its certificate: asked from {}, its peers reach it at {}",
                      found.node, from, address));
    JoinReply reply;
    reply.certificate = made->certificate;
    reply.authority = folder_.authority().certificate;
    for (const Issued& one : folder_.issued()) {
        JoinMember member;
        member.node = one.node;
        member.address = one.address;
        reply.members.push_back(std::move(member));
    }
    reply.awaited = invitations_.open();
    reply.formed = formed_;
    reply.again = again;
    return reply;
}

}  // namespace ursula::ctl
