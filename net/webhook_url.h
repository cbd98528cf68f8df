// Where the server may send requests of its own accord (notes/reliability-anchors.md 6.6): a URL is
// read by this one parser, and the address that is connected to in the end is looked at again.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ursula::net {

enum class AddressClass : std::uint8_t { open, loopback, closed };

// Private, shared, link-local, multicast, reserved, documentation and translated addresses are
// closed, as is everything in IPv6 but global unicast.
AddressClass class_of(const sockaddr* address);

struct WebhookRules {
    bool allow_loopback = false;          // http and https to loopback, for development
    std::vector<sockaddr_storage> own;    // this node's listeners: nobody is sent there
    std::vector<sockaddr_storage> local;  // addresses of this machine, for listeners on all of them

    // A numeric address, as configurations have it.
    void add_own(std::string_view host, std::uint16_t port);
    // Fills `local`.
    void find_local();
    bool is_own(const sockaddr* address) const;
    // Whether a request of a URL with this scheme may go there.
    bool allows(const sockaddr* address, bool https) const;
};

struct WebhookUrl {
    bool https = false;
    std::string host;  // without brackets
    std::uint16_t port = 0;
    std::string refusal;  // why not; empty: it may be tried
};

// Names are not looked up here: what they lead to is decided when it is connected to.
WebhookUrl check_webhook_url(std::string_view url, const WebhookRules& rules);

}  // namespace ursula::net
