// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/uplink.hpp"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>
#include <list>
#include <vector>

#include "libos-runtime/host/frames.hpp"

namespace lkm {

/// By dlopen(3), for it brings glib, and of all processes only this one needs them.
struct Uplink::Library {
  decltype(&::slirp_new) make;
  decltype(&::slirp_cleanup) end;
  decltype(&::slirp_input) input;
  decltype(&::slirp_pollfds_fill) before_poll;
  decltype(&::slirp_pollfds_poll) after_poll;

  static Result<const Library*> load() {
    static Library library;
    void* const file = ::dlopen("libslirp.so.0", RTLD_NOW | RTLD_LOCAL);
    if (file == nullptr) return fail_hint(ENOSYS, "apt-get install libslirp0", "an uplink ({})", ::dlerror());
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(file, name));
      return function != nullptr;
    };
    if (find(library.make, "slirp_new") && find(library.end, "slirp_cleanup") && find(library.input, "slirp_input") &&
        find(library.before_poll, "slirp_pollfds_fill") && find(library.after_poll, "slirp_pollfds_poll"))
      return &library;
    return fail(ENOSYS, "an uplink ({})", ::dlerror());
  }
};

namespace {

/// A frame and what may come before it.
constexpr std::size_t kLargestFrame = 65536 + 128;
/// Taken from the stack before others are looked after.
constexpr int kBudget = 64;

struct Timer {
  SlirpTimerCb ring;
  void* about;
  std::int64_t at_ms = INT64_MAX;
};

/// What libslirp calls "opaque".
struct Router {
  UniqueFd frames;
  bool ended = false;
  std::list<Timer> timers;
  std::vector<pollfd> polled;
};

Router& of(void* opaque) { return *static_cast<Router*>(opaque); }

std::int64_t now_ns(void*) {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

/// To the stack. It waits for room: the stack takes frames whatever it does, and does not wait for us.
ssize_t send_to_stack(const void* bytes, std::size_t size, void* opaque) {
  const libos_frame_meta meta{};
  const libos_iov frame{const_cast<void*>(bytes), size};
  Router& router = of(opaque);
  for (;;) {
    const int error = send_frame(router.frames.get(), meta, {&frame, 1});
    if (error == 0) return ssize_t(size);
    if (error != -EAGAIN) {
      router.ended = router.ended || error != -EINTR;
      return -1;
    }
    pollfd room{.fd = router.frames.get(), .events = POLLOUT, .revents = 0};
    ::poll(&room, 1, -1);
  }
}

void* new_timer(SlirpTimerCb ring, void* about, void* opaque) {
  of(opaque).timers.push_back({ring, about});
  return &of(opaque).timers.back();
}

void free_timer(void* timer, void* opaque) {
  of(opaque).timers.remove_if([&](const Timer& one) { return &one == timer; });
}

constexpr SlirpCb kCallbacks = {
    .send_packet = send_to_stack,
    .guest_error = [](const char*, void*) {},
    .clock_get_ns = now_ns,
    .timer_new = new_timer,
    .timer_free = free_timer,
    .timer_mod = [](void* timer, std::int64_t at_ms, void*) { static_cast<Timer*>(timer)->at_ms = at_ms; },
    .register_poll_fd = [](int, void*) {},
    .unregister_poll_fd = [](int, void*) {},
    .notify = [](void*) {},
    .init_completed = nullptr,
    .timer_new_opaque = nullptr,
};

int to_poll(int slirp) {
  return ((slirp & SLIRP_POLL_IN) != 0 ? POLLIN : 0) | ((slirp & SLIRP_POLL_OUT) != 0 ? POLLOUT : 0) |
         ((slirp & SLIRP_POLL_PRI) != 0 ? POLLPRI : 0) | ((slirp & SLIRP_POLL_ERR) != 0 ? POLLERR : 0) |
         ((slirp & SLIRP_POLL_HUP) != 0 ? POLLHUP : 0);
}

int from_poll(int bits) {
  return ((bits & POLLIN) != 0 ? SLIRP_POLL_IN : 0) | ((bits & POLLOUT) != 0 ? SLIRP_POLL_OUT : 0) |
         ((bits & POLLPRI) != 0 ? SLIRP_POLL_PRI : 0) | ((bits & POLLERR) != 0 ? SLIRP_POLL_ERR : 0) |
         ((bits & POLLHUP) != 0 ? SLIRP_POLL_HUP : 0);
}

/// Gives its place, by which its events are asked for.
int add_polled(int fd, int events, void* opaque) {
  of(opaque).polled.push_back({.fd = fd, .events = short(to_poll(events)), .revents = 0});
  return int(of(opaque).polled.size()) - 1;
}

int events_of(int place, void* opaque) { return from_poll(of(opaque).polled[std::size_t(place)].revents); }

in_addr address(const char* text) {
  in_addr address{};
  ::inet_pton(AF_INET, text, &address);
  return address;
}

}  // namespace

Result<Uplink> Uplink::make(Reach reach) {
  LKM_TRY(const Library* const library, Library::load());
  return Uplink(library, reach);
}

void Uplink::serve(UniqueFd frames) {
  Router router{.frames = std::move(frames), .timers = {}, .polled = {}};
  SlirpConfig config{};
  config.version = 3;
  config.in_enabled = true;
  config.vnetwork = address("10.0.2.0");
  config.vnetmask = address("255.255.255.0");
  config.vhost = address(uplink::kGateway);
  config.vnameserver = address("10.0.2.3");
  config.vdhcp_start = address("10.0.2.15");
  config.if_mtu = config.if_mru = uplink::kMtu;
  config.disable_host_loopback = reach_ == Reach::kInternet;
  Slirp* const slirp = library_->make(&config, &kCallbacks, &router);
  if (slirp == nullptr) return;

  std::vector<std::byte> frame(kLargestFrame);
  while (!router.ended) {
    router.polled.clear();
    add_polled(router.frames.get(), SLIRP_POLL_IN, &router);
    std::uint32_t wait_ms = UINT32_MAX;
    library_->before_poll(slirp, &wait_ms, add_polled, &router);
    const std::int64_t now_ms = now_ns(nullptr) / 1'000'000;
    for (const Timer& timer : router.timers) {
      if (timer.at_ms != INT64_MAX)
        wait_ms = std::min<std::uint32_t>(wait_ms, std::uint32_t(std::clamp<std::int64_t>(timer.at_ms - now_ms, 0, INT_MAX)));
    }
    const int ready = ::poll(router.polled.data(), router.polled.size(), wait_ms > INT_MAX ? -1 : int(wait_ms));
    library_->after_poll(slirp, ready < 0, events_of, &router);
    for (Timer& timer : router.timers) {
      if (timer.at_ms > now_ns(nullptr) / 1'000'000) continue;
      timer.at_ms = INT64_MAX;
      timer.ring(timer.about);
    }
    if (ready <= 0 || router.polled[0].revents == 0) continue;
    for (int i = 0; i < kBudget && !router.ended; ++i) {
      libos_frame_meta meta{};
      auto pieces = scatter(meta, frame);
      msghdr message{};
      message.msg_iov = pieces.data();
      message.msg_iovlen = pieces.size();
      const long length = read_frame([&] { return ::recvmsg(router.frames.get(), &message, MSG_DONTWAIT); });
      if (length < 0) router.ended = true;
      if (length <= 0) break;
      library_->input(slirp, reinterpret_cast<const std::uint8_t*>(frame.data()), int(length));
    }
  }
  library_->end(slirp);
}

}  // namespace lkm
