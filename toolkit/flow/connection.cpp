// SPDX-License-Identifier: GPL-2.0
#include "toolkit/flow/connection.hpp"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "modules/telex/telex_user.h"
#include "toolkit/net/rtnl.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

constexpr auto kConnectTimeout = 10s;
constexpr int kSctpBuffer = 1 << 20;  // bytes
constexpr int kMptcp = 262;           // IPPROTO_MPTCP, newer than some headers
constexpr std::uint64_t kNoPacing = UINT64_MAX;

int protocol_number(Transport transport) {
  switch (transport) {
    case Transport::kTcp:
      return IPPROTO_TCP;
    case Transport::kMptcp:
      return kMptcp;
    case Transport::kSctp:
      return IPPROTO_SCTP;
    case Transport::kTelex:
      return IPPROTO_TELEX;
  }
  return 0;
}

/// What to type when there is no such protocol; "" when it cannot be missing.
std::string how_to_get(Transport transport) {
  if (transport == Transport::kSctp) return "lkm-run load sctp";
  if (transport == Transport::kTelex) return "lkm-run load modules/telex";
  return "";
}

/// A state of struct tcp_info, as ss(8) calls it.
const char* state_name(unsigned state) {
  static constexpr const char* kStates[] = {
      "UNKNOWN", "ESTABLISHED", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2",  "TIME-WAIT",
      "CLOSED",  "CLOSE-WAIT",  "LAST-ACK", "LISTEN",   "CLOSING",    "NEW-SYN-RECV"};
  return state < std::size(kStates) ? kStates[state] : kStates[0];
}

Failure failure(long result, const std::string& what) {
  return fail(static_cast<int>(-result), "{}", what);
}

Result<StackFd> make_socket(Stack& stack, const std::string& netns, const Route& route) {
  const bool messages = route.transport == Transport::kTelex;
  auto socket = socket_in(stack, netns, static_cast<int>(route.family),
                          messages ? SOCK_SEQPACKET : SOCK_STREAM, protocol_number(route.transport));
  // A type of which no protocol is registered is answered by ESOCKTNOSUPPORT (inet_create()).
  if (!socket && !how_to_get(route.transport).empty() &&
      (socket.error().errno_value() == EPROTONOSUPPORT ||
       socket.error().errno_value() == ESOCKTNOSUPPORT))
    return Failure(std::move(socket).error().with_hint(how_to_get(route.transport)));
  if (!socket) return socket;
  if (route.transport == Transport::kSctp) {
    // SCTP's buffers do not grow by themselves as TCP's do. A window of less than two packets (of
    // 64 KiB over loopback) makes each wait for the delayed acknowledgement (RFC 9260, 6.2).
    socket->set_option(SOL_SOCKET, SO_RCVBUFFORCE, kSctpBuffer);
    socket->set_option(SOL_SOCKET, SO_SNDBUFFORCE, kSctpBuffer);
  }
  if (route.control.empty()) return socket;
  if (!how_to_get(route.transport).empty())
    return fail(EINVAL, "congestion control '{}': {} has its own", route.control,
                messages ? "TELEX" : "SCTP");
  const long set = socket->call(SYS_setsockopt, IPPROTO_TCP, TCP_CONGESTION, route.control.data(),
                                route.control.size());
  if (set == -ENOENT)
    return fail_hint(ENOENT, fmt::format("lkm-run load {}", route.control),
                     "congestion control '{}' is not loaded", route.control);
  if (set < 0) return failure(set, fmt::format("set congestion control '{}'", route.control));
  return socket;
}

Result<IpPrefix> server_address(Stack& stack, const Route& route) {
  if (route.address) return *route.address;
  if (route.client == route.server)
    return IpPrefix::parse(route.family == IpFamily::kV4 ? "127.0.0.1" : "::1");
  const auto addresses = [&](const std::string& netns) -> Result<std::vector<IpPrefix>> {
    LKM_TRY(Rtnl net, Rtnl::open(stack, netns));
    LKM_TRY(auto all, net.addresses());
    std::erase_if(all, [&](const IpPrefix& one) { return one.family != route.family; });
    return all;
  };
  LKM_TRY(const auto servers, addresses(route.server));
  LKM_TRY(const auto clients, addresses(route.client));
  if (servers.empty())
    return fail_hint(EADDRNOTAVAIL,
                     fmt::format("lkm-run link add {} {}", route.client, route.server),
                     "netns '{}' has no {} address", route.server,
                     route.family == IpFamily::kV4 ? "IPv4" : "IPv6");
  const auto near = std::ranges::find_if(servers, [&](const IpPrefix& server) {
    return std::ranges::any_of(clients,
                               [&](const IpPrefix& client) { return server.contains(client); });
  });
  return near != servers.end() ? *near : servers.front();
}

