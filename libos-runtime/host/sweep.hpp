// SPDX-License-Identifier: GPL-2.0
//
// Sweep: finds the words of a stack's memory that point into code that nothing runs any more, and gives those
// that hold a function's address the address of the function that took its place. It is conservative, as a
// garbage collector without type information: a number that happens to look like such an address keeps the old
// code mapped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace lkm {

class Sweep {
 public:
  /// Words in [low, high) are looked for.
  Sweep(std::uintptr_t low, std::uintptr_t high, std::map<std::uintptr_t, std::uintptr_t> replacements)
      : low_(low), size_(high - low), replacements_(std::move(replacements)) {}

  /// Goes over these words, aligned. At most a few microseconds for 64 KiB.
  void over(std::span<std::uintptr_t> words);
  void over(std::byte* low, const std::byte* high);

  /// Words that point into the old code and were left as they are.
  [[nodiscard]] std::size_t left() const { return left_; }
  [[nodiscard]] std::size_t replaced() const { return replaced_; }

 private:
  std::uintptr_t low_, size_;
  std::map<std::uintptr_t, std::uintptr_t> replacements_;
  std::size_t left_ = 0, replaced_ = 0;
};

/// The parts of a private anonymous mapping that are in memory, in pieces of at most `piece` bytes: what was
/// never touched holds no pointers.
std::vector<std::span<std::byte>> resident(std::span<std::byte> mapping, std::size_t piece);

}  // namespace lkm
