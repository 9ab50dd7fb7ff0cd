// SPDX-License-Identifier: GPL-2.0
//
// What a program may expect of calls on sockets: data, options, signals, threads.
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "tests/exec/sockets.hpp"
#include "toolkit/base/defer.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm::probe {
namespace {

TEST(Stream, CarriesBytesByEveryCall) {
  const auto [a, b] = tcp_pair();
  std::array<char, 3> head{'a', 'b', 'c'};
  std::array<char, 2> tail{'d', 'e'};
  const std::array<iovec, 2> both{{{head.data(), head.size()}, {tail.data(), tail.size()}}};
  ASSERT_EQ(::writev(a.get(), both.data(), 2), 5);
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(both.data());
  message.msg_iovlen = 2;
  ASSERT_EQ(::sendmsg(a.get(), &message, 0), 5);
  ASSERT_EQ(::write(a.get(), "fg", 2), 2);
  EXPECT_EQ(receive(b.get(), 4, MSG_PEEK | MSG_WAITALL), "abcd");
  EXPECT_EQ(receive(b.get(), 12, MSG_WAITALL), "abcdeabcdefg");
}

TEST(Stream, KeepsMegabytesInOrder) {
  const auto [a, b] = tcp_pair();
  constexpr std::size_t kSize = 8 << 20;
  std::string sent(kSize, '\0');
  for (std::size_t i = 0; i < kSize; ++i) sent[i] = char(i * 2654435761U >> 13);
  std::thread sender([&, fd = a.get()] { send_all(fd, sent); });
  std::string got;
  while (got.size() < kSize) {
    const std::string part = receive(b.get(), 100'000);
    ASSERT_FALSE(part.empty());
    got += part;
  }
  sender.join();
  EXPECT_TRUE(got == sent);
}

TEST(Stream, KeepsSmallWritesInOrderThoughTheyAreReadAfterItsEnd) {
  auto [a, b] = tcp_pair();
  ASSERT_EQ(::fcntl(a.get(), F_SETFL, O_NONBLOCK), 0);
  constexpr std::array<std::size_t, 6> kSizes{1, 100, 4095, 4096, 4097, 3000};
  std::string sent;
  // Until all buffers on the way are full.
  for (std::size_t i = 0; (ready(a.get(), POLLOUT, 300) & POLLOUT) != 0; ++i) {
    std::string part(kSizes[i % kSizes.size()], '\0');
    for (std::size_t at = 0; at < part.size(); ++at) part[at] = char((sent.size() + at) * 2654435761U >> 13);
    const ssize_t took = ::send(a.get(), part.data(), part.size(), 0);
    ASSERT_TRUE(took > 0 || errno == EAGAIN) << std::strerror(errno);
    if (took > 0) sent.append(part, 0, std::size_t(took));
  }
  EXPECT_GT(sent.size(), 100'000u);
  a.reset();
  std::string got;
  for (std::string part; !(part = receive(b.get(), 10'000)).empty();) got += part;
  EXPECT_TRUE(got == sent) << got.size() << " of " << sent.size();
}

TEST(Stream, TakesWhatIsWrittenWhileItIsBeingConnected) {
  const auto [server, address] = bound(SOCK_STREAM);
  ASSERT_EQ(::listen(server.get(), 0), 0);
  const UniqueFd first = open_socket(SOCK_STREAM);
  ASSERT_EQ(connect_to(first, address), 0);  // now the queue is full, and the next one has to try again
  const UniqueFd client = open_socket(SOCK_STREAM);
  std::thread connects([&, to = address] { EXPECT_EQ(connect_to(client, to), 0); });
  const auto state = [&] {
    tcp_info info{};
    socklen_t size = sizeof info;
    return ::getsockopt(client.get(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_state : 0;
  };
  for (int ms = 0; state() != TCP_SYN_SENT && ms < kPatience; ++ms) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(state(), TCP_SYN_SENT);
  std::atomic<long> written = 0;
  std::thread writes([&] { written = ::send(client.get(), "early", 5, MSG_NOSIGNAL); });
  EXPECT_TRUE(UniqueFd(::accept(server.get(), nullptr, nullptr)));
  const UniqueFd accepted(::accept(server.get(), nullptr, nullptr));
  EXPECT_EQ(receive(accepted.get(), 5, MSG_WAITALL), "early");
  writes.join();
  EXPECT_EQ(written, 5);
  connects.join();
}

TEST(Stream, SendsFilesAsTheyAre) {
  const auto folder = TempDir::make().value();
  const std::string path = folder.path() / "file";
  std::string content(300'000, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = char(i % 251);
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::write(file.get(), content.data(), content.size()), ssize_t(content.size()));

  const auto [a, b] = tcp_pair();
  std::string got;
  std::thread reader([&got, fd = b.get()] {
    for (std::string part; !(part = receive(fd, 65536)).empty();) got += part;
  });
  off_t at = 1000;
  EXPECT_EQ(::sendfile(a.get(), file.get(), &at, 200'000), 200'000);
  EXPECT_EQ(at, 201'000);
  EXPECT_EQ(::lseek(file.get(), 201'000, SEEK_SET), 201'000);
  EXPECT_EQ(::sendfile(a.get(), file.get(), nullptr, 1'000'000), 99'000);
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_CUR), 300'000);
  ::shutdown(a.get(), SHUT_WR);
  reader.join();
  EXPECT_TRUE(got == content.substr(1000));
}

TEST(Stream, TakesOptionsAndTellsState) {
  const auto [a, b] = tcp_pair();
  const int on = 1;
  EXPECT_EQ(::setsockopt(a.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
  tcp_info info{};
  socklen_t size = sizeof(info);
  EXPECT_EQ(::getsockopt(a.get(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
  EXPECT_EQ(info.tcpi_state, TCP_ESTABLISHED);
  sockaddr_in mine{}, peer{};
  socklen_t length = sizeof(mine);
  EXPECT_EQ(::getsockname(a.get(), reinterpret_cast<sockaddr*>(&mine), &length), 0);
  EXPECT_EQ(::getpeername(b.get(), reinterpret_cast<sockaddr*>(&peer), &length), 0);
  EXPECT_EQ(mine.sin_port, peer.sin_port);
  EXPECT_EQ(::setsockopt(a.get(), IPPROTO_TCP, 9999, &on, sizeof(on)), -1);
  EXPECT_EQ(errno, ENOPROTOOPT);
}

TEST(Stream, IsSplicedToAndFromAPipe) {
  const auto [a, b] = tcp_pair();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd out(ends[0]), in(ends[1]);
  ASSERT_EQ(::write(in.get(), "through a pipe", 14), 14);
  EXPECT_EQ(::splice(out.get(), nullptr, a.get(), nullptr, 100, 0), 14);
  EXPECT_EQ(receive(b.get(), 8, MSG_WAITALL), "through ");
  EXPECT_EQ(::splice(b.get(), nullptr, in.get(), nullptr, 100, 0), 6);
  char rest[6];
  ASSERT_EQ(::read(out.get(), rest, sizeof(rest)), 6);
  EXPECT_EQ(std::string(rest, 6), "a pipe");
}

TEST(Stream, EndsWithAResetWhenDataIsLeftUnread) {
  auto [a, b] = tcp_pair();
  send_all(a.get(), "nobody reads this");
  ASSERT_NE(ready(b.get(), POLLIN, kPatience), 0);
  b.reset();
  EXPECT_EQ(receive(a.get(), 1), "error: Connection reset by peer");
  EXPECT_EQ(::send(a.get(), "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EPIPE);
}

TEST(Stream, IsDeliveredThoughItsProgramHasEnded) {
  auto [a, b] = tcp_pair();
  const std::string much(3'000'000, 'y');
  const pid_t child = in_child([&, &a = a, &b = b] {
    b.reset();
    send_all(a.get(), much);
  });
  a.reset();
  std::string got;
  for (std::string part; !(part = receive(b.get(), 65536)).empty();) got += part;
  EXPECT_TRUE(got == much);
  EXPECT_EQ(exit_code(child), 0);
}

TEST(Stream, CarriesUrgentData) {
  const auto [a, b] = tcp_pair();
  send_all(a.get(), "ab");
  ASSERT_EQ(::send(a.get(), "!", 1, MSG_OOB), 1);
  EXPECT_EQ(ready(b.get(), POLLPRI, kPatience), POLLPRI);
  EXPECT_EQ(receive(b.get(), 9), "ab");
  int at_mark = 0;
  EXPECT_EQ(::ioctl(b.get(), SIOCATMARK, &at_mark), 0);
  EXPECT_EQ(at_mark, 1);
  EXPECT_EQ(receive(b.get(), 1, MSG_OOB), "!");
  send_all(a.get(), "cd");
  EXPECT_EQ(receive(b.get(), 2, MSG_WAITALL), "cd");
}

TEST(Stream, GivesUpAfterItsTimeout) {
  const auto [a, b] = tcp_pair();
  const timeval soon{.tv_sec = 0, .tv_usec = 20'000};
  ASSERT_EQ(::setsockopt(a.get(), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)), 0);
  EXPECT_EQ(receive(a.get(), 1), "error: Resource temporarily unavailable");
}

TEST(Stream, HasTheTimeoutOfWhatItWasAcceptedFrom) {
  const auto [server, address] = listening();
  const timeval soon{.tv_sec = 0, .tv_usec = 20'000};
  ASSERT_EQ(::setsockopt(server.get(), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)), 0);
  const UniqueFd client = open_socket(SOCK_STREAM);
  ASSERT_EQ(connect_to(client, address), 0);
  const UniqueFd accepted(::accept(server.get(), nullptr, nullptr));
  EXPECT_EQ(receive(accepted.get(), 1), "error: Resource temporarily unavailable");
}

TEST(Datagrams, KeepTheirBounds) {
  const auto [a, to] = bound(SOCK_DGRAM);
  const UniqueFd b = open_socket(SOCK_DGRAM);
  ASSERT_EQ(connect_to(b, to), 0);
  std::array<std::array<char, 4>, 3> out{
      {{'o', 'n', 'e', '!'}, {'t', 'w', 'o', '!'}, {'3', '3', '3', '!'}}};
  std::array<iovec, 3> parts{};
  std::array<mmsghdr, 3> messages{};
  for (std::size_t i = 0; i < 3; ++i) {
    parts[i] = {out[i].data(), std::size_t(i == 2 ? 4 : 3)};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  ASSERT_EQ(::sendmmsg(b.get(), messages.data(), 3, 0), 3);
  EXPECT_EQ(receive(a.get(), 10, MSG_PEEK), "one");
  char two[2];
  EXPECT_EQ(::recv(a.get(), two, sizeof(two), MSG_TRUNC), 3);
  for (std::size_t i = 0; i < 3; ++i) parts[i].iov_len = 4;
  EXPECT_EQ(::recvmmsg(a.get(), messages.data(), 3, MSG_WAITFORONE, nullptr), 2);
  EXPECT_EQ(messages[0].msg_len, 3U);
  EXPECT_EQ(messages[1].msg_len, 4U);
  EXPECT_EQ(std::string(out[1].data(), 4), "333!");
}

TEST(Datagrams, TellOfARefusal) {
  auto [a, to] = bound(SOCK_DGRAM);
  a.reset();
  const UniqueFd b = open_socket(SOCK_DGRAM);
  ASSERT_EQ(connect_to(b, to), 0);
  send_all(b.get(), "anybody?");
  EXPECT_NE(ready(b.get(), POLLIN, kPatience), 0);
  EXPECT_EQ(receive(b.get(), 1), "error: Connection refused");
}

TEST(Pointers, ThatAreBadAreRefusedAndNothingIsLost) {
  const auto [a, b] = tcp_pair();
  send_all(b.get(), "still here");
  auto* const nowhere = reinterpret_cast<char*>(8);
  EXPECT_EQ(::recv(a.get(), nowhere, 5, 0), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(::send(a.get(), nowhere, 5, 0), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(::syscall(SYS_getpeername, a.get(), nowhere, nowhere), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(::syscall(SYS_recvmsg, a.get(), nowhere, 0), -1);
  EXPECT_EQ(errno, EFAULT);
  // A buffer that ends at a page which is not there.
  void* pages = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(pages, MAP_FAILED);
  ::munmap(static_cast<char*>(pages) + 4096, 4096);
  EXPECT_EQ(::recv(a.get(), static_cast<char*>(pages) + 4090, 5, 0), 5);
  EXPECT_EQ(std::memcmp(static_cast<char*>(pages) + 4090, "still", 5), 0);
  EXPECT_EQ(receive(a.get(), 5), " here");
}

TEST(Interfaces, AreOfTheNetworkThatTheProgramIsOn) {
  EXPECT_EQ(::if_nametoindex("lo"), 1U);  // by an AF_UNIX socket, in glibc
  char name[IF_NAMESIZE];
  EXPECT_STREQ(::if_indextoname(1, name), "lo");
  std::size_t count = 0;
  struct if_nameindex* all = ::if_nameindex();
  ASSERT_NE(all, nullptr);
  while (all[count].if_index != 0) ++count;
  ::if_freenameindex(all);
  EXPECT_GE(count, 1U);
}

TEST(Unix, SocketsAreTheHosts) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
  const UniqueFd a(ends[0]), b(ends[1]);
  send_all(a.get(), "hello");
  EXPECT_EQ(receive(b.get(), 10), "hello");
  int type = 0;
  socklen_t size = sizeof(type);
  EXPECT_EQ(::getsockopt(a.get(), SOL_SOCKET, SO_TYPE, &type, &size), 0);
  EXPECT_EQ(type, SOCK_DGRAM);
}

TEST(Unix, SocketsAreTheHostsUnderHighNumbersToo) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const UniqueFd low(ends[0]), b(ends[1]);
  const UniqueFd a(::fcntl(low.get(), F_DUPFD_CLOEXEC, 100));
  ASSERT_EQ(a.get(), 100);
  int on = 1;
  ASSERT_EQ(::ioctl(a.get(), FIONBIO, &on), 0);
  EXPECT_EQ(receive(a.get(), 1), "error: Resource temporarily unavailable");
  ASSERT_EQ(::write(a.get(), "out", 3), 3);
  EXPECT_EQ(receive(b.get(), 3), "out");
  send_all(b.get(), "in");
  int waiting = 0;
  EXPECT_EQ(::ioctl(a.get(), FIONREAD, &waiting), 0);
  EXPECT_EQ(waiting, 2);
  char two[2];
  EXPECT_EQ(::read(a.get(), two, 2), 2);
}

TEST(IoUring, IsRefusedSoThatProgramsFallBack) {
  EXPECT_EQ(::syscall(SYS_io_uring_setup, 4, nullptr), -1);
  if (on_a_stack()) {
    EXPECT_EQ(errno, ENOSYS);
  }
}

std::atomic<int> g_signals;
void count_signal(int) { ++g_signals; }

/// "R" while the thread runs, another letter while it waits (proc_pid_stat(5)).
char state_of(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto name_end = text.rfind(") ");
  return name_end == std::string::npos ? 'R' : text[name_end + 2];
}

/// Sends SIGUSR1 to the thread that makes it, once that one waits: in its call, which is the next
/// thing it does.
std::thread signal_when_it_waits() {
  return std::thread([thread = pid_t(::syscall(SYS_gettid)), target = ::pthread_self()] {
    while (state_of(thread) == 'R') std::this_thread::yield();
    ::pthread_kill(target, SIGUSR1);
  });
}

TEST(Signals, InterruptACallThatWaits) {
  struct sigaction action {};
  action.sa_handler = count_signal;
  ASSERT_EQ(::sigaction(SIGUSR1, &action, nullptr), 0);
  const auto [a, b] = tcp_pair();
  g_signals = 0;
  std::thread sender = signal_when_it_waits();
  EXPECT_EQ(receive(a.get(), 1), "error: Interrupted system call");
  EXPECT_EQ(g_signals, 1);
  sender.join();
  send_all(b.get(), "x");
  EXPECT_EQ(receive(a.get(), 1), "x");
}

TEST(Signals, LetACallGoOnThatIsToBeRestarted) {
  struct sigaction action {};
  action.sa_handler = count_signal;
  action.sa_flags = SA_RESTART;
  ASSERT_EQ(::sigaction(SIGUSR1, &action, nullptr), 0);
  const auto [a, b] = tcp_pair();
  g_signals = 0;
  std::thread sender = signal_when_it_waits();
  std::thread writer([fd = b.get()] {
    while (g_signals == 0) std::this_thread::yield();
    send_all(fd, "after");
  });
  EXPECT_EQ(receive(a.get(), 5, MSG_WAITALL), "after");
  EXPECT_EQ(g_signals, 1);
  sender.join();
  writer.join();
}

TEST(Signals, InterruptAndRestartAnAccept) {
  struct sigaction action {};
  action.sa_handler = count_signal;
  ASSERT_EQ(::sigaction(SIGUSR1, &action, nullptr), 0);
  const auto [server, address] = listening();
  sockaddr_in from{};
  socklen_t size = sizeof(from);
  auto* const at = reinterpret_cast<sockaddr*>(&from);
  g_signals = 0;
  std::thread sender = signal_when_it_waits();
  EXPECT_EQ(::accept(server.get(), at, &size), -1);
  EXPECT_EQ(errno, EINTR);
  sender.join();
  action.sa_flags = SA_RESTART;
  ASSERT_EQ(::sigaction(SIGUSR1, &action, nullptr), 0);
  g_signals = 0;
  sender = signal_when_it_waits();
  const UniqueFd client = open_socket(SOCK_STREAM);
  std::thread connects([&, to = address] {
    while (g_signals == 0) std::this_thread::yield();
    EXPECT_EQ(connect_to(client, to), 0);
  });
  const UniqueFd accepted(::accept(server.get(), at, &size));
  EXPECT_TRUE(accepted) << std::strerror(errno);
  EXPECT_EQ(from.sin_family, AF_INET);
  sender.join();
  connects.join();
}

TEST(Stream, TellsWhoConnectedAsFarAsThereIsRoom) {
  const auto [server, address] = listening();
  const UniqueFd client = open_socket(SOCK_STREAM);
  ASSERT_EQ(connect_to(client, address), 0);
  std::array<char, 16> bytes;
  bytes.fill('x');
  socklen_t size = 2;
  const UniqueFd accepted(::accept(server.get(), reinterpret_cast<sockaddr*>(bytes.data()), &size));
  ASSERT_TRUE(accepted);
  EXPECT_EQ(size, sizeof(sockaddr_in));
  EXPECT_EQ(bytes[0], AF_INET);
  EXPECT_EQ(bytes[2], 'x');
  const UniqueFd another = open_socket(SOCK_STREAM);
  ASSERT_EQ(connect_to(another, address), 0);
  EXPECT_EQ(::syscall(SYS_accept, server.get(), 8, 8), -1);
  EXPECT_EQ(errno, EFAULT);
}

TEST(Signals, OfABrokenPipeComeToTheWriter) {
  struct sigaction action {
  }, before{};
  action.sa_handler = count_signal;
  ASSERT_EQ(::sigaction(SIGPIPE, &action, &before), 0);
  const auto restore = defer([&] { ::sigaction(SIGPIPE, &before, nullptr); });
  auto [a, b] = tcp_pair();
  ::shutdown(a.get(), SHUT_WR);
  g_signals = 0;
  EXPECT_EQ(::write(a.get(), "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  EXPECT_EQ(g_signals, 1);
  EXPECT_EQ(::send(a.get(), "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EPIPE);
  EXPECT_EQ(g_signals, 1);
}

TEST(Signals, StopAndContinueAProgramThatWaits) {
  const auto [a, b] = tcp_pair();
  const pid_t child = in_child([fd = a.get()] { EXPECT_EQ(receive(fd, 1), "x"); });
  // It shall be in the call. There is nothing to wait for that says so; both orders are right.
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  ::kill(child, SIGSTOP);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  EXPECT_TRUE(WIFSTOPPED(status));
  ::kill(child, SIGCONT);
  send_all(b.get(), "x");
  EXPECT_EQ(exit_code(child), 0);
}

TEST(Threads, WorkOnSocketsSideBySide) {
  constexpr int kThreads = 6;
  constexpr int kRounds = 300;
  const auto [server, address] = listening();
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, fd = server.get()] {
      const UniqueFd accepted(::accept(fd, nullptr, nullptr));
      for (int n = 0; n < kRounds; ++n)
        send_all(accepted.get(), receive(accepted.get(), 8, MSG_WAITALL));
    });
    threads.emplace_back([to = address, i] {
      const UniqueFd client = open_socket(SOCK_STREAM);
      ASSERT_EQ(connect_to(client, to), 0);
      for (int n = 0; n < kRounds; ++n) {
        std::string message(8, char('a' + i));
        message.back() = char(n);
        send_all(client.get(), message);
        ASSERT_EQ(receive(client.get(), 8, MSG_WAITALL), message);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace lkm::probe