Result<void> wait_connected(Stack& stack, const StackFd& socket, const std::string& doing) {
  const long ready = poll_stack(stack, socket.get(), POLLOUT, stack.now() + kConnectTimeout);
  if (ready == 0) return failure(-ETIMEDOUT, doing);
  if (ready < 0) return failure(ready, doing);
  int error = 0;
  socklen_t length = sizeof error;
  const long got = socket.call(SYS_getsockopt, SOL_SOCKET, SO_ERROR, &error, &length);
  if (got < 0) return failure(got, doing);
  if (error != 0) return failure(-error, doing);
  return {};
}

}  // namespace

long poll_stack(Stack& stack, int stack_fd, short events, StackTime deadline) {
  pollfd wanted{stack_fd, events, 0};
  timespec left{};
  if (deadline != kForever) {
    const auto remaining = std::max(deadline - stack.now(), StackTime::zero());
    left.tv_sec = remaining / 1s;
    left.tv_nsec = (remaining % 1s).count();
  }
  return stack.syscall(SYS_ppoll, &wanted, 1, deadline == kForever ? nullptr : &left, nullptr, 0);
}

Result<Connection> connect_route(Stack& stack, const Route& route) {
  LKM_TRY(const IpPrefix target, server_address(stack, route));
  if (target.family != route.family)
    return fail(EINVAL, "address {} is of the other family", target.address());
  const std::string place = fmt::format("{} in netns '{}'", target.address(), route.server);
  LKM_TRY(StackFd listener, make_socket(stack, route.server, route));
  listener.set_option(SOL_SOCKET, SO_REUSEADDR, int{1});
  Connection made{.address = SocketAddress(target, route.port)};
  SocketAddress& address = made.address;
  long result = listener.call(SYS_bind, address.get(), address.length);
  if (result < 0) return failure(result, fmt::format("bind {} port {}", place, route.port));
  result = listener.call(SYS_listen, 1);
  if (result < 0) return failure(result, fmt::format("listen on {}", place));
  address.length = sizeof address.storage;
  result = listener.call(SYS_getsockname, address.get(), &address.length);
  if (result < 0) return failure(result, fmt::format("name of the socket on {}", place));

  const std::string doing =
      fmt::format("connect from netns '{}' to {} port {}", route.client, place, address.port());
  LKM_TRY(made.client, make_socket(stack, route.client, route));
  // Non-blocking until connected, so that an unreachable server costs seconds and not minutes.
  const long flags = made.client.call(SYS_fcntl, F_GETFL);
  made.client.call(SYS_fcntl, F_SETFL, flags | O_NONBLOCK);
  result = made.client.call(SYS_connect, address.get(), address.length);
  if (result == -EINPROGRESS)
    LKM_CHECK(wait_connected(stack, made.client, doing));
  else if (result < 0)
    return failure(result, doing);
  made.client.call(SYS_fcntl, F_SETFL, flags);

  const long ready = poll_stack(stack, listener.get(), POLLIN, stack.now() + kConnectTimeout);
  if (ready <= 0)
    return failure(ready < 0 ? ready : -ETIMEDOUT, fmt::format("accept on {}", place));
  const long accepted = listener.call(SYS_accept4, nullptr, nullptr, 0);
  if (accepted < 0) return failure(accepted, fmt::format("accept on {}", place));
  made.server = StackFd(stack, static_cast<int>(accepted));
  return made;
}

namespace {

// TELEX has no minimum of the round-trip time, and no pacing.
std::optional<TcpState> telex_state(const StackFd& socket) {
  telex_info info{};
  socklen_t length = sizeof info;
  if (socket.call(SYS_getsockopt, SOL_TELEX, TELEX_INFO, &info, &length) < 0) return std::nullopt;
  TcpState out;
  out.state = state_name(info.state);
  out.cwnd = info.cwnd;
  out.ssthresh = info.ssthresh;
  out.mss = info.mss;
  out.rtt = std::chrono::microseconds(info.srtt_us);
  out.rtt_variation = std::chrono::microseconds(info.rttvar_us);
  out.retransmits = info.retransmits;
  return out;
}

}  // namespace

std::optional<TcpState> tcp_state(const StackFd& socket) {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (socket.call(SYS_getsockopt, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
    return telex_state(socket);
  TcpState out;
  out.state = state_name(info.tcpi_state);
  out.cwnd = info.tcpi_snd_cwnd;
  out.ssthresh = info.tcpi_snd_ssthresh;
  out.mss = info.tcpi_snd_mss;
  out.rtt = std::chrono::microseconds(info.tcpi_rtt);
  out.rtt_variation = std::chrono::microseconds(info.tcpi_rttvar);
  out.min_rtt = std::chrono::microseconds(info.tcpi_min_rtt);
  out.retransmits = info.tcpi_total_retrans;
  out.pacing_rate = info.tcpi_pacing_rate == kNoPacing ? 0 : info.tcpi_pacing_rate * 8;
  out.delivery_rate = info.tcpi_delivery_rate * 8;
  return out;
}

std::string tcp_control(const StackFd& socket) {
  char name[16] = "";  // TCP_CA_NAME_MAX
  socklen_t length = sizeof name;
  if (socket.call(SYS_getsockopt, IPPROTO_TCP, TCP_CONGESTION, name, &length) < 0) return {};
  return std::string(name, strnlen(name, length));
}

}  // namespace lkm
