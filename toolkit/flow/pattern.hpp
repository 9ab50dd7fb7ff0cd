// SPDX-License-Identifier: GPL-2.0
//
// Pattern: an endless pseudo-random byte stream that both ends of a flow know.
//
// The byte at any offset follows from the seed alone, so the receiver checks every byte against
// what must be there: a lost, doubled, swapped or altered piece is found at its first byte. It is
// cheap: a table of 64 KiB is made once, and block n of the stream is the table XORed with a 64-bit
// key of n. bench/ measures what that costs a bulk flow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace lkm {

class Pattern {
 public:
  explicit Pattern(std::uint64_t seed);

  /// Writes the stream's bytes from `offset` on.
  void fill(std::uint64_t offset, std::span<std::byte> out) const;
  /// Index of the first byte of `data` that is not the stream's from `offset` on.
  [[nodiscard]] std::optional<std::size_t> mismatch(std::uint64_t offset,
                                                    std::span<const std::byte> data) const;

 private:
  static constexpr std::size_t kWords = 8192;

  [[nodiscard]] std::uint64_t word(std::uint64_t index) const;

  std::uint64_t seed_;
  std::vector<std::uint64_t> table_;
};

}  // namespace lkm
