// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/traffic.hpp"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cmath>

#include "libos-runtime/host/random.hpp"
#include "toolkit/flow/connection.hpp"
#include "toolkit/lab/draws.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

/// Bytes that a sender's socket holds beyond what is under way. So a flow that is to stop does.
constexpr int kUnsent = 256 << 10;

std::uint64_t draw_size(Random& random, const FlowSpec& spec) {
  const auto mean = double(spec.bytes);
  double size = mean;
  if (spec.sizes == FlowSpec::Sizes::kExponential) size = draw_exponential(random, mean);
  if (spec.sizes == FlowSpec::Sizes::kPareto) size = draw_pareto(random, mean);
  return std::uint64_t(std::clamp(size, 1.0, 1e12));
}

}  // namespace

struct Traffic::Server {
  LiveFlow& flow;
  StackFd listener;
  SocketAddress address;
  std::uint64_t seed = 0;
  std::map<std::uint16_t, StackTime> under_way;  // kPoisson: by the client's port, when it began
  std::size_t messages = 0;                      // kReplay: that have arrived whole
  std::uint64_t message_end = 0;                 // kReplay: of the next one, in bytes of the flow
};

Traffic::Traffic(Stack& stack, const Network& network, const Scenario& scenario)
    : stack_(stack), network_(network), scenario_(scenario) {}

Traffic::~Traffic() { stop(); }

Result<void> Traffic::start() {
  for (const FlowSpec& spec : scenario_.flows) {
    for (unsigned i = 0; i < spec.count; ++i) LKM_CHECK(add(spec, i));
  }
  began_ = stack_.now();
  for (auto& server : servers_) {
    Server* one = server.get();
    if (one->flow.spec->kind == FlowKind::kUdp) {
      spawn("lab-sink", [this, one] { receive_datagrams(*one); });
    } else {
      spawn("lab-accept", [this, one] { accept_all(*one); });
    }
    spawn("lab-send", [this, one] { send(*one); });
  }
  return {};
}

Result<void> Traffic::add(const FlowSpec& spec, unsigned number) {
  auto flow = std::make_unique<LiveFlow>();
  flow->spec = &spec;
  flow->start = spec.start + number * spec.stagger;
  std::string name = spec.name;
  if (name.empty()) name = spec.kind == FlowKind::kUdp ? "udp" : spec.control.empty() ? "flow" : spec.control;
  flow->name = spec.count > 1 ? fmt::format("{}-{}", name, number + 1) : name;
  for (unsigned i = 2; !names_.insert(flow->name).second; ++i) flow->name = fmt::format("{}-{}", name, i);

  auto server = std::make_unique<Server>(Server{.flow = *flow, .listener = {}, .address = {}, .under_way = {}});
  server->seed = scenario_.seed * 1'000'003 + flows_.size();
  LKM_TRY(server->listener, socket(spec.to, spec));
  SocketAddress& address = server->address;
  address = SocketAddress(network_.address(spec.to, spec.ip), 0);
  long result = server->listener.call(SYS_bind, address.get(), address.length);
  if (result == 0) result = server->listener.call(SYS_getsockname, address.get(), &address.length);
  if (result == 0 && spec.kind != FlowKind::kUdp) result = server->listener.call(SYS_listen, 4096);
  if (result < 0) return fail(int(-result), "listen in '{}'", spec.to);
  flows_.push_back(std::move(flow));
  servers_.push_back(std::move(server));
  return {};
}

Result<StackFd> Traffic::socket(const std::string& node, const FlowSpec& spec) {
  const bool udp = spec.kind == FlowKind::kUdp;
  LKM_TRY(StackFd fd, socket_in(stack_, node, int(spec.ip), udp ? SOCK_DGRAM : SOCK_STREAM));
  if (udp) return fd;
  fd.set_option(IPPROTO_TCP, TCP_NOTSENT_LOWAT, kUnsent);
  if (spec.control.empty()) return fd;
  const long set =
      fd.call(SYS_setsockopt, IPPROTO_TCP, TCP_CONGESTION, spec.control.data(), spec.control.size());
  if (set == -ENOENT)
    return fail_hint(ENOENT, fmt::format("lkm-run lab --module DIR_OF_{}; lkm-run lab --help", spec.control),
                     "congestion control '{}' is neither in the kernel nor among the modules", spec.control);
  if (set < 0) return fail(int(-set), "set congestion control '{}'", spec.control);
  return fd;
}

