// SPDX-License-Identifier: GPL-2.0
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tests/protocols/stack_test.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

class Epoll : public StackTest {
 protected:
  static StackFd create(Stack& stack) {
    const long fd = stack.syscall(SYS_epoll_create1, 0);
    return succeeds(fd, "epoll_create1") ? StackFd(stack, static_cast<int>(fd)) : StackFd();
  }
  static void add(const StackFd& epoll, const StackFd& watched, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = watched.get();
    succeeds(epoll.call(SYS_epoll_ctl, EPOLL_CTL_ADD, watched.get(), &event), "epoll_ctl");
  }
  // Events that are there, or come within `timeout_ms`.
  static std::vector<epoll_event> wait(const StackFd& epoll, int timeout_ms) {
    std::vector<epoll_event> events(8);
    const long count = epoll.call(SYS_epoll_wait, events.data(), events.size(), timeout_ms);
    if (!succeeds(count, "epoll_wait")) return {};
    events.resize(static_cast<std::size_t>(count));
    return events;
  }
};

TEST_F(Epoll, WakesWhenDataArrivesAndNotBefore) {
  boot([](Stack& stack) {
    const auto pair = connect_sockets(stack, "127.0.0.1", SOCK_STREAM, 0);
    ASSERT_TRUE(pair);
    const StackFd epoll = create(stack);
    add(epoll, pair->server, EPOLLIN);
    const StackTime start = stack.now();
    EXPECT_TRUE(wait(epoll, 20).empty());
    EXPECT_GE(stack.now() - start, 19ms);
    auto writer = stack.spawn("writer", [&] {
      stack.sleep_for(5ms);
      pair->client.call(SYS_sendto, "x", 1, 0, nullptr, 0);
    });
    ASSERT_TRUE(writer);
    const auto events = wait(epoll, 5000);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].data.fd, pair->server.get());
    EXPECT_TRUE(events[0].events & EPOLLIN);
    writer->join();
  });
}

TEST_F(Epoll, RepeatsALevelAndTellsAnEdgeOnce) {
  boot([](Stack& stack) {
    const auto pair = connect_sockets(stack, "127.0.0.1", SOCK_STREAM, 0);
    ASSERT_TRUE(pair);
    const StackFd level = create(stack);
    const StackFd edge = create(stack);
    add(level, pair->server, EPOLLIN);
    add(edge, pair->server, EPOLLIN | EPOLLET);
    pair->client.call(SYS_sendto, "x", 1, 0, nullptr, 0);
    for (int i = 0; i < 2; ++i) EXPECT_EQ(wait(level, 1000).size(), 1u);
    EXPECT_EQ(wait(edge, 1000).size(), 1u);
    EXPECT_EQ(wait(edge, 0).size(), 0u);
    pair->client.call(SYS_sendto, "y", 1, 0, nullptr, 0);
    EXPECT_EQ(wait(edge, 1000).size(), 1u);
  });
}

TEST_F(Epoll, TellsOfTheOtherEndsClose) {
  boot([](Stack& stack) {
    auto pair = connect_sockets(stack, "127.0.0.1", SOCK_STREAM, 0);
    ASSERT_TRUE(pair);
    const StackFd epoll = create(stack);
    add(epoll, pair->server, EPOLLIN | EPOLLRDHUP);
    pair->client.reset();
    const auto events = wait(epoll, 1000);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_TRUE(events[0].events & EPOLLRDHUP);
  });
}

TEST_F(Epoll, WatchesAnotherEpoll) {
  boot([](Stack& stack) {
    const auto pair = connect_sockets(stack, "127.0.0.1", SOCK_STREAM, 0);
    ASSERT_TRUE(pair);
    const StackFd inner = create(stack);
    const StackFd outer = create(stack);
    add(inner, pair->server, EPOLLIN);
    add(outer, inner, EPOLLIN);
    EXPECT_TRUE(wait(outer, 0).empty());
    pair->client.call(SYS_sendto, "x", 1, 0, nullptr, 0);
    EXPECT_EQ(wait(outer, 1000).size(), 1u);
  });
}

}  // namespace
}  // namespace lkm
