#include "http/exchange.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace ursula;
using namespace ursula::http;

TEST_CASE("an exchange that was given back is as new, and its old call id finds nothing") {
    Exchanges exchanges;
    Exchange& first = exchanges.take();
    CHECK(first.index != 0);
    first.connection = {3, 1};
    first.asked = Asked::append;
    first.keep_alive = false;
    first.done = first.held_aside = first.has_origin = first.from_now = first.head_only = true;
    first.http_1_0 = true;
    first.bad_query = BadQuery::offset_malformed;
    first.path = std::string(1000, 'p');
    first.host = "h";
    first.if_none_match = "\"e\"";
    first.create = std::make_unique<WaitingCreate>();
    first.listing = std::make_unique<Listing>();
    const api::CallId old = first.call_id();
    CHECK(exchanges.find(old) == &first);
    const std::uint32_t index = first.index;
    exchanges.give(first);
    CHECK(exchanges.find(old) == nullptr);

    Exchange& again = exchanges.take();
    CHECK(again.index == index);
    again.connection = {3, 2};
    CHECK(again.call_id() != old);
    CHECK(exchanges.find(old) == nullptr);
    CHECK(exchanges.find(again.call_id()) == &again);
    CHECK(again.asked == Asked::nothing);
    CHECK(again.keep_alive);
    CHECK_FALSE(again.done);
    CHECK_FALSE(again.held_aside);
    CHECK_FALSE(again.has_origin);
    CHECK_FALSE(again.from_now);
    CHECK_FALSE(again.head_only);
    CHECK_FALSE(again.http_1_0);
    CHECK(again.bad_query == BadQuery::none);
    CHECK(again.path.empty());
    CHECK(again.path.capacity() < 1000);  // one long path is not kept for ever
    CHECK(again.host.empty());
    CHECK(again.if_none_match.empty());
    CHECK(again.create == nullptr);
    CHECK(again.listing == nullptr);
    CHECK(again.next == 0);
}

TEST_CASE("call ids are unique among the open ones and mark no watch") {
    Exchanges exchanges;
    std::set<std::uint64_t> ids;
    std::set<std::uint32_t> open;
    for (int round = 0; round < 1000; ++round) {
        Exchange& exchange = exchanges.take();
        exchange.connection = {1, 1};
        CHECK(ids.insert(exchange.call_id().value).second);
        CHECK((exchange.call_id().value >> 56) == 0);
        open.insert(exchange.index);
        if (round % 3 == 2) {
            exchanges.give(exchanges.at(*open.begin()));
            open.erase(open.begin());
        }
    }
    // The generation in an id wraps; the marks of other callers stay free.
    Exchange& old = exchanges.take();
    old.connection = {1, 1};
    old.generation = 0xffff'ffff;
    CHECK((old.call_id().value >> 56) == 0);
    CHECK(exchanges.find(old.call_id()) == &old);
}

TEST_CASE("ids that were never given find nothing") {
    Exchanges exchanges;
    CHECK(exchanges.find(api::CallId(0)) == nullptr);
    CHECK(exchanges.find(api::CallId(1)) == nullptr);
    Exchange& exchange = exchanges.take();
    // Taken, but for no connection.
    CHECK(exchanges.find(exchange.call_id()) == nullptr);
    CHECK(exchanges.find(api::CallId(UINT64_MAX)) == nullptr);
}
