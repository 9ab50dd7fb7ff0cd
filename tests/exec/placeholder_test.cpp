// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/placeholder.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "toolkit/exec/process.hpp"

namespace lkm::exec {
namespace {

class PlaceholderTest : public ::testing::TestWithParam<int> {
 protected:
  short shown() const {
    pollfd one{.fd = end_.get(), .events = POLLIN | POLLOUT | POLLRDHUP, .revents = 0};
    ::poll(&one, 1, 0);
    return one.revents;
  }
  unsigned stack_events() const {
    pollfd one{.fd = placeholder_.fd(), .events = 0, .revents = 0};
    ::poll(&one, 1, 0);
    return unsigned(one.revents);
  }

  std::pair<Placeholder, UniqueFd> pair_ =
      Placeholder::make(Placeholder::Buffers::kSmall, false, GetParam()).value();
  Placeholder& placeholder_ = pair_.first;
  UniqueFd& end_ = pair_.second;
};

INSTANTIATE_TEST_SUITE_P(Of, PlaceholderTest, ::testing::Values(SOCK_STREAM, SOCK_SEQPACKET),
                         [](const auto& type) { return type.param == SOCK_STREAM ? "Bytes" : "Messages"; });

TEST_P(PlaceholderTest, IsKnownByTheInodeOfTheProgramsEnd) {
  EXPECT_EQ(socket_inode(end_.get()), placeholder_.inode());
  const UniqueFd copy(::dup(end_.get()));
  EXPECT_EQ(socket_inode(copy.get()), placeholder_.inode());
  EXPECT_NE(Placeholder::make().value().first.inode(), placeholder_.inode());
}

TEST_P(PlaceholderTest, ShowsInputAndRoomApart) {
  for (const short level : {POLLOUT, 0, POLLIN, POLLIN | POLLOUT, 0, POLLIN | POLLOUT, POLLOUT, POLLIN, 0}) {
    placeholder_.show(unsigned(level), end_.get());
    EXPECT_EQ(shown(), level);
  }
}

TEST_P(PlaceholderTest, RaisesWithoutTheProgramsEnd) {
  placeholder_.show(0, end_.get());
  placeholder_.raise(POLLIN);
  EXPECT_EQ(shown(), POLLIN);
  placeholder_.raise(POLLOUT);
  EXPECT_EQ(shown(), POLLIN | POLLOUT);
}

TEST_P(PlaceholderTest, MakesAnEdgeWhereTheLevelStays) {
  const UniqueFd set(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {}};
  ASSERT_EQ(::epoll_ctl(set.get(), EPOLL_CTL_ADD, end_.get(), &event), 0);
  placeholder_.raise(POLLIN);
  EXPECT_EQ(::epoll_wait(set.get(), &event, 1, 0), 1);
  placeholder_.raise(POLLIN);
  EXPECT_EQ(::epoll_wait(set.get(), &event, 1, 0), 0);
  placeholder_.raise_edge();
  EXPECT_EQ(::epoll_wait(set.get(), &event, 1, 0), 1);
  placeholder_.show(POLLOUT, end_.get());
  EXPECT_EQ(shown(), POLLOUT);
}

TEST_P(PlaceholderTest, GoesOnWhereAnotherProcessLeftIt) {
  // As a stack that goes on from a snapshot: its own memory says what was shown before.
  ::send(placeholder_.fd(), "", 1, 0);
  placeholder_.look_again();
  placeholder_.show(0, end_.get());
  EXPECT_EQ(shown(), 0);
  char filling[4096];
  ::recv(placeholder_.fd(), filling, sizeof(filling), 0);
  placeholder_.look_again();
  placeholder_.show(0, end_.get());
  EXPECT_EQ(shown(), 0);
  EXPECT_FALSE(placeholder_.closed());
}

TEST_P(PlaceholderTest, CarriesAfterItHasShownWhatever) {
  for (const unsigned level : {0, POLLIN, POLLOUT, POLLIN | POLLOUT}) {
    auto [placeholder, end] = Placeholder::make(Placeholder::Buffers::kSmall, false, GetParam()).value();
    placeholder.show(level, end.get());
    if ((level & POLLIN) != 0) placeholder.raise_edge();
    placeholder.begin_to_carry(end.get());
    char bytes[100'000] = {};
    EXPECT_EQ(::recv(end.get(), bytes, sizeof(bytes), MSG_DONTWAIT), -1);
    EXPECT_EQ(::send(end.get(), bytes, 65'507, MSG_DONTWAIT), 65'507);
    EXPECT_EQ(::recv(placeholder.fd(), bytes, sizeof(bytes), MSG_DONTWAIT), 65'507);
  }
}

TEST_P(PlaceholderTest, HangsUp) {
  placeholder_.raise(POLLHUP);  // a TCP socket that was never connected
  EXPECT_EQ(shown(), POLLOUT);
  placeholder_.raise(POLLIN | POLLRDHUP);
  EXPECT_EQ(shown(), POLLIN | POLLOUT | POLLRDHUP);
  placeholder_.raise(POLLIN | POLLRDHUP | POLLHUP);
  EXPECT_EQ(shown() & (POLLIN | POLLRDHUP | POLLHUP), POLLIN | POLLRDHUP | POLLHUP);
}

TEST_P(PlaceholderTest, SeesTheLastCopyGoHoweverFarItWas) {
  for (const unsigned level : {0, POLLIN, POLLIN | POLLRDHUP, POLLIN | POLLRDHUP | POLLHUP}) {
    auto [placeholder, end] = Placeholder::make(Placeholder::Buffers::kSmall, false, GetParam()).value();
    placeholder.show(level, end.get());
    UniqueFd copy(::dup(end.get()));
    const auto closed = [&, &holder = placeholder] {
      pollfd one{.fd = holder.fd(), .events = 0, .revents = 0};
      ::poll(&one, 1, 0);
      return holder.closed(unsigned(one.revents));
    };
    end.reset();
    EXPECT_FALSE(closed()) << level;
    copy.reset();
    EXPECT_TRUE(closed()) << level;
  }
}

}  // namespace
}  // namespace lkm::exec
