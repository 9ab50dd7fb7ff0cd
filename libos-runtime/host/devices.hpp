// SPDX-License-Identifier: GPL-2.0
//
// Device: a network device of the stack and the wire it is plugged into. The kernel's cookie for the device
// is a pointer to this.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libos-runtime/host/runtime.hpp"
#include "libos-runtime/host/wire.hpp"

namespace lkm {

struct Device {
  /// Kernel to wire; interrupt context.
  int xmit(const libos_frame_meta* meta, const libos_iov* iov, unsigned n);
  /// A descriptor of the wire's is readable; interrupt context.
  void ready();
  /// Wire to kernel; interrupt context. False when the wire broke.
  bool receive();
  /// All descriptors of the wire, or none any more.
  Result<void> watch();
  void unwatch();
  /// The wire has another end, or none: the kernel is told.
  void plugged();

  Runtime& runtime;
  std::string name;
  std::unique_ptr<Wire> wire;
  libos_netdev* netdev;
  std::vector<std::byte> buffer;  ///< of one frame
  Wire::Taker taker = {};         ///< to the kernel
  std::vector<int> watched = {};
  bool full = false;              ///< the kernel's queue stands until the wire says that it has room
  bool broken = false;            ///< for good
};

}  // namespace lkm
