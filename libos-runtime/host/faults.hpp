// SPDX-License-Identifier: GPL-2.0
//
// Faults of kernel code: SIGSEGV, SIGBUS, SIGILL and SIGFPE on a fiber become the kernel's exceptions. A
// fault anywhere else is the program's own, and goes the way it would have gone without us.
#pragma once

#include "libos-runtime/abi/libos.h"

namespace lkm::faults {

/// Whether this thread runs kernel code now, and on which fiber stack.
struct Where {
  bool in_kernel = false;
  const void* stack = nullptr;  ///< lowest byte, nullptr if unknown
};

/// Installs the handlers. `where` is called from the handler.
void install(const libos_entry& kernel, Where (*where)());
/// Gives the calling thread the alternate stack that the handlers run on.
void prepare_thread();

}  // namespace lkm::faults
