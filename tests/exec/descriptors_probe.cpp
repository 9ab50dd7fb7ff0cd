// SPDX-License-Identifier: GPL-2.0
//
// What a program may expect of a socket's descriptor: readiness, copies, inheritance.
#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include <csignal>

#include <array>
#include <chrono>
#include <thread>

#include "tests/exec/sockets.hpp"

namespace lkm::probe {
namespace {

TEST(Descriptor, IsASocketUntilItIsClosed) {
  UniqueFd fd = open_socket(SOCK_STREAM);
  struct stat status {};
  ASSERT_EQ(::fstat(fd.get(), &status), 0);
  EXPECT_TRUE(S_ISSOCK(status.st_mode));
  const int number = fd.get();
  fd.reset();
  EXPECT_EQ(::listen(number, 1), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(::lseek(open_socket(SOCK_DGRAM).get(), 0, SEEK_CUR), -1);
  EXPECT_EQ(errno, ESPIPE);
}

TEST(Descriptor, OfAConnectionHasTheLowestNumber) {
  UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = file.get();
  const auto [server, address] = listening();
  file.reset();
  const UniqueFd client = open_socket(SOCK_STREAM);
  EXPECT_EQ(client.get(), number);
  ASSERT_EQ(connect_to(client, address), 0);
  const UniqueFd accepted(::accept(server.get(), nullptr, nullptr));
  EXPECT_EQ(accepted.get(), server.get() + 1);
}

TEST(Descriptor, ManyAreOpenedAndTheirNumbersUsedAgain) {
  std::array<UniqueFd, 200> many;
  for (UniqueFd& fd : many) fd = open_socket(SOCK_STREAM);
  const int number = many[50].get();
  many[50].reset();
  // A file may take the number meanwhile; then it is a file.
  const UniqueFd file(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const UniqueFd at(file.get() == number ? -1 : ::dup3(file.get(), number, O_CLOEXEC));
  char byte = 1;
  EXPECT_EQ(::read(number, &byte, 1), 1);
  EXPECT_EQ(byte, 0);
}

TEST(Descriptor, LeavesItsAddressToTheNextWhenItIsClosed) {
  for (int round = 0; round < 300; ++round) {
    auto [server, address] = listening();
    server.reset();
    const UniqueFd client = open_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(client, address), -1) << round;
    EXPECT_EQ(errno, ECONNREFUSED);
    const UniqueFd next = open_socket(SOCK_STREAM);
    ASSERT_EQ(::bind(next.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0) << round << std::strerror(errno);
  }
}

TEST(Descriptor, TakesNoDatagramOnceItIsClosed) {
  for (int round = 0; round < 100; ++round) {
    const UniqueFd sender = open_socket(SOCK_DGRAM);
    auto [receiver, address] = bound(SOCK_DGRAM);
    ASSERT_EQ(connect_to(sender, address), 0);
    receiver.reset();
    send_all(sender.get(), "anybody?");
    ASSERT_NE(ready(sender.get(), POLLIN, kPatience), 0) << round;
    EXPECT_EQ(receive(sender.get(), 1), "error: Connection refused");
  }
}

TEST(Poll, ShowsInputWhileItIsThere) {
  const auto [a, b] = tcp_pair();
  EXPECT_EQ(ready(a.get(), POLLIN), 0);
  send_all(b.get(), "four");
  EXPECT_EQ(ready(a.get(), POLLIN, kPatience), POLLIN);
  EXPECT_EQ(receive(a.get(), 2), "fo");
  EXPECT_EQ(ready(a.get(), POLLIN), POLLIN);
  EXPECT_EQ(receive(a.get(), 2), "ur");
  EXPECT_EQ(ready(a.get(), POLLIN), 0);
  EXPECT_EQ(receive(a.get(), 1, MSG_DONTWAIT), "error: Resource temporarily unavailable");
}

TEST(Poll, ShowsRoomForOutputWhileThereIsSome) {
  const auto [a, b] = tcp_pair(O_NONBLOCK);
  EXPECT_EQ(ready(a.get(), POLLOUT), POLLOUT);
  const std::string block(65536, 'x');
  std::size_t sent = 0;
  ssize_t n = 0;
  while ((n = ::write(a.get(), block.data(), block.size())) > 0) sent += std::size_t(n);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(ready(a.get(), POLLOUT), 0);
  while (sent > 0) {
    const std::string got = receive(b.get(), std::min<std::size_t>(sent, 65536));
    ASSERT_FALSE(got.empty() || got.starts_with("error"));
    sent -= got.size();
  }
  EXPECT_EQ(ready(a.get(), POLLOUT, kPatience), POLLOUT);
  EXPECT_EQ(ready(a.get(), POLLIN), 0);
}

TEST(Poll, ShowsTheOtherSidesEnd) {
  const auto [a, b] = tcp_pair();
  ::shutdown(b.get(), SHUT_WR);
  EXPECT_EQ(ready(a.get(), POLLIN | POLLRDHUP, kPatience), POLLIN | POLLRDHUP);
  EXPECT_EQ(receive(a.get(), 1), "");
  EXPECT_EQ(ready(a.get(), POLLIN | POLLOUT | POLLRDHUP), POLLIN | POLLOUT | POLLRDHUP);
  ::shutdown(a.get(), SHUT_WR);
  EXPECT_TRUE(becomes(a.get(), 0, POLLHUP));
}

TEST(Poll, TellsAFreshSocketFromADeadOne) {
  const UniqueFd fd = open_socket(SOCK_STREAM);
  const auto [server, address] = listening();
  ASSERT_EQ(connect_to(fd, address), 0);
  EXPECT_EQ(ready(fd.get(), POLLIN | POLLOUT), POLLOUT);
}

TEST(Poll, WaitsForAConnectionThatIsBeingMade) {
  const auto [server, address] = listening(SOCK_NONBLOCK);
  EXPECT_EQ(::accept(server.get(), nullptr, nullptr), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(ready(server.get(), POLLIN), 0);
  const UniqueFd client = open_socket(SOCK_STREAM | SOCK_NONBLOCK);
  if (connect_to(client, address) != 0) {
    ASSERT_EQ(errno, EINPROGRESS);
  }
  EXPECT_EQ(ready(client.get(), POLLOUT, kPatience), POLLOUT);
  int error = -1;
  socklen_t size = sizeof(error);
  EXPECT_EQ(::getsockopt(client.get(), SOL_SOCKET, SO_ERROR, &error, &size), 0);
  EXPECT_EQ(error, 0);
  EXPECT_EQ(ready(server.get(), POLLIN, kPatience), POLLIN);
  const UniqueFd accepted(::accept4(server.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  ASSERT_TRUE(accepted);
  EXPECT_TRUE(::fcntl(accepted.get(), F_GETFL) & O_NONBLOCK);
  EXPECT_TRUE(::fcntl(accepted.get(), F_GETFD) & FD_CLOEXEC);
  EXPECT_EQ(ready(server.get(), POLLIN), 0);
}

TEST(Accept, WaitsOrNotAsItsDescriptorSaysAtTheTime) {
  const auto [server, address] = listening(SOCK_NONBLOCK);
  const int flags = ::fcntl(server.get(), F_GETFL) & ~O_NONBLOCK;
  for (int round = 0; round < 2; ++round) {
    ASSERT_EQ(::fcntl(server.get(), F_SETFL, flags | O_NONBLOCK), 0);
    EXPECT_EQ(::accept(server.get(), nullptr, nullptr), -1);
    EXPECT_EQ(errno, EAGAIN);
    const UniqueFd client = open_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(client, address), 0);
    ASSERT_EQ(ready(server.get(), POLLIN, kPatience), POLLIN);
    EXPECT_TRUE(UniqueFd(::accept(server.get(), nullptr, nullptr)));
    ASSERT_EQ(::fcntl(server.get(), F_SETFL, flags), 0);
    // It shall wait by then. There is nothing that says so; both orders are right.
    std::thread later([to = address] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      EXPECT_EQ(connect_to(open_socket(SOCK_STREAM), to), 0);
    });
    EXPECT_TRUE(UniqueFd(::accept(server.get(), nullptr, nullptr))) << std::strerror(errno);
    later.join();
  }
}

TEST(Poll, WakesForAConnectionThatIsRefused) {
  auto [server, address] = listening();
  server.reset();
  const UniqueFd client = open_socket(SOCK_STREAM | SOCK_NONBLOCK);
  if (connect_to(client, address) != 0 && errno == EINPROGRESS) {
    EXPECT_TRUE(ready(client.get(), POLLOUT, kPatience) & (POLLOUT | POLLHUP));
    int error = 0;
    socklen_t size = sizeof(error);
    EXPECT_EQ(::getsockopt(client.get(), SOL_SOCKET, SO_ERROR, &error, &size), 0);
    EXPECT_EQ(error, ECONNREFUSED);
  } else {
    EXPECT_EQ(errno, ECONNREFUSED);
  }
}

TEST(Select, TakesSocketsAndPipesTogether) {
  const auto [a, b] = tcp_pair();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd out(ends[0]), in(ends[1]);
  fd_set set;
  FD_ZERO(&set);
  FD_SET(a.get(), &set);
  FD_SET(out.get(), &set);
  send_all(b.get(), "x");
  timeval patience{.tv_sec = kPatience / 1000, .tv_usec = 0};
  EXPECT_EQ(::select(std::max(a.get(), out.get()) + 1, &set, nullptr, nullptr, &patience), 1);
  EXPECT_TRUE(FD_ISSET(a.get(), &set));
}

class Epoll : public ::testing::Test {
 protected:
  void add(int fd, std::uint32_t events) {
    epoll_event event{.events = events, .data = {.fd = fd}};
    ASSERT_EQ(::epoll_ctl(set_.get(), EPOLL_CTL_ADD, fd, &event), 0);
  }
  /// The descriptor of the one event that is there or comes, -1 for none.
  int next(int wait_ms) {
    epoll_event event{};
    const int count = ::epoll_wait(set_.get(), &event, 1, wait_ms);
    events_ = event.events;
    return count == 1 ? event.data.fd : -1;
  }

  UniqueFd set_{::epoll_create1(EPOLL_CLOEXEC)};
  std::uint32_t events_ = 0;
};

TEST_F(Epoll, TellsEachEdgeOnce) {
  const auto [a, b] = tcp_pair(O_NONBLOCK);
  add(a.get(), EPOLLIN | EPOLLET);
  EXPECT_EQ(next(0), -1);
  send_all(b.get(), "1234");
  EXPECT_EQ(next(kPatience), a.get());
  EXPECT_EQ(next(0), -1);
  // Not all is read: no edge, until more comes.
  EXPECT_EQ(receive(a.get(), 2), "12");
  EXPECT_EQ(next(0), -1);
  send_all(b.get(), "56");
  EXPECT_EQ(next(kPatience), a.get());
  EXPECT_EQ(next(0), -1);
  EXPECT_EQ(receive(a.get(), 10), "3456");
  send_all(b.get(), "7");
  EXPECT_EQ(next(kPatience), a.get());
}

TEST_F(Epoll, TellsALevelUntilItIsGone) {
  const auto [a, b] = tcp_pair();
  add(a.get(), EPOLLIN);
  send_all(b.get(), "12");
  EXPECT_EQ(next(kPatience), a.get());
  EXPECT_EQ(next(0), a.get());
  receive(a.get(), 2);
  EXPECT_EQ(next(0), -1);
}

TEST_F(Epoll, MixesSocketsWithOtherFiles) {
  const auto [a, b] = tcp_pair();
  const UniqueFd event(::eventfd(0, EFD_CLOEXEC));
  const UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  add(a.get(), EPOLLIN | EPOLLONESHOT);
  add(event.get(), EPOLLIN | EPOLLET);
  add(timer.get(), EPOLLIN | EPOLLET);
  const itimerspec soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1'000'000}};
  ASSERT_EQ(::timerfd_settime(timer.get(), 0, &soon, nullptr), 0);
  EXPECT_EQ(next(kPatience), timer.get());
  ASSERT_EQ(::eventfd_write(event.get(), 1), 0);
  EXPECT_EQ(next(kPatience), event.get());
  send_all(b.get(), "x");
  EXPECT_EQ(next(kPatience), a.get());
  EXPECT_EQ(next(0), -1);
  epoll_event again{.events = EPOLLIN | EPOLLONESHOT, .data = {.fd = a.get()}};
  ASSERT_EQ(::epoll_ctl(set_.get(), EPOLL_CTL_MOD, a.get(), &again), 0);
  EXPECT_EQ(next(kPatience), a.get());
}

TEST_F(Epoll, TellsOfAResetConnection) {
  auto [a, b] = tcp_pair();
  add(a.get(), EPOLLIN | EPOLLRDHUP);
  const linger now{.l_onoff = 1, .l_linger = 0};
  ASSERT_EQ(::setsockopt(b.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
  b.reset();
  EXPECT_EQ(next(kPatience), a.get());
  EXPECT_EQ(receive(a.get(), 1), "error: Connection reset by peer");
}

TEST(Copies, ShareOneSocket) {
  auto [a, b] = tcp_pair();
  UniqueFd plain(::dup(a.get()));
  const UniqueFd high(::fcntl(a.get(), F_DUPFD_CLOEXEC, 300));
  ASSERT_TRUE(plain && high);
  EXPECT_GE(high.get(), 300);
  EXPECT_TRUE(::fcntl(high.get(), F_GETFD) & FD_CLOEXEC);
  EXPECT_FALSE(::fcntl(plain.get(), F_GETFD) & FD_CLOEXEC);
  const UniqueFd there(::dup2(a.get(), 400));
  ASSERT_EQ(there.get(), 400);
  a.reset();
  send_all(plain.get(), "1");
  send_all(high.get(), "2");
  ASSERT_EQ(::write(there.get(), "3", 1), 1);
  EXPECT_EQ(receive(b.get(), 3, MSG_WAITALL), "123");
  // O_NONBLOCK is the file's, so it is all copies'.
  int on = 1;
  ASSERT_EQ(::ioctl(plain.get(), FIONBIO, &on), 0);
  EXPECT_EQ(receive(high.get(), 1), "error: Resource temporarily unavailable");
}

TEST(Copies, KeepTheConnectionUntilTheLastIsClosed) {
  auto [a, b] = tcp_pair();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  UniqueFd out(ends[0]), in(ends[1]);
  const pid_t child = in_child([&] {
    in.reset();
    char byte = 0;
    (void)!::read(out.get(), &byte, 1);  // until the parent has closed its copy
    send_all(a.get(), "from the child");
  });
  a.reset();
  EXPECT_EQ(ready(b.get(), POLLIN | POLLRDHUP), 0);
  in.reset();
  EXPECT_EQ(receive(b.get(), 14, MSG_WAITALL), "from the child");
  EXPECT_EQ(exit_code(child), 0);
  EXPECT_EQ(receive(b.get(), 1), "");
}

TEST(Copies, GoToAnotherProcessInAMessage) {
  auto [a, b] = tcp_pair();
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const UniqueFd here(ends[0]), there(ends[1]);
  const pid_t child = in_child([&, &a = a] {
    a.reset();
    const UniqueFd got = taken_out(there);
    EXPECT_EQ(receive(got.get(), 4, MSG_WAITALL), "ping");
    send_all(got.get(), "pong");
  });
  pass_on(here, a);
  a.reset();
  send_all(b.get(), "ping");
  EXPECT_EQ(receive(b.get(), 4, MSG_WAITALL), "pong");
  EXPECT_EQ(receive(b.get(), 1), "");
  EXPECT_EQ(exit_code(child), 0);
}

TEST(Copies, EndWithAKilledProcess) {
  auto [a, b] = tcp_pair();
  const pid_t child = in_child([&] { receive(a.get(), 1); });
  a.reset();
  ::kill(child, SIGKILL);
  EXPECT_EQ(exit_code(child), 128 + SIGKILL);
  EXPECT_EQ(receive(b.get(), 1), "");
}

TEST(Copies, CloseOnExecWhereTheyShould) {
  auto [kept, b] = tcp_pair();
  auto [closed, d] = tcp_pair();
  ASSERT_EQ(::fcntl(kept.get(), F_SETFD, 0), 0);
  ASSERT_EQ(::ioctl(closed.get(), FIOCLEX), 0);
  for (const UniqueFd* fd : {&b, &d}) ::fcntl(fd->get(), F_SETFD, FD_CLOEXEC);
  const std::string script = "exec 1>&- 2>&-; read line";
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  UniqueFd out(ends[0]), in(ends[1]);
  ::fcntl(in.get(), F_SETFD, FD_CLOEXEC);
  const pid_t child = ::vfork();
  if (child == 0) {
    ::dup2(out.get(), 0);
    ::execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
    ::_exit(127);
  }
  kept.reset();
  closed.reset();
  EXPECT_EQ(receive(d.get(), 1), "");  // its last copy went with exec
  EXPECT_EQ(ready(b.get(), POLLIN), 0);
  in.reset();
  EXPECT_EQ(receive(b.get(), 1), "");
  exit_code(child);
}

/// As inetd starts a program.
TEST(Copies, AreStandardInputAndOutputOfAProgram) {
  auto [client, accepted] = tcp_pair();
  ::fcntl(client.get(), F_SETFD, FD_CLOEXEC);
  send_all(client.get(), "first\n");  // there before the program is
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(accepted.get(), 0);
    ::dup2(accepted.get(), 1);
    ::close(accepted.get());
    ::execl("/bin/sh", "sh", "-c", "read line; echo \"line: $line\"; wc -c", nullptr);
    ::_exit(127);
  }
  accepted.reset();
  EXPECT_EQ(receive(client.get(), 12, MSG_WAITALL), "line: first\n");
  const std::string much(1'000'000, 'x');
  send_all(client.get(), much);
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(receive(client.get(), 8, MSG_WAITALL), "1000000\n");
  EXPECT_EQ(receive(client.get(), 1), "");
  EXPECT_EQ(exit_code(child), 0);
}

volatile std::sig_atomic_t g_sigio = 0;

/// With O_ASYNC the owner of a descriptor hears when it becomes ready, of whatever kind the socket is.
TEST(Signal, TellsOfInputOfSocketsThatAreAsynchronous) {
  struct sigaction action {};
  action.sa_handler = [](int) { g_sigio = g_sigio + 1; };
  action.sa_flags = SA_RESTART;
  ASSERT_EQ(::sigaction(SIGIO, &action, nullptr), 0);
  auto [receiver, address] = bound(SOCK_DGRAM);
  const UniqueFd sender = open_socket(SOCK_DGRAM);
  const auto [a, b] = tcp_pair();
  for (const int fd : {receiver.get(), a.get()}) {
    ASSERT_EQ(::fcntl(fd, F_SETOWN, ::getpid()), 0);
    ASSERT_EQ(::fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK), 0);
  }
  const auto told = [](const auto& cause) {
    const auto before = g_sigio;
    cause();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatience);
    while (g_sigio == before && std::chrono::steady_clock::now() < deadline) ::sched_yield();
    return g_sigio != before;
  };
  const auto send_datagram = [&] {
    ::sendto(sender.get(), "news", 4, 0, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  };
  EXPECT_TRUE(told(send_datagram));
  EXPECT_EQ(receive(receiver.get(), 10), "news");
  EXPECT_TRUE(told(send_datagram));
  EXPECT_TRUE(told([&b = b] { send_all(b.get(), "news"); }));
  ::signal(SIGIO, SIG_IGN);
}

TEST(Copies, UnderLowNumbersAreStillTheSocket) {
  auto [client, accepted] = tcp_pair();
  const UniqueFd kept(::dup(0));
  const pid_t child = in_child([&accepted = accepted, &client = client] {
    client.reset();
    ASSERT_EQ(::dup2(accepted.get(), 0), 0);
    accepted.reset();
    sockaddr_in peer{};
    socklen_t size = sizeof(peer);
    EXPECT_EQ(::getpeername(0, reinterpret_cast<sockaddr*>(&peer), &size), 0);
    EXPECT_EQ(peer.sin_family, AF_INET);
    EXPECT_EQ(receive(0, 4, MSG_PEEK | MSG_WAITALL), "ping");
    EXPECT_EQ(ready(0, POLLIN), POLLIN);
    EXPECT_EQ(receive(0, 4), "ping");
    EXPECT_EQ(ready(0, POLLIN), 0);
    send_all(0, "pong");
    EXPECT_EQ(receive(0, 1), "");
  });
  accepted.reset();
  send_all(client.get(), "ping");
  EXPECT_EQ(receive(client.get(), 4, MSG_WAITALL), "pong");
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(exit_code(child), 0);
  EXPECT_EQ(receive(client.get(), 1), "");
}

}  // namespace
}  // namespace lkm::probe
