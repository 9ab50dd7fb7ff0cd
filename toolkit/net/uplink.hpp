// SPDX-License-Identifier: GPL-2.0
//
// Uplink: a way to the host's network that takes no rights. A process of its own is the router at the other end of a
// device's wire: what a program on the stack sends to a host out there, it sends on over sockets of its user, by libslirp.
//
// Its network is 10.0.2.0/24: the router is 10.0.2.2, a name server 10.0.2.3 (which asks those of the host's
// /etc/resolv.conf), the stack 10.0.2.15. TCP, UDP and ping go out; nothing comes in. There is no IPv6.
#pragma once

#include <cstddef>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

/// What can be reached over an uplink.
enum class Reach {
  kInternet,  ///< all but the host's own loopback
  kHost,      ///< that too: it is what 10.0.2.2 leads to
};

namespace uplink {

inline constexpr const char* kAddress = "10.0.2.15/24";
inline constexpr const char* kGateway = "10.0.2.2";
/// Nobody else is on this Ethernet, so a frame may be as large as an IP packet: fewer of them pass.
inline constexpr unsigned kMtu = 65520;

}  // namespace uplink

class Uplink {
 public:
  /// Errors: ENOSYS without libslirp.
  static Result<Uplink> make(Reach reach);

  /// Serves the other end of a SOCK_SEQPACKET socket, as SocketWire has it (Metadata::kIgnored), until that is closed.
  /// Blocks; for a process of its own.
  void serve(UniqueFd frames);

 private:
  struct Library;
  Uplink(const Library* library, Reach reach) : library_(library), reach_(reach) {}

  const Library* library_;
  Reach reach_;
};

}  // namespace lkm
