// SPDX-License-Identifier: GPL-2.0
//
// Faults of kernel code: SIGSEGV, SIGBUS, SIGILL and SIGFPE on a fiber become the kernel's exceptions. A
// fault anywhere else is the program's own, and goes the way it would have gone without us.
#pragma once

#include <cstdint>

#include "libos-runtime/abi/libos.h"

namespace lkm::faults {

/// Whether this thread runs kernel code now, and on which fiber stack.
struct Where {
  bool in_kernel = false;
  const void* stack = nullptr;  ///< lowest byte, nullptr if unknown
};

/// Installs the handlers. `where` is called from the handler.
void install(const libos_entry& kernel, Where (*where)());
/// From another signal's handler, of code that runs on a fiber: it goes on in the kernel's handler of faults, as if it
/// had met this one (LIBOS_FAULT_*).
void divert(void* ucontext, std::uint64_t fault);
/// Gives the calling thread the alternate stack that the handlers run on.
void prepare_thread();

}  // namespace lkm::faults
