// SPDX-License-Identifier: GPL-2.0
#include "toolkit/flow/stream.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

namespace lkm {
namespace {

// A transport that takes and gives uneven pieces.
class Pipe {
 public:
  void take(VerifiedStream& stream, std::uint64_t most, std::size_t piece) {
    const auto bytes = stream.outgoing(most);
    const std::size_t taken = std::min(piece, bytes.size());
    queue_.insert(queue_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
    stream.sent(taken);
  }
  void give(VerifiedStream& stream, std::size_t piece) {
    const std::size_t count = std::min(piece, queue_.size());
    const std::vector<std::byte> bytes(queue_.begin(),
                                       queue_.begin() + static_cast<std::ptrdiff_t>(count));
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(count));
    stream.received(bytes);
  }
  std::deque<std::byte>& queue() { return queue_; }

 private:
  std::deque<std::byte> queue_;
};

TEST(VerifiedStream, IsIntactWhenAllArrives) {
  VerifiedStream stream(3);
  Pipe pipe;
  while (stream.bytes_sent() < 300'000) pipe.take(stream, 300'000 - stream.bytes_sent(), 40'001);
  EXPECT_FALSE(stream.intact()) << "all of it is still under way";
  while (!pipe.queue().empty()) pipe.give(stream, 1448);
  EXPECT_TRUE(stream.intact());
  EXPECT_EQ(stream.bytes_verified(), 300'000u);
  EXPECT_EQ(stream.checksum_sent(), stream.checksum_received());
}

TEST(VerifiedStream, SaysWhereTheFirstByteDiffers) {
  VerifiedStream stream(3);
  Pipe pipe;
  pipe.take(stream, 10'000, 10'000);
  pipe.queue()[4'321] ^= std::byte{0x80};
  while (!pipe.queue().empty()) pipe.give(stream, 1000);
  EXPECT_EQ(stream.mismatch(), 4'321u);
  EXPECT_EQ(stream.bytes_verified(), 4'321u);
  EXPECT_EQ(stream.bytes_received(), 10'000u);
  EXPECT_FALSE(stream.intact());
}

TEST(VerifiedStream, NoticesALostTail) {
  VerifiedStream stream(3);
  Pipe pipe;
  pipe.take(stream, 10'000, 10'000);
  pipe.queue().pop_back();
  while (!pipe.queue().empty()) pipe.give(stream, 1000);
  EXPECT_FALSE(stream.mismatch());
  EXPECT_FALSE(stream.intact());
}

}  // namespace
}  // namespace lkm
