// SPDX-License-Identifier: GPL-2.0
#include "toolkit/base/descriptor_message.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <string_view>

namespace lkm {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

class DescriptorMessage : public ::testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    one_ = UniqueFd(ends[0]);
    other_ = UniqueFd(ends[1]);
  }
  UniqueFd one_, other_;
  std::array<std::byte, 16> buffer_{};
};

TEST_F(DescriptorMessage, CarriesBytesAndCopiesOfDescriptorsThatAreClosedOnExec) {
  struct stat sent {}, got {};
  ASSERT_EQ(::fstat(one_.get(), &sent), 0);
  ASSERT_TRUE(send_message(one_.get(), bytes_of("hello"), std::array{one_.get(), other_.get()}));
  const auto received = receive_message(other_.get(), buffer_);
  ASSERT_TRUE(received);
  EXPECT_EQ(received->size, 5u);
  EXPECT_EQ(buffer_[4], std::byte('o'));
  EXPECT_TRUE(received->whole);
  ASSERT_EQ(received->descriptors.size(), 2u);
  ASSERT_EQ(::fstat(received->descriptors[0].get(), &got), 0);
  EXPECT_EQ(got.st_ino, sent.st_ino);
  EXPECT_EQ(::fcntl(received->descriptors[0].get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(DescriptorMessage, OneWithoutADescriptorHasNone) {
  ASSERT_TRUE(send_message(one_.get(), bytes_of("plain")));
  const auto received = receive_message(other_.get(), buffer_);
  ASSERT_TRUE(received);
  EXPECT_TRUE(received->whole && received->descriptors.empty());
}

TEST_F(DescriptorMessage, SaysWhenSomethingWasCutOff) {
  ASSERT_TRUE(send_message(one_.get(), bytes_of("more than there is room for"), std::array{one_.get()}));
  const auto received = receive_message(other_.get(), buffer_);
  ASSERT_TRUE(received);
  EXPECT_EQ(received->size, buffer_.size());
  EXPECT_FALSE(received->whole);
  EXPECT_EQ(received->descriptors.size(), 1u);
}

TEST_F(DescriptorMessage, AnEndThatIsGoneIsAnEmptyMessageAndAnErrorForWhoSends) {
  one_.reset();
  const auto received = receive_message(other_.get(), buffer_);
  ASSERT_TRUE(received);
  EXPECT_EQ(received->size, 0u);
  const auto sent = send_message(other_.get(), bytes_of("anybody?"));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().errno_value(), EPIPE);
}

TEST_F(DescriptorMessage, WhoDoesNotWaitIsToldThatThereIsNone) {
  const auto received = receive_message(other_.get(), buffer_, MSG_DONTWAIT);
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().errno_value(), EAGAIN);
}

}  // namespace
}  // namespace lkm
