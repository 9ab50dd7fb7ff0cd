// SPDX-License-Identifier: GPL-2.0
//
// VerifiedStream: one direction of a flow, both of its ends. It makes the bytes to send, checks
// those that arrive, and keeps a running checksum (XXH3) of either side, so that two independent
// witnesses must agree: each byte is what the pattern says, and both ends saw the same sequence.
#pragma once

#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "toolkit/flow/pattern.hpp"

namespace lkm {

class VerifiedStream {
 public:
  explicit VerifiedStream(std::uint64_t seed);

  /// The next bytes to send: at least one, at most `most` (> 0) and 64 KiB. Valid until sent().
  std::span<const std::byte> outgoing(std::uint64_t most);
  /// The transport took the first `count` bytes of outgoing().
  void sent(std::size_t count);
  /// These bytes arrived. Past the first mismatch nothing is compared any more.
  void received(std::span<const std::byte> data);

  [[nodiscard]] std::uint64_t bytes_sent() const { return sent_; }
  [[nodiscard]] std::uint64_t bytes_received() const { return received_; }
  [[nodiscard]] std::uint64_t bytes_verified() const { return mismatch_.value_or(received_); }
  /// Offset in the stream of the first byte that differs.
  [[nodiscard]] std::optional<std::uint64_t> mismatch() const { return mismatch_; }
  [[nodiscard]] std::uint64_t checksum_sent() const { return XXH3_64bits_digest(hash_sent_.get()); }
  [[nodiscard]] std::uint64_t checksum_received() const {
    return XXH3_64bits_digest(hash_received_.get());
  }
  /// All that was sent arrived, and all of it is right.
  [[nodiscard]] bool intact() const;

 private:
  struct FreeHash {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  using Hash = std::unique_ptr<XXH3_state_t, FreeHash>;

  Pattern pattern_;
  std::vector<std::byte> buffer_;  // the stream from buffer_start_ on
  std::uint64_t buffer_start_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t received_ = 0;
  std::optional<std::uint64_t> mismatch_;
  Hash hash_sent_;
  Hash hash_received_;
};

}  // namespace lkm
