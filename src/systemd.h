// What a service manager is told (sd_notify(3): one datagram to the socket it names).
#pragma once

#include <string_view>

namespace ursula {

// "READY=1", "STOPPING=1". Does nothing unless NOTIFY_SOCKET is set; never fails: the manager may
// be gone. Not for several threads at once.
void tell_systemd(std::string_view state);

}  // namespace ursula
