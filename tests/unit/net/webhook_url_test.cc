#include "net/webhook_url.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>

#include <cstring>
#include <string>

namespace ursula::net {

namespace {

WebhookRules production() {
    return {};
}

WebhookRules development() {
    WebhookRules rules;
    rules.allow_loopback = true;
    rules.add_own("127.0.0.1", 4437);
    rules.add_own("0.0.0.0", 4438);
    return rules;
}

bool allowed(std::string_view url, const WebhookRules& rules) {
    return check_webhook_url(url, rules).refusal.empty();
}

bool connects(const char* address, std::uint16_t port, bool https, const WebhookRules& rules) {
    sockaddr_storage out{};
    auto* four = reinterpret_cast<sockaddr_in*>(&out);
    auto* six = reinterpret_cast<sockaddr_in6*>(&out);
    if (::inet_pton(AF_INET, address, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
    } else {
        REQUIRE(::inet_pton(AF_INET6, address, &six->sin6_addr) == 1);
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
    }
    return rules.allows(reinterpret_cast<const sockaddr*>(&out), https);
}

// Refused whatever the rules are.
constexpr const char* hostile[] = {
    "",
    "https://",
    "https:///path",
    "https:/example.com/",
    "//example.com/",
    "example.com",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "http://example.com/",
    "http://10.0.0.1/hook",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://example.com@10.0.0.1/",
    "https://exam ple.com/",
    "https://example.com/\r\nX: y",
    "https://example.com\\@10.0.0.1/",
    "https://example.com/#fragment",
    "https://ex%61mple.com/",
    "https://ex\xc3\xa4mple.com/",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:/",
    "https://example.com:x/",
    "https://example.com:44 3/",
    "https://.example.com/",
    "https://example..com/",
    "https://example.com./",
    "https://localhost./",
    "http://localhost./",
    "https://a.localhost/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://100.64.0.1/",
    "https://100.127.255.255/",
    "https://169.254.169.254/latest/meta-data",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.0.0.1/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://192.168.0.1/",
    "https://198.18.0.1/",
    "https://198.19.255.255/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    "https://224.0.0.1/",
    "https://239.255.255.255/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0177.0.0.1/",
    "https://127.0.0.0x1/",
    "https://1.2.3/",
    "https://1.2.3.4.5/",
    "https://256.1.1.1/",
    "https://example.0x7f/",
    "https://example.1/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[fc00::1]/",
    "https://[fd12:3456::1]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://[2001::1]/",
    "https://[2002:7f00:1::]/",
    "https://[3fff::1]/",
    "https://[100::1]/",
    "https://[8.8.8.8]/",
    "https://[2606:4700::1111/",
    "https://[2606:4700::1111]x/",
    "https://[]/",
    "https://2606:4700::1111/",
};

}  // namespace

TEST_CASE("hostile URLs are refused under any rules") {
    for (const char* url : hostile) {
        CAPTURE(url);
        CHECK_FALSE(allowed(url, production()));
        CHECK_FALSE(allowed(url, development()));
    }
}

TEST_CASE("public addresses and names are let through") {
    for (const char* url :
         {"https://example.com/", "https://example.com", "https://example.com:8443/a?b=c",
          "HTTPS://EXAMPLE.COM/", "https://8.8.8.8/", "https://172.32.0.1/", "https://1.1.1.1:443/",
          "https://[2606:4700::1111]/", "https://[2a00:1450::1]:8443/x", "https://a_b.example/",
          "https://example.com?x"}) {
        CAPTURE(url);
        CHECK(allowed(url, production()));
    }
}

TEST_CASE("loopback is for development, and never this server itself") {
    for (const char* url :
         {"http://127.0.0.1:9/", "http://127.200.0.1/", "http://localhost:9/", "http://LOCALHOST/",
          "http://[::1]:9/", "https://127.0.0.1:9/", "https://localhost/"}) {
        CAPTURE(url);
        CHECK(allowed(url, development()));
        CHECK_FALSE(allowed(url, production()));
    }
    CHECK_FALSE(allowed("http://127.0.0.1:4437/", development()));
    CHECK(allowed("http://127.0.0.2:4437/", development()));
    CHECK_FALSE(allowed("http://127.0.0.2:4438/", development()));
    CHECK_FALSE(allowed("http://[::1]:4438/", development()));
}

TEST_CASE("an address is looked at again when it is connected to") {
    CHECK(connects("8.8.8.8", 443, true, production()));
    CHECK_FALSE(connects("8.8.8.8", 80, false, production()));
    CHECK_FALSE(connects("127.0.0.1", 443, true, production()));
    CHECK_FALSE(connects("10.0.0.1", 443, true, development()));
    CHECK_FALSE(connects("::ffff:10.0.0.1", 443, true, development()));
    CHECK(connects("127.0.0.1", 80, false, development()));
    CHECK_FALSE(connects("127.0.0.1", 4437, false, development()));
    // A name that leads to this server's public address, whatever the class of that is.
    WebhookRules own;
    own.add_own("8.8.8.8", 4437);
    own.add_own("0.0.0.0", 4440);
    CHECK_FALSE(connects("8.8.8.8", 4437, true, own));
    CHECK(connects("8.8.8.8", 443, true, own));
    CHECK(connects("9.9.9.9", 4440, true, own));
    sockaddr_storage here{};
    auto* four = reinterpret_cast<sockaddr_in*>(&here);
    four->sin_family = AF_INET;
    REQUIRE(::inet_pton(AF_INET, "9.9.9.9", &four->sin_addr) == 1);
    own.local.push_back(here);
    CHECK_FALSE(connects("9.9.9.9", 4440, true, own));
}

}  // namespace ursula::net