void Traffic::spawn(const char* name, std::function<void()> body) {
  if (fibers_.size() > 4096) std::erase_if(fibers_, [](const Fiber& fiber) { return fiber.done(); });
  auto fiber = stack_.spawn(name, std::move(body));
  if (fiber) fibers_.push_back(std::move(*fiber));
}

void Traffic::stop() {
  ending_ = true;
  // One that wakes may start another, or begin another wait.
  while (!fibers_.empty()) {
    for (Fiber& fiber : fibers_) {
      if (!fiber.done()) fiber.interrupt();
    }
    stack_.yield();
    std::erase_if(fibers_, [](const Fiber& fiber) { return fiber.done(); });
  }
}

void Traffic::sleep_until(nanoseconds at) {
  while (!ending_ && elapsed() < at) stack_.park(began_ + at);
}

nanoseconds Traffic::end_of(const LiveFlow& flow) const {
  return flow.spec->stop != 0ns ? flow.spec->stop : scenario_.duration;
}

// -- receivers -----------------------------------------------------------------------------------------------------

void Traffic::accept_all(Server& server) {
  while (!ending_) {
    const long fd = server.listener.call(SYS_accept4, nullptr, nullptr, 0);
    if (fd == -EINTR || fd == -ECONNABORTED) continue;
    if (fd < 0) {
      server.flow.error = Error(std::error_code(int(-fd), std::generic_category()), "accept a connection").message();
      return;
    }
    spawn("lab-receive", [this, &server, fd] {
      const StackFd socket(stack_, int(fd));
      if (server.flow.spec->kind == FlowKind::kRequests) {
        serve_requests(server, socket);
      } else {
        receive_all(server, socket);
      }
    });
  }
}

void Traffic::receive_all(Server& server, const StackFd& socket) {
  SocketAddress peer;
  socket.call(SYS_getpeername, peer.get(), &peer.length);
  while (!ending_) {
    const long got = socket.call(SYS_recvfrom, in_.data(), in_.size(), MSG_TRUNC, nullptr, nullptr);
    if (got == -EINTR) continue;
    if (got <= 0) break;
    server.flow.bytes_received += std::uint64_t(got);
    if (server.flow.spec->replay) note_messages(server);
  }
  const auto begun = server.under_way.find(peer.port());
  if (ending_ || begun == server.under_way.end()) return;
  server.flow.latencies.push_back(stack_.now() - begun->second);
  server.under_way.erase(begun);
}

// A message arrives late by the time from when it was due to be sent.
void Traffic::note_messages(Server& server) {
  LiveFlow& flow = server.flow;
  const auto& messages = flow.spec->replay->messages;
  while (server.messages < messages.size() &&
         server.message_end + messages[server.messages].bytes <= flow.bytes_received) {
    server.message_end += messages[server.messages].bytes;
    flow.latencies.push_back(elapsed() - flow.start - messages[server.messages++].at);
  }
}

void Traffic::serve_requests(Server& server, const StackFd& socket) {
  const FlowSpec& spec = *server.flow.spec;
  for (std::uint64_t have = 0; !ending_;) {
    const long got = socket.call(SYS_recvfrom, in_.data(), std::min<std::uint64_t>(spec.request_bytes - have, in_.size()),
                                 MSG_TRUNC, nullptr, nullptr);
    if (got == -EINTR) continue;
    if (got <= 0) return;
    server.flow.bytes_received += std::uint64_t(got);
    have += std::uint64_t(got);
    if (have < spec.request_bytes) continue;
    have = 0;
    for (std::uint64_t left = spec.response_bytes; left > 0 && !ending_;) {
      const long sent = socket.call(SYS_sendto, out_.data(), std::min<std::uint64_t>(left, out_.size()), MSG_NOSIGNAL,
                                    nullptr, 0);
      if (sent == -EINTR) continue;
      if (sent < 0) return;
      left -= std::uint64_t(sent);
    }
  }
}

