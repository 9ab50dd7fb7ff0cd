// SPDX-License-Identifier: GPL-2.0
#include "toolkit/flow/stream.hpp"

#include <algorithm>

namespace lkm {
namespace {

constexpr std::size_t kBuffer = 64 << 10;

XXH3_state_t* new_hash() {
  XXH3_state_t* state = XXH3_createState();
  XXH3_64bits_reset(state);
  return state;
}

}  // namespace

VerifiedStream::VerifiedStream(std::uint64_t seed)
    : pattern_(seed), hash_sent_(new_hash()), hash_received_(new_hash()) {}

std::span<const std::byte> VerifiedStream::outgoing(std::uint64_t most) {
  if (sent_ >= buffer_start_ + buffer_.size()) {
    buffer_.resize(kBuffer);
    buffer_start_ = sent_;
    pattern_.fill(buffer_start_, buffer_);
  }
  const std::size_t skip = sent_ - buffer_start_;
  return std::span(buffer_).subspan(skip, std::min<std::uint64_t>(most, kBuffer - skip));
}

void VerifiedStream::sent(std::size_t count) {
  XXH3_64bits_update(hash_sent_.get(), buffer_.data() + (sent_ - buffer_start_), count);
  sent_ += count;
}

void VerifiedStream::received(std::span<const std::byte> data) {
  XXH3_64bits_update(hash_received_.get(), data.data(), data.size());
  if (!mismatch_) {
    if (const auto wrong = pattern_.mismatch(received_, data)) mismatch_ = received_ + *wrong;
  }
  received_ += data.size();
}

bool VerifiedStream::intact() const {
  return !mismatch_ && received_ == sent_ && checksum_sent() == checksum_received();
}

}  // namespace lkm
