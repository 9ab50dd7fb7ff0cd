// SPDX-License-Identifier: GPL-2.0
//
// Random: what the kernel seeds its generator from. Real time: the host's getrandom(2). Virtual time: a
// function of the seed alone (SplitMix64, Steele, Lea and Flood 2014), so that a run can be repeated.
#pragma once

#include <sys/random.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace lkm {

class Random {
 public:
  void seed(std::uint64_t seed) {
    seeded_ = true;
    state_ = seed;
  }

  void fill(void* to, std::size_t size) {
    auto* out = static_cast<std::byte*>(to);
    while (size > 0) {
      const std::uint64_t word = seeded_ ? next() : from_host();
      const std::size_t n = size < sizeof(word) ? size : sizeof(word);
      std::memcpy(out, &word, n);
      out += n;
      size -= n;
    }
  }

 private:
  static std::uint64_t from_host() {
    std::uint64_t word = 0;
    // Up to 256 bytes getrandom(2) gives all of them, once the host is seeded.
    while (::getrandom(&word, sizeof(word), 0) != ssize_t(sizeof(word))) {
    }
    return word;
  }

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }

  bool seeded_ = false;
  std::uint64_t state_ = 0;
};

}  // namespace lkm
