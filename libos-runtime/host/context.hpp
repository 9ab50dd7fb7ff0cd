// SPDX-License-Identifier: GPL-2.0
//
// Context: where execution stands on a call stack, and the switch between two of them. Used where a
// host thread enters and leaves the library kernel's fibers; between fibers the kernel switches itself.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lkm {

struct Context {
  void* sp = nullptr;
};

extern "C" void lkm_context_switch(Context* save, const Context* load);

/// A context that will run entry(argument) on the stack [low, low + size). `entry` must not return.
Context make_context(void* low, std::size_t size, void (*entry)(void*), void* argument);

}  // namespace lkm
