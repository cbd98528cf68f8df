// Live readers: watches that go away under them, full mailboxes, the end of the server.
#include "http/tails.h"

#include <algorithm>
#include <map>

#include "tests/unit/http/edge_server.h"

namespace ursula::http::test {

using Client = test_support::LoopbackClient;

namespace {

std::string live(std::string_view name, std::string_view mode, std::string_view offset = "-1") {
    std::string request = "GET /v1/stream/";
    request.append(name).append("?offset=").append(offset).append("&live=").append(mode);
    return request += " HTTP/1.1\r\nHost: h\r\n\r\n";
}

std::string next_offset(std::uint64_t offset) {
    std::string digits = std::to_string(offset);
    return "\"streamNextOffset\":\"0000000000000000_" + std::string(16 - digits.size(), '0') +
           digits + "\"";
}

constexpr std::string_view end_of_body = "0\r\n\r\n";

bool ended(const std::string& bytes) {
    return bytes.ends_with(end_of_body);
}

}  // namespace

TEST_CASE("a removed stream ends its readers and nobody else's") {
    // Names of one length, so that the tables' memory is used again at once.
    constexpr int streams = 20;
    EdgeServer server;
    std::vector<std::unique_ptr<Client>> clients;
    std::vector<api::CallId> watches;
    for (int i = 0; i < streams; ++i) {
        clients.push_back(std::make_unique<Client>(server.port));
        clients.back()->send(live("removed-" + std::string(1, static_cast<char>('a' + i)), "sse"));
        api::CallId watch;
        go_live(server, 0, &watch);
        watches.push_back(watch);
    }
    CHECK(server.front().counters().sse_readers == streams);
    for (auto& client : clients) {
        CHECK(server.receive_until(*client, "upToDate").starts_with("HTTP/1.1 200 OK\r\n"));
    }
    for (int i = 0; i < streams; i += 2) {
        server.answer(watches[static_cast<std::size_t>(i)], removed());
        if (i % 4 == 0) {
            server.turn();
        }
    }
    server.turns(3);
    CHECK(server.front().counters().sse_readers == streams / 2);
    CHECK(server.front().counters().sse_ended_removed == streams / 2);
    // A watch that is gone needs no unwatch.
    CHECK(!server.has<api::UnwatchCall>());
    for (std::size_t i = 0; i < streams; ++i) {
        if (i % 2 == 0) {
            CHECK(ended(clients[i]->receive()));
            continue;
        }
        server.answer(watches[i], post(0, "later"));
        CHECK(server.receive_until(*clients[i], next_offset(5)).find("data:later") !=
              std::string::npos);
    }
    // The connection of an ended reader is good for another one.
    clients[0]->send(live("removed-a", "sse"));
    go_live(server, 3);
    server.receive_until(*clients[0], next_offset(3));
}

TEST_CASE("several readers of one stream leave with it, a long-poll too") {
    EdgeServer server;
    Client sse(server.port);
    Client poll(server.port);
    Client other(server.port);
    api::CallId watch;
    sse.send(live("s", "sse"));
    go_live(server, 4, &watch);
    server.receive_until(sse, next_offset(4));
    for (Client* client : {&poll, &other}) {
        client->send(live("s", client == &poll ? "long-poll" : "sse", "now"));
        server.answer(server.take<api::ReadCall>().id, read_reply(4, ""));
        server.turns(2);
    }
    CHECK(server.front().counters().long_polls == 1);
    server.answer(watch, removed());
    CHECK(server.receive_until(poll, "request_id").starts_with("HTTP/1.1 404 Not Found\r\n"));
    CHECK(ended(server.receive_until(other, end_of_body)));
    // Long-polls are no ended event streams.
    CHECK(server.front().counters().sse_ended_removed == 2);
    CHECK(server.front().counters().long_polls == 0);
}

TEST_CASE("removed, created and removed again while the first reader's read is under way") {
    EdgeServer server;
    Client first(server.port);
    Client second(server.port);
    Client third(server.port);
    std::vector<SentCall> reads;
    std::vector<Client*> clients = {&first, &second, &third};
    for (Client* client : clients) {
        client->send(live("again", "sse"));
        const SentCall watch = server.take<api::WatchCall>();
        reads.push_back(server.take<api::ReadCall>());
        server.answer(watch.id, api::WatchReply{});
        server.turn();
        server.answer(watch.id, removed());
        server.turns(2);
    }
    CHECK(server.front().counters().sse_readers == 3);
    for (std::size_t i = 0; i < reads.size(); ++i) {
        server.answer(reads[i].id, read_reply(0, "old"));
        const std::string got = server.receive_until(*clients[i], end_of_body);
        CHECK(got.find("data:old") != std::string::npos);
    }
    server.turns(2);
    CHECK(server.front().counters().sse_readers == 0);
    CHECK(server.front().counters().sse_ended_removed == 3);
}

TEST_CASE("a reader never goes on in a stream created after its own") {
    EdgeServer server;
    Client client(server.port);
    client.send(live("twice", "sse"));
    const SentCall watch = server.take<api::WatchCall>();
    server.answer(watch.id, api::WatchReply{});
    server.answer(server.take<api::ReadCall>().id, read_reply(0, "old", false));
    const SentCall second = server.take<api::ReadCall>();
    api::ReadReply other = read_reply(3, "new");
    other.incarnation.index = base::LogIndex(9);
    server.answer(second.id, other);
    const std::string got = server.receive_until(client, end_of_body);
    CHECK(got.find("data:old") != std::string::npos);
    CHECK(got.find("new") == std::string::npos);
}

TEST_CASE("a watch that is refused is not a stream that is gone") {
    EdgeServer server;
    Client poll(server.port);
    poll.send(live("busy", "long-poll"));
    SentCall watch = server.take<api::WatchCall>();
    server.answer(server.take<api::ReadCall>().id, read_reply(0, ""));
    server.turns(2);
    server.answer(watch.id, api::Refused{api::Refusal::overloaded});
    const std::string refused = server.receive_until(poll, "request_id");
    CHECK(refused.starts_with("HTTP/1.1 503 "));
    CHECK(refused.find("\"code\":\"overloaded\"") != std::string::npos);

    Client sse(server.port);
    sse.send(live("busy", "sse"));
    watch = server.take<api::WatchCall>();
    server.answer(server.take<api::ReadCall>().id, read_reply(0, ""));
    server.receive_until(sse, next_offset(0));
    server.answer(watch.id, api::Refused{api::Refusal::overloaded});
    server.receive_until(sse, end_of_body);
    CHECK(server.front().counters().sse_ended_removed == 0);

    // A stream that was never there is told by the read.
    Client none(server.port);
    none.send(live("none", "sse"));
    watch = server.take<api::WatchCall>();
    server.answer(watch.id, api::Refused{api::Refusal::stream_not_found});
    server.answer(server.take<api::ReadCall>().id, api::Refused{api::Refusal::stream_not_found});
    CHECK(server.receive_until(none, "request_id").starts_with("HTTP/1.1 404 "));
    CHECK(server.front().counters().sse_ended_removed == 0);
}

TEST_CASE("a full mailbox: the watch is refused as overload, a read is asked again at once") {
    EdgeServer server;
    Client client(server.port);
    server.refuse_sends = 1;
    const std::string refused = server.ask(client, live("m", "sse"));
    CHECK(refused.starts_with("HTTP/1.1 503 "));
    CHECK(refused.find("\"code\":\"overloaded\"") != std::string::npos);

    for (const std::string_view mode : {"sse", "long-poll"}) {
        CAPTURE(mode);
        Client reader(server.port);
        reader.send(live(mode, mode));
        // The watch goes out, the read does not, twice.
        server.send_before_refusing = 1;
        server.refuse_sends = 2;
        const SentCall watch = server.take<api::WatchCall>();
        CHECK(!server.has<api::ReadCall>());
        const base::Instant begin = server.now.mono;
        for (int i = 0; i < 20 && !server.has<api::ReadCall>(); ++i) {
            server.now.mono = server.now.mono + base::milliseconds(20);
            server.turn();
        }
        CHECK(server.has<api::ReadCall>());
        CHECK(server.now.mono - begin < base::milliseconds(200));
        server.answer(watch.id, api::WatchReply{});
        server.answer(server.take<api::ReadCall>().id, read_reply(0, "x"));
        server.receive_until(reader, "x");
    }
}

TEST_CASE("an unwatch that found no room is made later") {
    EdgeServer server;
    Client client(server.port);
    client.send(live("u", "sse"));
    go_live(server, 0);
    server.refuse_sends = 2;
    client.reset();
    server.turn_until([&] { return server.front().counters().sse_readers == 0; });
    const SentCall unwatch = server.take<api::UnwatchCall>();
    CHECK(unwatch.name == "v1/u");
    CHECK(server.refuse_sends == 0);
    server.turns(3);
    CHECK(!server.has<api::UnwatchCall>());
}

TEST_CASE("a draining server ends every live reader, also one whose first read is under way") {
    EdgeServer server;
    Client idle(server.port);
    idle.send(live("d", "sse"));
    go_live(server, 2);
    server.receive_until(idle, next_offset(2));
    Client late(server.port);
    late.send(live("d", "sse"));
    const SentCall first_read = server.take<api::ReadCall>();
    Client poll(server.port);
    poll.send(live("d", "long-poll", "now"));
    server.answer(server.take<api::ReadCall>().id, read_reply(2, ""));
    server.turns(2);

    server.front().begin_drain(server.now);
    CHECK(ended(server.receive_until(idle, end_of_body)));
    server.answer(first_read.id, read_reply(0, "ab"));
    const std::string got = server.receive_until(late, end_of_body);
    CHECK(got.find("data:ab") != std::string::npos);
    server.answer(server.take<api::ReadCall>().id, read_reply(2, ""));
    CHECK(server.receive_until(poll, "\r\n\r\n").starts_with("HTTP/1.1 204 "));
    server.turn_until([&] { return idle.receive().empty() && idle.over; });
    idle.close();
    late.close();
    poll.close();
    server.turn_until([&] { return server.front().drained(); });
    CHECK(server.front().counters().sse_ended_shutdown == 2);
}

TEST_CASE("live readers of a loop have a bound: at, one above, ten times") {
    EdgeOptions options = EdgeServer::default_options();
    options.tails_max = 3;
    EdgeServer server(options);
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < 3; ++i) {
        clients.push_back(std::make_unique<Client>(server.port));
        clients.back()->send(live("bound", i == 1 ? "long-poll" : "sse"));
        static_cast<void>(server.take<api::ReadCall>());
    }
    Client more(server.port);
    for (int i = 0; i < 27; ++i) {
        const std::string got = server.ask(more, live("bound", i % 2 == 0 ? "sse" : "long-poll"));
        CHECK(got.starts_with("HTTP/1.1 503 "));
        CHECK(got.find("\"code\":\"too_many_tails\"") != std::string::npos);
        CHECK(got.find("Retry-After: 1\r\n") != std::string::npos);
    }
    clients.back()->reset();
    server.turn_until([&] { return server.front().counters().sse_readers == 1; });
    more.send(live("bound", "sse"));
    static_cast<void>(server.take<api::ReadCall>());
}

