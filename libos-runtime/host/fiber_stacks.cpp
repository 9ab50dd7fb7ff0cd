// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/fiber_stacks.hpp"

#include <sys/mman.h>

#include "libos-runtime/host/sanitizer.hpp"
#include "toolkit/base/assert.hpp"

namespace lkm {
namespace {

constexpr std::size_t kGuard = 4096;

}  // namespace

FiberStacks::~FiberStacks() {
  for (void* stack : kept_) ::munmap(static_cast<char*>(stack) - kGuard, size_ + kGuard);
}

void* FiberStacks::allocate(std::size_t size) {
  LKM_ASSERT(size_ == 0 || size_ == size);
  size_ = size;
  if (!kept_.empty()) {
    void* stack = kept_.back();
    kept_.pop_back();
    sanitizer::claim_stack(stack, size);
    return stack;
  }
  void* memory = ::mmap(nullptr, size + kGuard, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  ::mprotect(memory, kGuard, PROT_NONE);
  void* stack = static_cast<char*>(memory) + kGuard;
  sanitizer::claim_stack(stack, size);
  return stack;
}

void FiberStacks::free(void* stack) {
  sanitizer::forget_frames(stack, size_);
  sanitizer::release_stack(stack, size_);
  if (kept_.size() < kKept) {
    kept_.push_back(stack);
    return;
  }
  ::munmap(static_cast<char*>(stack) - kGuard, size_ + kGuard);
}

bool FiberStacks::in_guard(const void* stack, std::uintptr_t address) {
  const auto low = reinterpret_cast<std::uintptr_t>(stack);
  return address < low && address >= low - kGuard;
}

}  // namespace lkm
