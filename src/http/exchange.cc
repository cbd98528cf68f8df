#include "http/exchange.h"

#include "admin/task.h"
#include "http/subscription_json.h"

namespace ursula::http {

Exchange::Exchange() = default;
Exchange::~Exchange() = default;

Exchange& Exchanges::take() {
    if (free_ == 0) {
        items_.emplace_back();
        items_.back().index = static_cast<std::uint32_t>(items_.size() - 1);
        free_ = items_.back().index;
    }
    Exchange& exchange = items_[free_];
    free_ = exchange.next;
    exchange.next = 0;
    exchange.asked = Asked::nothing;
    exchange.started_ns = 0;
    exchange.method = 6;
    exchange.keep_alive = true;
    exchange.http_1_0 = false;
    exchange.head_only = false;
    exchange.done = false;
    exchange.held_aside = false;
    exchange.has_origin = false;
    exchange.from_now = false;
    exchange.form = {};
    exchange.bad_query = BadQuery::none;
    return exchange;
}

void Exchanges::give(Exchange& exchange) {
    constexpr std::size_t kept_capacity_max = 256;
    ++exchange.generation;
    exchange.connection = {};
    for (std::string* text :
         {&exchange.path, &exchange.host, &exchange.origin, &exchange.if_none_match,
          &exchange.content_type, &exchange.redirect_to}) {
        if (text->capacity() > kept_capacity_max) {
            std::string().swap(*text);
        } else {
            text->clear();
        }
    }
    exchange.held.reset();
    exchange.create.reset();
    exchange.listing.reset();
    exchange.admin.reset();
    exchange.subscription.reset();
    exchange.tail = nullptr;
    exchange.next = free_;
    free_ = exchange.index;
}

Exchange* Exchanges::find(api::CallId id) {
    const std::uint32_t index = static_cast<std::uint32_t>(id.value);
    if (index == 0 || index >= items_.size()) {
        return nullptr;
    }
    Exchange& exchange = items_[index];
    return exchange.call_id() == id && exchange.connection.generation != 0 ? &exchange : nullptr;
}

}  // namespace ursula::http
