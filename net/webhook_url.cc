#include "net/webhook_url.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace ursula::net {

namespace {

struct Range4 {
    std::uint32_t base;
    unsigned bits;
};
constexpr std::uint32_t ip4(unsigned a, unsigned b, unsigned c, unsigned d) {
    return a << 24 | b << 16 | c << 8 | d;
}
constexpr Range4 closed4[] = {
    {ip4(0, 0, 0, 0), 8},      {ip4(10, 0, 0, 0), 8},      {ip4(100, 64, 0, 0), 10},
    {ip4(169, 254, 0, 0), 16}, {ip4(172, 16, 0, 0), 12},   {ip4(192, 0, 0, 0), 24},
    {ip4(192, 0, 2, 0), 24},   {ip4(192, 88, 99, 0), 24},  {ip4(192, 168, 0, 0), 16},
    {ip4(198, 18, 0, 0), 15},  {ip4(198, 51, 100, 0), 24}, {ip4(203, 0, 113, 0), 24},
    {ip4(224, 0, 0, 0), 4},    {ip4(240, 0, 0, 0), 4},
};

AddressClass class_of4(std::uint32_t address) {
    if (address >> 24 == 127) {
        return AddressClass::loopback;
    }
    const bool closed = std::any_of(std::begin(closed4), std::end(closed4), [&](const Range4& r) {
        return (address ^ r.base) >> (32 - r.bits) == 0;
    });
    return closed ? AddressClass::closed : AddressClass::open;
}

AddressClass class_of6(const std::uint8_t* a) {
    static constexpr std::uint8_t one[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    if (std::memcmp(a, one, 16) == 0) {
        return AddressClass::loopback;
    }
    if ((a[0] & 0xe0) != 0x20) {
        return AddressClass::closed;  // not 2000::/3: mapped, translated, local, multicast
    }
    const bool teredo_or_special = a[0] == 0x20 && a[1] == 0x01 && a[2] < 0x02;  // 2001::/23
    const bool documentation = (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8) ||
                               (a[0] == 0x3f && a[1] == 0xff && a[2] < 0x10);
    const bool six_to_four = a[0] == 0x20 && a[1] == 0x02;
    return teredo_or_special || documentation || six_to_four ? AddressClass::closed
                                                             : AddressClass::open;
}

std::uint16_t port_of(const sockaddr* address) {
    if (address->sa_family == AF_INET) {
        return ntohs(reinterpret_cast<const sockaddr_in*>(address)->sin_port);
    }
    return address->sa_family == AF_INET6
               ? ntohs(reinterpret_cast<const sockaddr_in6*>(address)->sin6_port)
               : std::uint16_t{0};
}

// The address as 16 bytes, IPv4 mapped.
bool bytes_of(const sockaddr* address, std::uint8_t* out) {
    if (address->sa_family == AF_INET) {
        std::memset(out, 0, 10);
        out[10] = out[11] = 0xff;
        std::memcpy(out + 12, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, 4);
        return true;
    }
    if (address->sa_family == AF_INET6) {
        std::memcpy(out, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, 16);
        return true;
    }
    return false;
}

bool is_any(const sockaddr* address) {
    std::uint8_t bytes[16];
    return bytes_of(address, bytes) &&
           std::all_of(address->sa_family == AF_INET ? bytes + 12 : bytes, bytes + 16,
                       [](std::uint8_t byte) { return byte == 0; });
}

bool same_address(const sockaddr* a, const sockaddr* b) {
    std::uint8_t x[16];
    std::uint8_t y[16];
    return bytes_of(a, x) && bytes_of(b, y) && std::memcmp(x, y, 16) == 0;
}

bool parse_address(const std::string& host, std::uint16_t port, sockaddr_storage& out) {
    out = {};
    auto* four = reinterpret_cast<sockaddr_in*>(&out);
    auto* six = reinterpret_cast<sockaddr_in6*>(&out);
    if (::inet_pton(AF_INET, host.c_str(), &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        return true;
    }
    if (::inet_pton(AF_INET6, host.c_str(), &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        return true;
    }
    return false;
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// Its last label is a number in some notation that a resolver may take for an address.
bool looks_numeric(std::string_view host) {
    const std::string_view last = host.substr(host.rfind('.') + 1);
    const bool hex = last.starts_with("0x");
    return hex || (!last.empty() && std::all_of(last.begin(), last.end(), is_digit));
}

}  // namespace

AddressClass class_of(const sockaddr* address) {
    if (address->sa_family == AF_INET) {
        return class_of4(ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        return class_of6(reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr.s6_addr);
    }
    return AddressClass::closed;
}

void WebhookRules::add_own(std::string_view host, std::uint16_t port) {
    sockaddr_storage address;
    if (parse_address(std::string(host), port, address)) {
        own.push_back(address);
    }
}

void WebhookRules::find_local() {
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) {
        return;
    }
    for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
        if (one->ifa_addr == nullptr) {
            continue;
        }
        sockaddr_storage address{};
        if (one->ifa_addr->sa_family == AF_INET) {
            std::memcpy(&address, one->ifa_addr, sizeof(sockaddr_in));
        } else if (one->ifa_addr->sa_family == AF_INET6) {
            std::memcpy(&address, one->ifa_addr, sizeof(sockaddr_in6));
        } else {
            continue;
        }
        local.push_back(address);
    }
    ::freeifaddrs(list);
}

bool WebhookRules::is_own(const sockaddr* address) const {
    const auto is_local = [&] {
        return class_of(address) == AddressClass::loopback ||
               std::any_of(local.begin(), local.end(), [&](const sockaddr_storage& one) {
                   return same_address(address, reinterpret_cast<const sockaddr*>(&one));
               });
    };
    return std::any_of(own.begin(), own.end(), [&](const sockaddr_storage& one) {
        const auto* listener = reinterpret_cast<const sockaddr*>(&one);
        return port_of(listener) == port_of(address) &&
               (is_any(listener) ? is_local() : same_address(address, listener));
    });
}

bool WebhookRules::allows(const sockaddr* address, bool https) const {
    switch (class_of(address)) {
        case AddressClass::open:
            return https && !is_own(address);
        case AddressClass::loopback:
            return allow_loopback && !is_own(address);
        case AddressClass::closed:
            return false;
    }
    return false;
}

WebhookUrl check_webhook_url(std::string_view url, const WebhookRules& rules) {
    WebhookUrl out;
    const auto refuse = [&out](std::string_view why) {
        out.refusal = why;
        return out;
    };
    if (std::any_of(url.begin(), url.end(), [](char c) {
            return c <= ' ' || c >= 0x7f || c == '\\' || c == '#' || c == '"' || c == '<' ||
                   c == '>';
        })) {
        return refuse("the URL has a character that does not belong in one");
    }
    std::string scheme;
    for (const char c : url.substr(0, url.find(':'))) {
        scheme += lower(c);
    }
    if ((scheme != "http" && scheme != "https") || url.substr(scheme.size(), 3) != "://") {
        return refuse("the URL has to begin with https://");
    }
    out.https = scheme == "https";
    out.port = out.https ? 443 : 80;
    std::string_view authority = url.substr(scheme.size() + 3);
    authority = authority.substr(0, authority.find_first_of("/?"));
    if (authority.find('@') != std::string_view::npos) {
        return refuse("the URL has user information");
    }
    bool bracketed = false;
    std::string_view port;
    if (authority.starts_with('[')) {
        const std::size_t end = authority.find(']');
        if (end == std::string_view::npos) {
            return refuse("the URL's host is no address");
        }
        bracketed = true;
        out.host = authority.substr(1, end - 1);
        port = authority.substr(end + 1);
        if (!port.empty() && port.front() != ':') {
            return refuse("the URL's host is no address");
        }
    } else {
        const std::size_t colon = authority.find(':');
        for (const char c : authority.substr(0, colon)) {
            out.host += lower(c);
        }
        port = colon == std::string_view::npos ? std::string_view() : authority.substr(colon);
    }
    if (!port.empty()) {
        port.remove_prefix(1);
        const auto read = std::from_chars(port.data(), port.data() + port.size(), out.port);
        if (read.ec != std::errc() || read.ptr != port.data() + port.size() || out.port == 0) {
            return refuse("the URL's port is no number from 1 to 65535");
        }
    }
    const bool good_name =
        !out.host.empty() && out.host.size() <= 253 && out.host.front() != '.' &&
        out.host.back() != '.' && out.host.find("..") == std::string::npos &&
        std::all_of(out.host.begin(), out.host.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '.' || c == '_';
        });
    if (!bracketed && !good_name) {
        return refuse("the URL's host is no name");
    }
    sockaddr_storage address{};
    if (bracketed || looks_numeric(out.host)) {
        if (!parse_address(out.host, out.port, address) ||
            bracketed != (address.ss_family == AF_INET6)) {
            return refuse("the URL's host is no plain address");
        }
        if (!rules.allows(reinterpret_cast<const sockaddr*>(&address), out.https)) {
            return refuse(class_of(reinterpret_cast<const sockaddr*>(&address)) ==
                                  AddressClass::open
                              ? "plain http is for loopback only: use https"
                              : "the URL's address is not one that requests may be sent to");
        }
        return out;
    }
    const bool is_localhost = out.host == "localhost";
    if (out.host.ends_with(".localhost") || (is_localhost && !rules.allow_loopback)) {
        return refuse("the URL's host is this machine");
    }
    if (!out.https && !is_localhost) {
        return refuse("plain http is for loopback only: use https");
    }
    return out;
}

}  // namespace ursula::net