void Traffic::receive_datagrams(Server& server) {
  while (!ending_) {
    const long got = server.listener.call(SYS_recvfrom, in_.data(), in_.size(), MSG_TRUNC, nullptr, nullptr);
    if (got < 0) continue;
    server.flow.bytes_received += std::uint64_t(got);
    ++server.flow.datagrams_received;
  }
}

// -- senders -------------------------------------------------------------------------------------------------------

void Traffic::send(Server& server) {
  LiveFlow& flow = server.flow;
  sleep_until(flow.start);
  if (ending_) return;
  if (flow.spec->kind == FlowKind::kUdp) return send_datagrams(server);
  if (flow.spec->kind == FlowKind::kPoisson) return send_arrivals(server);
  auto made = connect(server);
  if (!made) {
    if (ending_) return;
    ++flow.failures;
    flow.error = made.error().message();
    return;
  }
  flow.socket = std::move(made->first);
  if (flow.spec->kind == FlowKind::kBulk) send_bulk(flow);
  if (flow.spec->kind == FlowKind::kOnOff) send_on_off(flow);
  if (flow.spec->kind == FlowKind::kRequests) send_requests(flow);
  if (flow.spec->kind == FlowKind::kReplay) send_messages(flow);
  finish(flow.socket);
  flow.socket.reset();
}

Result<std::pair<StackFd, std::uint16_t>> Traffic::connect(Server& server) {
  const FlowSpec& spec = *server.flow.spec;
  LKM_TRY(StackFd client, socket(spec.from, spec));
  SocketAddress name(network_.address(spec.from, spec.ip), 0);
  long result = client.call(SYS_bind, name.get(), name.length);
  if (result == 0) result = client.call(SYS_getsockname, name.get(), &name.length);
  if (spec.kind == FlowKind::kPoisson) server.under_way[name.port()] = stack_.now();
  if (result == 0) result = client.call(SYS_connect, server.address.get(), server.address.length);
  if (result < 0) {
    server.under_way.erase(name.port());
    return fail(int(-result), "connect from {} to {}", spec.from, spec.to);
  }
  return std::pair(std::move(client), name.port());
}

// Hands the socket up to `most` bytes, once it takes some, and tells how many. 0 when the flow is over.
std::uint64_t Traffic::send_some(LiveFlow& flow, const StackFd& socket, std::uint64_t most, nanoseconds until) {
  while (!ending_ && elapsed() < until) {
    const long sent = socket.call(SYS_sendto, out_.data(), std::min<std::uint64_t>(most, out_.size()),
                                  MSG_NOSIGNAL | MSG_DONTWAIT, nullptr, 0);
    if (sent > 0) {
      flow.bytes_sent += std::uint64_t(sent);
      return std::uint64_t(sent);
    }
    if (sent != -EAGAIN && sent != -EINTR) {
      ++flow.failures;
      flow.error = Error(std::error_code(int(-sent), std::generic_category()), "send").message();
      return 0;
    }
    poll_stack(stack_, socket.get(), POLLOUT, began_ + until);
  }
  return 0;
}

void Traffic::send_bulk(LiveFlow& flow) {
  const std::uint64_t limit = flow.spec->bytes == 0 ? UINT64_MAX : flow.spec->bytes;
  while (flow.bytes_sent < limit && send_some(flow, flow.socket, limit - flow.bytes_sent, end_of(flow)) > 0) {
  }
}