namespace {

// Above what counts (limits::tail_post_bytes_max): three of them are too many for small_room().
constexpr std::size_t large_bytes = 600 << 10;

EdgeOptions small_room() {
    EdgeOptions options = EdgeServer::default_options();
    options.tail_private_bytes_max = 1'500'000;
    return options;
}

std::string large(char filling) {
    return std::string(large_bytes, filling);
}

// An SSE reader that finds one large event, and takes nothing of it.
std::unique_ptr<Client> deaf_reader(EdgeServer& server, std::string_view stream) {
    auto client = std::make_unique<Client>(server.port, 4096);
    client->send(live(stream, "sse"));
    server.answer(server.take<api::ReadCall>().id, read_reply(0, large('d')));
    server.turns(3);
    return client;
}

}  // namespace

TEST_CASE("large events of single readers have a bound: who is above it waits for room") {
    EdgeServer server(small_room());
    const EdgeCounters& counters = server.front().counters();
    std::vector<std::unique_ptr<Client>> deaf;
    deaf.push_back(deaf_reader(server, "big"));
    const std::uint64_t one = counters.sse_private_bytes;
    CHECK(one > large_bytes);
    CHECK(one < large_bytes + 1000);
    deaf.push_back(deaf_reader(server, "big"));
    CHECK(counters.sse_private_bytes == 2 * one);
    for (int i = 0; i < 10; ++i) {
        deaf.push_back(deaf_reader(server, "big"));
    }
    CHECK(counters.sse_private_bytes == 2 * one);
    CHECK(counters.sse_held == 10);
    CHECK(!server.has<api::ReadCall>());

    // What is small does not count: it passes all of them.
    Client small(server.port);
    small.send(live("small", "sse"));
    server.answer(server.take<api::ReadCall>().id, read_reply(0, std::string(100'000, 's')));
    server.receive_until(small, next_offset(100'000));

    // They have their heads, and are kept alive.
    const std::string head = server.receive_until(*deaf.back(), "\r\n\r\n");
    CHECK(head.starts_with("HTTP/1.1 200 OK\r\n"));
    server.pass(base::seconds(16));
    server.receive_until(*deaf.back(), ": hb\n");

    // One goes: the first that waits reads again, and nobody else.
    deaf[0]->reset();
    const SentCall again = server.take<api::ReadCall>();
    server.turns(3);
    CHECK(!server.has<api::ReadCall>());
    CHECK(std::get<api::ReadCall>(again.verb).offset == 0);
    CHECK(counters.sse_private_bytes == 2 * one);  // kept free for it
    server.answer(again.id, read_reply(0, large('a')));
    const std::string got = server.receive_until(*deaf[2], next_offset(large_bytes));
    CHECK(std::count(got.begin(), got.end(), 'a') >= static_cast<std::ptrdiff_t>(large_bytes));
    // It took all: the next one's turn.
    const SentCall next = server.take<api::ReadCall>();
    CHECK(counters.sse_private_bytes == 2 * one);

    // One that was given room and goes without using it, and some that only waited.
    deaf[3]->reset();
    deaf[5]->reset();
    deaf.back()->reset();
    const SentCall third = server.take<api::ReadCall>();
    server.answer(next.id, read_reply(0, large('n')));  // nobody's any more
    server.turns(3);
    CHECK(!server.has<api::ReadCall>());
    CHECK(counters.sse_private_bytes == 2 * one);
    server.answer(third.id, api::Refused{api::Refusal::stream_not_found});
    static_cast<void>(server.take<api::ReadCall>());

    for (auto& client : deaf) {
        client->reset();  // a FIN from one that took all would leave it half-closed, and served
    }
    server.turn_until([&] { return counters.sse_readers == 1; });
    CHECK(counters.sse_private_bytes == 0);
}

TEST_CASE("a crowd of readers with a backlog is served over several turns") {
    EdgeOptions options = EdgeServer::default_options();
    options.tail_turn_bytes_max = 250'000;
    EdgeServer server(options);
    std::vector<std::unique_ptr<Client>> crowd;
    std::vector<api::CallId> reads;
    for (int i = 0; i < 10; ++i) {
        crowd.push_back(std::make_unique<Client>(server.port));
        crowd.back()->send(live("s", "sse"));
        reads.push_back(server.take<api::ReadCall>().id);
    }
    // All answers come in one turn: three events reach the bound.
    std::uint64_t events = 0;
    int turns = 0;
    while (!reads.empty()) {
        for (const api::CallId id : reads) {
            server.answer(id, read_reply(0, std::string(100'000, 's')));
        }
        reads.clear();
        server.turn();
        ++turns;
        const std::uint64_t now = server.front().counters().sse_events;
        CHECK(now - events == std::min<std::uint64_t>(3, 10 - events));
        events = now;
        for (int i = 0; i < 10 && events < 10 && !server.has<api::ReadCall>(); ++i) {
            server.now.mono = server.now.mono + base::milliseconds(20);
            server.turn();
        }
        while (server.has<api::ReadCall>()) {
            const SentCall again = server.take<api::ReadCall>();
            CHECK(std::get<api::ReadCall>(again.verb).offset == 0);
            reads.push_back(again.id);
        }
    }
    CHECK(turns == 4);
    for (const auto& client : crowd) {
        server.receive_until(*client, next_offset(100'000));
    }
}

TEST_CASE("a live reader that is gone is noticed soon, one that only has no more to say is not") {
    EdgeServer server;
    const EdgeCounters& counters = server.front().counters();
    Client gone(server.port);
    gone.send(live("one", "sse"));
    server.answer(server.take<api::ReadCall>().id, read_reply(0, "", true));
    server.receive_until(gone, next_offset(0));
    Client silent(server.port);
    silent.send(live("one", "sse"));
    server.answer(server.take<api::ReadCall>().id, read_reply(0, "", true));
    server.receive_until(silent, next_offset(0));
    REQUIRE(counters.sse_readers == 2);

    gone.close();
    server.turns(20);  // until that is heard of
    server.pass(base::seconds(2));
    server.turn_until([&] { return counters.sse_readers == 1; });
    silent.finish_sending();
    server.receive_until(silent, ": hb\n");
    server.turns(20);
    CHECK(counters.sse_readers == 1);
}

TEST_CASE("an event above the whole bound is delivered when nothing else is out") {
    EdgeOptions options = small_room();
    options.tail_private_bytes_max = 300'000;
    EdgeServer server(options);
    const EdgeCounters& counters = server.front().counters();
    Client first(server.port, 4096);
    first.send(live("one", "sse"));
    server.answer(server.take<api::ReadCall>().id, read_reply(0, large('1'), true, true));
    server.turns(3);
    CHECK(counters.sse_readers == 0);  // the stream is closed: the reader ended, its event is out
    CHECK(counters.sse_private_bytes > large_bytes);
    Client second(server.port);
    second.send(live("one", "sse"));
    server.answer(server.take<api::ReadCall>().id, read_reply(0, large('2'), true, true));
    server.turns(3);
    CHECK(counters.sse_held == 1);
    CHECK(!server.has<api::ReadCall>());
    // The room is the connection's until the last byte went, whoever reads there.
    CHECK(ended(server.receive_until(first, end_of_body)));
    server.answer(server.take<api::ReadCall>().id, read_reply(0, large('2'), true, true));
    CHECK(ended(server.receive_until(second, end_of_body)));
    server.turns(3);
    CHECK(counters.sse_private_bytes == 0);
    // Both connections are good for another reader.
    first.send(live("one", "sse"));
    server.answer(server.take<api::ReadCall>().id, read_reply(0, large('3'), true, true));
    CHECK(ended(server.receive_until(first, end_of_body)));
    server.turns(3);
    CHECK(counters.sse_private_bytes == 0);
}

TEST_CASE("a reader that takes nothing loses its room after the stall timeout") {
    EdgeServer server(small_room());
    const EdgeCounters& counters = server.front().counters();
    const auto one = deaf_reader(server, "big");
    const auto other = deaf_reader(server, "big");
    Client waiting(server.port);
    waiting.send(live("big", "sse", "now"));
    // From now on, with something there when it comes to read.
    server.answer(server.take<api::ReadCall>().id, read_reply(7, large('w')));
    server.turns(3);
    CHECK(counters.sse_held == 1);
    // The kernel's buffers take some of it before nothing moves any more.
    server.pass(base::seconds(120));
    const SentCall again = server.take<api::ReadCall>();
    CHECK(std::get<api::ReadCall>(again.verb).offset == 7);
    CHECK(!std::get<api::ReadCall>(again.verb).from_now);
    server.answer(again.id, read_reply(7, large('w')));
    server.receive_until(waiting, next_offset(7 + large_bytes));
    server.turns(3);
    CHECK(counters.sse_private_bytes == 0);
}

TEST_CASE("readers that wait for room end with their stream and with the server") {
    EdgeServer server(small_room());
    const EdgeCounters& counters = server.front().counters();
    api::CallId watch;
    Client live_one(server.port);
    live_one.send(live("big", "sse"));
    go_live(server, 0, &watch);
    server.receive_until(live_one, next_offset(0));
    const auto one = deaf_reader(server, "big");
    const auto other = deaf_reader(server, "big");
    const auto held = deaf_reader(server, "big");
    const auto held_too = deaf_reader(server, "other");
    CHECK(counters.sse_held == 2);
    server.answer(watch, removed());
    server.receive_until(*held, end_of_body);
    CHECK(counters.sse_readers == 1);
    server.front().begin_drain(server.now);
    server.receive_until(*held_too, end_of_body);
    CHECK(counters.sse_readers == 0);
    CHECK(counters.sse_private_bytes > 2 * large_bytes);  // theirs is still being sent
    one->reset();
    other->reset();
    server.turn_until([&] { return counters.sse_private_bytes == 0; });
    CHECK(!server.has<api::ReadCall>());
}

TEST_CASE("an event stream over HTTP/1.0 ends with its connection, which is said once") {
    EdgeServer server;
    Client client(server.port);
    client.send("GET /v1/stream/old?offset=-1&live=sse HTTP/1.0\r\n\r\n");
    go_live(server, 0);
    const std::string got = server.receive_until(client, next_offset(0));
    const std::size_t at = got.find("Connection: close\r\n");
    REQUIRE(at != std::string::npos);
    CHECK(got.find("Connection:", at + 1) == std::string::npos);
    CHECK(got.find("Transfer-Encoding") == std::string::npos);
}

TEST_CASE("a node that hears no leader ends its readers so that they go elsewhere") {
    EdgeServer server;
    Client sse(server.port);
    Client poll(server.port);
    api::CallId watch;
    sse.send(live("s", "sse"));
    go_live(server, 4, &watch);
    server.receive_until(sse, next_offset(4));
    poll.send(live("s", "long-poll", "now"));
    server.answer(server.take<api::ReadCall>().id, read_reply(4, ""));
    server.turns(2);
    api::Post lost;
    lost.lost = true;
    server.answer(watch, lost);
    const std::string refused = server.receive_until(poll, "request_id");
    CHECK(refused.starts_with("HTTP/1.1 503 "));
    CHECK(refused.find("\"code\":\"no_leader\"") != std::string::npos);
    CHECK(ended(server.receive_until(sse, end_of_body)));
    CHECK(server.front().counters().sse_ended_lost == 1);
    CHECK(server.front().counters().sse_readers == 0);
    CHECK(server.front().counters().long_polls == 0);
    server.turns(2);
    CHECK(!server.has<api::UnwatchCall>());
    // The next one watches anew.
    sse.send(live("s", "sse", "now"));
    go_live(server, 4);
    server.receive_until(sse, "upToDate");
}

}  // namespace ursula::http::test
