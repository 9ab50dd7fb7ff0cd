// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/host/host_test.hpp"
#include "tests/wait_until.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

/// Ends of a pipe or of a socket pair of the host.
struct Ends {
  UniqueFd first, second;
};

Ends make_pipe() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(::pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Ends make_pair() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

void fill(int fd) {
  const std::string block(4096, 'x');
  while (::write(fd, block.data(), block.size()) > 0) {
  }
}

class WaitForAHostDescriptor : public HostTest {};

TEST_F(WaitForAHostDescriptor, EndsAtInputAtRoomAndAtHangUp) {
  run([](Stack& stack) {
    auto pipe = make_pipe();
    EXPECT_EQ(stack.wait_fd(pipe.second.get(), POLLOUT, stack.now() + 5s).value(), POLLOUT);

    auto writer = stack.spawn("writer", [&] {
      stack.sleep_for(2ms);
      EXPECT_EQ(::write(pipe.second.get(), "x", 1), 1);
    });
    EXPECT_EQ(stack.wait_fd(pipe.first.get(), POLLIN, stack.now() + 5s).value(), POLLIN);
    writer->join();

    fill(pipe.second.get());
    auto reader = stack.spawn("reader", [&] {
      stack.sleep_for(2ms);
      std::vector<char> buffer(1 << 20);
      EXPECT_GT(::read(pipe.first.get(), buffer.data(), buffer.size()), 0);
    });
    EXPECT_EQ(stack.wait_fd(pipe.second.get(), POLLOUT, stack.now() + 5s).value(), POLLOUT);
    reader->join();

    auto closer = stack.spawn("closer", [&] {
      stack.sleep_for(2ms);
      pipe.second.reset();
    });
    EXPECT_EQ(stack.wait_fd(pipe.first.get(), POLLIN, stack.now() + 5s).value() & POLLHUP, POLLHUP);
    closer->join();
  });
}

TEST_F(WaitForAHostDescriptor, EndsAtTheDeadlineAndWhenInterrupted) {
  run([](Stack& stack) {
    const auto pipe = make_pipe();
    const auto before = stack.now();
    const auto late = stack.wait_fd(pipe.first.get(), POLLIN, before + 5ms);
    expect_refused(late, ETIMEDOUT, {std::to_string(pipe.first.get())});
    EXPECT_GE(stack.now() - before, 5ms);

    int err = 0;
    auto waiter = stack.spawn(
        "waiter", [&] { err = stack.wait_fd(pipe.first.get(), POLLIN).error().errno_value(); });
    stack.sleep_for(1ms);
    waiter->interrupt();
    waiter->join();
    EXPECT_EQ(err, EINTR);

    // Neither has left anything behind.
    EXPECT_EQ(::write(pipe.second.get(), "x", 1), 1);
    EXPECT_EQ(stack.wait_fd(pipe.first.get(), POLLIN, stack.now() + 5s).value(), POLLIN);
  });
}

TEST_F(WaitForAHostDescriptor, HasOneWaiterPerDirection) {
  run([](Stack& stack) {
    const auto pair = make_pair();
    const int fd = pair.first.get();
    fill(fd);
    Result<short> in = short{0};
    Result<short> out = short{0};
    auto reader = stack.spawn("in", [&] { in = stack.wait_fd(fd, POLLIN, stack.now() + 5s); });
    auto writer = stack.spawn("out", [&] { out = stack.wait_fd(fd, POLLOUT, stack.now() + 5s); });
    stack.sleep_for(1ms);
    expect_refused(stack.wait_fd(fd, POLLIN), EBUSY, {std::to_string(fd)});

    std::vector<char> buffer(1 << 20);
    while (::read(pair.second.get(), buffer.data(), buffer.size()) > 0) {
    }
    writer->join();
    EXPECT_EQ(out.value(), POLLOUT);
    EXPECT_FALSE(reader->done());  // and it is still armed
    EXPECT_EQ(::write(pair.second.get(), "x", 1), 1);
    reader->join();
    EXPECT_EQ(in.value(), POLLIN);
  });
}

TEST_F(WaitForAHostDescriptor, IsNotMisledWhenANumberIsUsedAgain) {
  run([](Stack& stack) {
    auto old = make_pipe();
    const int number = old.first.get();
    // The old file lives on under another number, and will have an event.
    const UniqueFd alive(::fcntl(number, F_DUPFD_CLOEXEC, 0));
    EXPECT_FALSE(stack.wait_fd(number, POLLIN, stack.now() + 1ms));
    old.first.reset();
    auto fresh = make_pipe();
    ASSERT_EQ(fresh.first.get(), number);
    old.second.reset();  // hang-up of the old file
    expect_refused(stack.wait_fd(number, POLLIN, stack.now() + 10ms), ETIMEDOUT, {});
    EXPECT_EQ(::write(fresh.second.get(), "x", 1), 1);
    EXPECT_EQ(stack.wait_fd(number, POLLIN, stack.now() + 5s).value(), POLLIN);
  });
}

TEST_F(WaitForAHostDescriptor, RefusesWhatCannotBeWaitedFor) {
  run([this](Stack& stack) {
    EXPECT_EQ(stack.wait_fd(-1, POLLIN).error().errno_value(), EBADF);
    const UniqueFd file(::open(written("plain", "x").c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(stack.wait_fd(file.get(), POLLIN).error().errno_value(), EPERM);
  });
}

TEST_F(WaitForAHostDescriptor, PassesATokenAroundWithoutLosingIt) {
  run([](Stack& stack) {
    constexpr int kRounds = 2000;
    const auto pair = make_pair();
    const auto bounce = [&](int fd, bool serve) {
      char token = 't';
      for (int i = 0; i < kRounds; ++i) {
        if (serve) {
          ASSERT_EQ(::write(fd, &token, 1), 1);
        }
        ASSERT_TRUE(stack.wait_fd(fd, POLLIN, stack.now() + 10s)) << "round " << i;
        ASSERT_EQ(::read(fd, &token, 1), 1);
        if (!serve) {
          ASSERT_EQ(::write(fd, &token, 1), 1);
        }
      }
    };
    auto partner = stack.spawn("partner", [&] { bounce(pair.second.get(), false); });
    bounce(pair.first.get(), true);
    partner->join();
  });
}

class AWatchOfAHostDescriptor : public HostTest {
 protected:
  /// Returns once the stack has looked at its descriptors, and told what had come before.
  static void look(Stack& stack) {
    const auto pair = make_pair();
    bool told = false;
    ASSERT_TRUE(stack.watch_fd(pair.first.get(), [&](unsigned) { told = true; }));
    EXPECT_EQ(::write(pair.second.get(), "x", 1), 1);
    wait_until(stack, [&] { return told; });
    EXPECT_TRUE(told);
    stack.unwatch_fd(pair.first.get());
  }
};

TEST_F(AWatchOfAHostDescriptor, TellsWhatItIsAskedForAndHangUps) {
  run([](Stack& stack) {
    auto pair = make_pair();
    const int fd = pair.first.get();
    std::vector<unsigned> told;
    ASSERT_TRUE(stack.watch_fd(fd, [&](unsigned events) { told.push_back(events); }, EPOLLIN | EPOLLET));
    look(stack);
    EXPECT_EQ(told, std::vector<unsigned>{});
    EXPECT_EQ(::write(pair.second.get(), "x", 1), 1);
    look(stack);
    EXPECT_EQ(told, std::vector<unsigned>{EPOLLIN});
    ASSERT_TRUE(stack.watch_fd_for(fd, EPOLLOUT | EPOLLET));
    look(stack);
    EXPECT_EQ(told, (std::vector<unsigned>{EPOLLIN, EPOLLOUT}));
    expect_refused(stack.wait_fd(fd, POLLIN, stack.now() + 1s), EBUSY, {std::to_string(fd)});
    pair.second.reset();
    look(stack);
    ASSERT_EQ(told.size(), 3u);
    EXPECT_EQ(told[2] & EPOLLHUP, unsigned(EPOLLHUP));
    stack.unwatch_fd(fd);
    expect_refused(stack.watch_fd_for(fd, EPOLLIN), ENOENT, {std::to_string(fd)});
  });
}

TEST_F(AWatchOfAHostDescriptor, IsNotToldOfAnotherFileThatHadTheNumber) {
  run([](Stack& stack) {
    auto old = make_pair(), young = make_pair();
    const int fd = old.first.get();
    const UniqueFd copy(::dup(fd));  // so that closing does not end it, as in a copy of the process
    bool old_told = false, young_told = false;
    ASSERT_TRUE(stack.watch_fd(fd, [&](unsigned) { old_told = true; }, EPOLLIN | EPOLLET));
    stack.forget_fd(fd);
    ASSERT_EQ(::dup3(young.first.get(), fd, O_CLOEXEC), fd);
    ASSERT_TRUE(stack.watch_fd(fd, [&](unsigned) { young_told = true; }, EPOLLIN | EPOLLET));
    EXPECT_EQ(::write(old.second.get(), "x", 1), 1);
    look(stack);
    EXPECT_FALSE(old_told);
    EXPECT_FALSE(young_told);
    EXPECT_EQ(::write(young.second.get(), "x", 1), 1);
    look(stack);
    EXPECT_TRUE(young_told);
    stack.unwatch_fd(fd);
  });
}

}  // namespace
}  // namespace lkm
