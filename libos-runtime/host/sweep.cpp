// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/sweep.hpp"

#include <sys/mman.h>

#include <algorithm>

#include "libos-runtime/host/sanitizer.hpp"
#include "libos-runtime/host/words.hpp"

namespace lkm {

Sweep::Sweep(std::vector<Build> builds) : builds_(std::move(builds)) {
  if (builds_.empty()) return;
  low_ = std::ranges::min(builds_, {}, &Build::low).low;
  for (const Build& build : builds_) size_ = std::max(size_, build.low + build.size - low_);
}

void Sweep::begin() {
  for (Build& build : builds_) build.left = build.replaced = 0;
}

void Sweep::finish() {
  for (Build& build : builds_) build.clean = build.left + build.replaced == 0 ? build.clean + 1 : 0;
}

bool Sweep::may_go(std::size_t build) const { return !builds_[build].stays && builds_[build].clean >= 2; }

bool Sweep::settled() const {
  return std::ranges::all_of(builds_, [](const Build& build) { return build.stays || build.left != 0 || build.clean >= 2; });
}

LKM_READS_STACKS void Sweep::over(std::span<std::uintptr_t> words) {
  constexpr std::size_t kBlock = 64;
  for (std::size_t at = 0; at < words.size(); at += kBlock) {
    const auto block = words.subspan(at, std::min(kBlock, words.size() - at));
    // Without a branch in it, so that the compiler makes vector instructions of it.
    std::uintptr_t any = 0;
    for (const auto word : block) any |= std::uintptr_t(word - low_ < size_);
    if (any == 0) continue;
    for (auto& word : block) {
      if (word - low_ < size_) look_at(word);
    }
  }
}

LKM_READS_STACKS void Sweep::look_at(std::uintptr_t& word) {
  for (Build& build : builds_) {
    if (word - build.low >= build.size) continue;
    const std::uintptr_t old = word;  // find() is compiled with the sanitizer, and may not look at the word itself
    const auto now = build.replacements.find(old);
    if (now == build.replacements.end()) {
      ++build.left;
    } else {
      word = now->second;
      ++build.replaced;
    }
    return;
  }
}

void Sweep::over(std::byte* low, const std::byte* high) {
  over(words_in(low, high));
}

std::vector<std::span<std::byte>> resident(std::span<std::byte> mapping, std::size_t piece) {
  constexpr std::size_t kPage = 4096;
  std::vector<unsigned char> pages((mapping.size() + kPage - 1) / kPage);
  std::vector<std::span<std::byte>> pieces;
  if (::mincore(mapping.data(), mapping.size(), pages.data()) < 0) {
    std::ranges::fill(pages, 1);  // then all of it
  }
  for (std::size_t at = 0; at < pages.size();) {
    if ((pages[at] & 1) == 0) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < pages.size() && (pages[end] & 1) != 0 && (end - at) * kPage < piece) ++end;
    pieces.push_back(mapping.subspan(at * kPage, std::min(end * kPage, mapping.size()) - at * kPage));
    at = end;
  }
  return pieces;
}

}  // namespace lkm
