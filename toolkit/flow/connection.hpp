// SPDX-License-Identifier: GPL-2.0
//
// The two sockets of a flow, made and connected, and what can be asked of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/result.hpp"
#include "toolkit/net/ip.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm {

/// Reliable transports. (DCCP loses packets by design, so nothing that is sent over it could be
/// required to arrive.) TELEX is that of modules/telex: messages, of which a flow sends as large
/// ones as it can.
enum class Transport : std::uint8_t { kTcp, kMptcp, kSctp, kTelex };

struct Route {
  std::string client;  ///< netns that connects; "" is the first
  std::string server;  ///< netns that listens
  Transport transport = Transport::kTcp;
  IpFamily family = IpFamily::kV4;
  /// Where the server listens. Empty: loopback within one netns, else an address of the server's
  /// netns, preferably one in a network that the client has an address in.
  std::optional<IpPrefix> address;
  std::uint16_t port = 0;  ///< 0: any free one
  std::string control;     ///< congestion control of both ends; "" is the default of each netns
};

struct Connection {
  StackFd client;
  StackFd server;
  SocketAddress address;  ///< the server's
};

/// Listens, connects and accepts. Errors: as socket(2), bind(2), connect(2), with a hint where the
/// congestion control or the protocol is not there; ETIMEDOUT after 10 s of stack time.
Result<Connection> connect_route(Stack& stack, const Route& route);

/// struct tcp_info (Linux uapi/linux/tcp.h), the part that tells how a connection fares. TELEX tells
/// the same, but for min_rtt and the rates.
struct TcpState {
  std::string state;           ///< "ESTABLISHED", as in ss(8)
  std::uint32_t cwnd = 0;      ///< segments
  std::uint32_t ssthresh = 0;  ///< segments
  std::uint32_t mss = 0;       ///< bytes
  std::chrono::microseconds rtt{};
  std::chrono::microseconds rtt_variation{};
  std::chrono::microseconds min_rtt{};
  std::uint32_t retransmits = 0;    ///< segments sent again so far
  std::uint64_t pacing_rate = 0;    ///< bit/s; 0 for none
  std::uint64_t delivery_rate = 0;  ///< bit/s
};

/// Empty for a socket that is neither TCP's nor TELEX's.
std::optional<TcpState> tcp_state(const StackFd& socket);
/// Name of the congestion control in use (getsockopt(TCP_CONGESTION)); "" for other protocols.
std::string tcp_control(const StackFd& socket);

/// Waits for one of the poll(2) `events`: 1, 0 at the deadline, or -errno.
long poll_stack(Stack& stack, int stack_fd, short events, StackTime deadline);

}  // namespace lkm
