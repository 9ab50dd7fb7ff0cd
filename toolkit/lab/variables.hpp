// SPDX-License-Identifier: GPL-2.0
//
// Variables: what a congestion control remembers of a connection (inet_csk_ca()), member by member, by the names that
// they have in its source. The module does nothing for it: its debug information says where they are, and the kernel's
// memory is this process's. Only integers and enumerations; a module without debug information, as those of the kernel's
// tree are, has none.
//
// A socket's address is in /proc/net/tcp, if the kernel was booted with kVariablesCmdline. Only on fibers.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "libos-runtime/host/private_state.hpp"
#include "libos-runtime/host/stack.hpp"
#include "toolkit/lab/traffic.hpp"

namespace lkm::lab {

/// For Stack::Options::cmdline: pointers in /proc are what they are.
inline constexpr const char* kVariablesCmdline = "no_hash_pointers";

class Variables {
 public:
  explicit Variables(Stack& stack) : stack_(stack) {}

  /// Looks at the modules that are loaded now: once they are, and again after a swap.
  Result<void> learn();

  struct Value {
    std::string name;  ///< "mycc.losses": of struct mycc
    double value = 0;
  };
  /// Of the sender's socket, now; nothing without a connection, or when its control is no module that was learnt.
  std::vector<Value> read(const LiveFlow& flow);

 private:
  struct Socket {
    unsigned long inode = 0;
    const std::byte* address = nullptr;
  };
  const std::byte* address_of(const LiveFlow& flow);

  Stack& stack_;
  std::map<std::string, PrivateLayout> layouts_;  // by module
  std::map<const LiveFlow*, Socket> sockets_;     // where a flow's present socket is
};

}  // namespace lkm::lab
