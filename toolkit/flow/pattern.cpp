// SPDX-License-Identifier: GPL-2.0
#include "toolkit/flow/pattern.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace lkm {
namespace {

static_assert(std::endian::native == std::endian::little, "a word's first byte is its lowest");

// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
std::uint64_t mix(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// Xorshift: Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8 (2003).
std::uint64_t next(std::uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

}  // namespace

Pattern::Pattern(std::uint64_t seed) : seed_(seed), table_(kWords) {
  std::uint64_t state = mix(seed) | 1;  // never zero, which xorshift cannot leave
  for (std::uint64_t& entry : table_) entry = next(state);
}

std::uint64_t Pattern::word(std::uint64_t index) const {
  return table_[index % kWords] ^ mix(seed_ ^ (index / kWords));
}

void Pattern::fill(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const std::uint64_t index = offset / 8;
    const std::size_t skip = offset % 8;
    std::size_t done = 0;
    if (skip != 0 || out.size() < 8) {  // a part of one word
      const std::uint64_t value = word(index);
      done = std::min(8 - skip, out.size());
      std::memcpy(out.data(), reinterpret_cast<const std::byte*>(&value) + skip, done);
    } else {  // whole words, up to the end of the block
      const std::size_t first = index % kWords;
      const std::size_t count = std::min(kWords - first, out.size() / 8);
      const std::uint64_t key = mix(seed_ ^ (index / kWords));
      for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t value = table_[first + i] ^ key;
        std::memcpy(out.data() + i * 8, &value, 8);
      }
      done = count * 8;
    }
    offset += done;
    out = out.subspan(done);
  }
}

std::optional<std::size_t> Pattern::mismatch(std::uint64_t offset,
                                             std::span<const std::byte> data) const {
  std::byte expected[4096];
  for (std::size_t at = 0; at < data.size();) {
    const std::size_t count = std::min(sizeof expected, data.size() - at);
    fill(offset + at, std::span(expected, count));
    if (std::memcmp(expected, data.data() + at, count) != 0)
      return at + static_cast<std::size_t>(
                      std::mismatch(expected, expected + count, data.data() + at).first - expected);
    at += count;
  }
  return std::nullopt;
}

}  // namespace lkm
