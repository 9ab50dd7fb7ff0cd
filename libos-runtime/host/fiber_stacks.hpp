// SPDX-License-Identifier: GPL-2.0
//
// FiberStacks: call stacks for fibers. Each has a guard page below it, takes memory only where it was
// touched, and is kept for the next fiber when its fiber ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lkm {

class FiberStacks {
 public:
  FiberStacks() = default;
  FiberStacks(const FiberStacks&) = delete;
  FiberStacks& operator=(const FiberStacks&) = delete;
  ~FiberStacks();

  /// Lowest byte of `size` bytes; all stacks must have one size. nullptr: out of memory.
  void* allocate(std::size_t size);
  void free(void* stack);

  /// Whether the address is in the guard page of the stack that begins at `stack`.
  static bool in_guard(const void* stack, std::uintptr_t address);

 private:
  static constexpr std::size_t kKept = 16;

  std::size_t size_ = 0;
  std::vector<void*> kept_;
};

}  // namespace lkm
