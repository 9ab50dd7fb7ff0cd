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
  /// A build that is mapped at `low`: words that point into it are looked for, and those that are in `replacements`
  /// get the address there.
  struct Build {
    std::uintptr_t low = 0;
    std::size_t size = 0;
    std::map<std::uintptr_t, std::uintptr_t> replacements;
    bool stays = false;        ///< whatever is found
    std::size_t left = 0;      ///< words found in this round that were left as they are
    std::size_t replaced = 0;  ///< those that were not
    unsigned clean = 0;        ///< rounds, up to the last one, in which there was neither
  };

  explicit Sweep(std::vector<Build> builds);

  /// A round goes over all memory, in pieces, while others run between them.
  void begin();
  void finish();
  /// Goes over these words, aligned. At most a few microseconds for 64 KiB.
  void over(std::span<std::uintptr_t> words);
  void over(std::byte* low, const std::byte* high);

  /// Whether nothing leads into the build any more. Two rounds must have been clean: a word that moved from where
  /// the first one had not been to where it had is seen by the second.
  [[nodiscard]] bool may_go(std::size_t build) const;
  /// Whether another round would tell nothing new: each build may go, or something holds it.
  [[nodiscard]] bool settled() const;

 private:
  void look_at(std::uintptr_t& word);

  std::vector<Build> builds_;
  std::uintptr_t low_ = 0, size_ = 0;  ///< all of them lie therein
};

/// The parts of a private anonymous mapping that are in memory, in pieces of at most `piece` bytes: what was
/// never touched holds no pointers.
std::vector<std::span<std::byte>> resident(std::span<std::byte> mapping, std::size_t piece);

}  // namespace lkm
