// SPDX-License-Identifier: GPL-2.0
//
// Probation: a change of a module (load, swap, unload) that is watched until it has proved itself. What can go wrong,
// and what is done:
//
//   the stack dies: an oops, BUG(), panic        it goes on in the copy that was taken before the change
//   the CPU does not come out of the module      the same; found by the tick's signal (Runtime)
//   a task waits for ever for a lock, or does    the same; found by the fiber of the probation, which looks at the
//   not come out of a system call                tasks inside the module
//   it sleeps where that is forbidden            the same
//   it warns all the time                        the stack is sound: the change is taken back, by a swap
//
// Without a copy the stack ends where it would go on in it (and `lkm-run up` starts it again); for a sleep the change is
// taken back.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "libos-runtime/host/stack.hpp"

namespace lkm {

/// What is on probation.
struct Change {
  enum class Kind { kLoad, kSwap, kUnload };
  Kind kind = Kind::kSwap;
  bool snapshot = false;
  std::string shown;   ///< "swap to 'mycc.so'"
  std::string module;  ///< its name; empty until that is known

  // The build before, to go back to.
  std::filesystem::path before;
  std::vector<std::byte> bytes;
  unsigned generation = 0;
  unsigned oopses = 0;  ///< of the stack, before
  bool serves = false;  ///< it is watched: what it makes of the stack may keep the command itself from its end
  StackTime until = kForever;  ///< the end of the probation; kForever: the change has not come to its end

  [[nodiscard]] const char* verb() const {
    return kind == Kind::kLoad ? "load" : kind == Kind::kSwap ? "swap" : "unload";
  }
};

/// Warnings of the module within a second of which it is taken back.
inline constexpr unsigned kStorm = 10;

/// A task that was inside the module at each look since.
struct InsideSince {
  StackTime since{};
  std::uint64_t switches = 0, calls = 0, runtime_ns = 0;
  bool seen = false;  ///< at the present look
};

}  // namespace lkm