void Traffic::send_on_off(LiveFlow& flow) {
  const FlowSpec& spec = *flow.spec;
  for (nanoseconds at = flow.start; at < end_of(flow) && !ending_; at += spec.on + spec.off) {
    sleep_until(at);
    while (send_some(flow, flow.socket, out_.size(), std::min(at + spec.on, end_of(flow))) > 0) {
    }
    if (!flow.error.empty()) return;
  }
}

void Traffic::send_messages(LiveFlow& flow) {
  for (const Replay::Message& message : flow.spec->replay->messages) {
    sleep_until(std::min(flow.start + message.at, end_of(flow)));
    for (std::uint64_t left = message.bytes; left > 0;) {
      const std::uint64_t sent = send_some(flow, flow.socket, left, end_of(flow));
      if (sent == 0) return;
      left -= sent;
    }
  }
}

void Traffic::send_requests(LiveFlow& flow) {
  const FlowSpec& spec = *flow.spec;
  while (!ending_ && elapsed() < end_of(flow)) {
    const StackTime begun = stack_.now();
    for (std::uint64_t left = spec.request_bytes; left > 0;) {
      const std::uint64_t sent = send_some(flow, flow.socket, left, end_of(flow));
      if (sent == 0) return;
      left -= sent;
    }
    for (std::uint64_t left = spec.response_bytes; left > 0;) {
      const long got = flow.socket.call(SYS_recvfrom, in_.data(), std::min<std::uint64_t>(left, in_.size()), MSG_TRUNC,
                                        nullptr, nullptr);
      if (got == -EINTR && !ending_) continue;
      if (got <= 0) return;
      left -= std::uint64_t(got);
    }
    flow.latencies.push_back(stack_.now() - begun);
    if (spec.interval > 0ns) sleep_until(elapsed() + spec.interval);
  }
}

void Traffic::send_arrivals(Server& server) {
  LiveFlow& flow = server.flow;
  Random random;
  random.seed(server.seed);
  for (nanoseconds at = flow.start;;) {
    at += nanoseconds(std::llround(draw_exponential(random, 1e9 / flow.spec->arrivals)));
    const std::uint64_t bytes = draw_size(random, *flow.spec);
    if (at >= end_of(flow)) return;
    sleep_until(at);
    if (ending_) return;
    spawn("lab-transfer", [this, &server, bytes] { transfer(server, bytes); });
  }
}

void Traffic::transfer(Server& server, std::uint64_t bytes) {
  auto made = connect(server);
  if (!made) {
    if (ending_) return;
    ++server.flow.failures;
    server.flow.error = made.error().message();
    return;
  }
  const StackFd& socket = made->first;
  for (std::uint64_t left = bytes; left > 0;) {
    const std::uint64_t sent = send_some(server.flow, socket, left, scenario_.duration);
    if (sent == 0) return;
    left -= sent;
  }
  finish(socket);
}

// Says that no more will come, and waits until the receiver has it all.
void Traffic::finish(const StackFd& socket) {
  socket.call(SYS_shutdown, SHUT_WR);
  while (!ending_ && socket.call(SYS_recvfrom, in_.data(), in_.size(), MSG_TRUNC, nullptr, nullptr) > 0) {
  }
}

void Traffic::send_datagrams(Server& server) {
  LiveFlow& flow = server.flow;
  const FlowSpec& spec = *flow.spec;
  auto socket = Traffic::socket(spec.from, spec);
  if (!socket) {
    flow.error = socket.error().message();
    return;
  }
  const double interval_ns = double(spec.datagram) * 8e9 / double(spec.rate);
  for (std::uint64_t n = 0; !ending_; ++n) {
    const nanoseconds at = flow.start + nanoseconds(std::llround(double(n) * interval_ns));
    if (at >= end_of(flow)) return;
    sleep_until(at);
    const long sent = socket->call(SYS_sendto, out_.data(), spec.datagram, MSG_DONTWAIT, server.address.get(),
                                   server.address.length);
    if (sent < 0) continue;  // its own device is full, or down
    flow.bytes_sent += std::uint64_t(sent);
    ++flow.datagrams_sent;
  }
}

}  // namespace lkm::lab
