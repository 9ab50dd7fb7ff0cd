// SPDX-License-Identifier: GPL-2.0
//
// PrivateState: how a congestion control's private state (inet_csk_ca()) of one build becomes another's, member
// by member, by name and type. For builds whose private structures differ, so that the module cannot be renewed
// in place; what the new structure has besides is as the new code's init() makes it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libos-runtime/abi/libos.h"
#include "libos-runtime/host/layout.hpp"
#include "libos-runtime/host/plugin_file.hpp"
#include "toolkit/base/result.hpp"

namespace lkm {

struct PrivateState {
  std::string structure;               ///< "struct mycc"
  std::vector<libos_member> members;   ///< that are carried over
  std::vector<std::string> remarks;    ///< one for each member that is not as it was

  /// Bytes that a control has for it (ICSK_CA_PRIV_SIZE of net/inet_connection_sock.h).
  static constexpr std::size_t kRoom = 104;
};

/// Pairs the members of two layouts of one structure.
PrivateState pair_members(const std::string& structure, const TypeLayout& before, const TypeLayout& after);

/// Of two builds of a control. Error ENODATA with the reason: its private structure cannot be told from its
/// debug information.
Result<PrivateState> private_state(const PluginFile& before, const PluginFile& after);

/// Where in memory a control's private state is, and what its integers are called.
struct PrivateLayout {
  std::string structure;               ///< "struct mycc"
  std::vector<MemberLayout> members;   ///< integers and enumerations; bits count from the beginning of the state
  // Bytes from the beginning of the kernel's structures.
  std::size_t state = 0;  ///< icsk_ca_priv in struct inet_connection_sock
  std::size_t ops = 0;    ///< icsk_ca_ops there
  std::size_t owner = 0;  ///< owner in struct tcp_congestion_ops
  std::size_t name = 0;   ///< name in struct module
};

/// Of a build of a control. Errors: as private_state(); as read_layouts().
Result<PrivateLayout> private_layout(std::span<const std::byte> file, const std::string& shown);

}  // namespace lkm
