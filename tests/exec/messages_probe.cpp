// SPDX-License-Identifier: GPL-2.0
//
// Sockets of messages (datagrams, netlink, packets) under any number, in any process, and spliced.
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include <array>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "tests/exec/sockets.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm::probe {
namespace {

constexpr const char* kNothing = "error: Resource temporarily unavailable";

/// Two sockets of datagrams that are connected to each other.
std::pair<UniqueFd, UniqueFd> udp_pair() {
  auto [a, to_a] = bound(SOCK_DGRAM);
  auto [b, to_b] = bound(SOCK_DGRAM);
  EXPECT_EQ(connect_to(a, to_b), 0);
  EXPECT_EQ(connect_to(b, to_a), 0);
  return {std::move(a), std::move(b)};
}

std::string read_some(int fd, std::size_t size) {
  std::string bytes(size, '\0');
  const ssize_t got = ::read(fd, bytes.data(), size);
  if (got < 0) return std::string("error: ") + std::strerror(errno);
  bytes.resize(std::size_t(got));
  return bytes;
}

bool arrives(int fd) { return ready(fd, POLLIN, kPatience) == POLLIN; }

/// In a child, so that its standard input is put back.
template <typename Body>
void with_standard_input(UniqueFd socket, Body body) {
  const pid_t child = in_child([&] {
    ASSERT_EQ(::dup2(socket.get(), 0), 0);
    socket.reset();
    body();
  });
  socket.reset();
  EXPECT_EQ(exit_code(child), 0);
}

TEST(Messages, KeepTheirBoundsUnderLowNumbers) {
  auto [a, b] = udp_pair();
  with_standard_input(std::move(a), [&b = b] {
    send_all(b.get(), "first");
    send_all(b.get(), "");
    send_all(b.get(), "third");
    send_all(b.get(), "fourth");
    EXPECT_TRUE(arrives(0));
    EXPECT_EQ(read_some(0, 100), "first");
    EXPECT_TRUE(arrives(0));
    EXPECT_EQ(read_some(0, 100), "");
    EXPECT_EQ(receive(0, 100, MSG_PEEK), "third");
    EXPECT_EQ(read_some(0, 2), "th");
    EXPECT_EQ(receive(0, 100), "fourth");
    EXPECT_EQ(ready(0, POLLIN | POLLOUT), POLLOUT);
    EXPECT_EQ(receive(0, 1, MSG_DONTWAIT), kNothing);
    EXPECT_EQ(::write(0, "one", 3), 3);
    EXPECT_EQ(::write(0, "", 0), 0);
    std::array<char, 2> head{'t', 'w'};
    std::array<char, 1> tail{'o'};
    const std::array<iovec, 2> both{{{head.data(), head.size()}, {tail.data(), tail.size()}}};
    EXPECT_EQ(::writev(0, both.data(), 2), 3);
    send_all(0, std::string(60'000, 'x'));
    EXPECT_TRUE(arrives(b.get()));
    EXPECT_EQ(receive(b.get(), 100), "one");
    std::string next = receive(b.get(), 100);
    if (next.empty()) next = receive(b.get(), 100);  // a write of nothing may be a datagram, or none
    EXPECT_EQ(next, "two");
    EXPECT_EQ(receive(b.get(), 100'000).size(), 60'000U);
  });
}

TEST(Messages, AreFoundByEveryCallInTheSameOrder) {
  auto [a, b] = udp_pair();
  UniqueFd copy(::dup(a.get()));
  sockaddr_in sender{};
  socklen_t size = sizeof(sender);
  ASSERT_EQ(::getsockname(b.get(), reinterpret_cast<sockaddr*>(&sender), &size), 0);
  with_standard_input(std::move(a), [&] {
    for (const char* text : {"1", "22", "333", "4444", "55555"}) send_all(b.get(), text);
    EXPECT_TRUE(arrives(0));
    EXPECT_EQ(receive(copy.get(), 10), "1");  // each call of this one is the stack's
    EXPECT_EQ(read_some(0, 10), "22");
    char bytes[10];
    sockaddr_in from{};
    EXPECT_EQ(::recvfrom(0, bytes, sizeof(bytes), 0, reinterpret_cast<sockaddr*>(&from), &size), 3);
    EXPECT_EQ(from.sin_port, sender.sin_port);
    iovec part{.iov_base = bytes, .iov_len = 2};
    msghdr message{};
    from = {};
    message.msg_name = &from;
    message.msg_namelen = sizeof(from);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    EXPECT_EQ(::recvmsg(0, &message, 0), 2);
    EXPECT_EQ(message.msg_flags & MSG_TRUNC, MSG_TRUNC);
    EXPECT_EQ(from.sin_port, sender.sin_port);
    int waiting = 0;
    EXPECT_TRUE(arrives(0));
    EXPECT_EQ(::ioctl(0, FIONREAD, &waiting), 0);
    EXPECT_EQ(waiting, 5);
    EXPECT_EQ(read_some(copy.get(), 10), "55555");
    EXPECT_TRUE(becomes(0, POLLIN, 0));
    EXPECT_EQ(receive(0, 1, MSG_DONTWAIT), kNothing);
  });
}

TEST(Messages, GoToAndFromStrangersUnderLowNumbers) {
  auto [server, address] = bound(SOCK_DGRAM);
  auto [client, client_address] = bound(SOCK_DGRAM);
  EXPECT_EQ(::sendto(client.get(), "ping", 4, 0, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 4);
  with_standard_input(std::move(server), [] {
    char bytes[100];
    sockaddr_in from{};
    socklen_t size = sizeof(from);
    auto* const at = reinterpret_cast<sockaddr*>(&from);
    EXPECT_EQ(::recvfrom(0, bytes, sizeof(bytes), 0, at, &size), 4);
    EXPECT_EQ(from.sin_family, AF_INET);
    EXPECT_EQ(::sendto(0, "pong!", 5, 0, at, size), 5);
    EXPECT_EQ(ready(0, POLLIN), 0);
  });
  EXPECT_EQ(receive(client.get(), 100), "pong!");
}

TEST(Messages, WakeWhoWaitsUnderLowNumbers) {
  auto [a, b] = udp_pair();
  std::thread answers([fd = b.get()] {
    for (int i = 0; i < 200; ++i) send_all(fd, receive(fd, 100) + "!");
  });
  with_standard_input(std::move(a), [] {
    const UniqueFd set(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {}};
    ASSERT_EQ(::epoll_ctl(set.get(), EPOLL_CTL_ADD, 0, &event), 0);
    for (int i = 0; i < 200; ++i) {
      const std::string word = std::to_string(i);
      ASSERT_EQ(::write(0, word.data(), word.size()), ssize_t(word.size()));
      if (i % 2 == 0) {
        ASSERT_EQ(::epoll_wait(set.get(), &event, 1, kPatience), 1);
      }
      EXPECT_EQ(read_some(0, 100), word + "!");
    }
    const timeval soon{.tv_sec = 0, .tv_usec = 20'000};
    ASSERT_EQ(::setsockopt(0, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)), 0);
    EXPECT_EQ(read_some(0, 1), kNothing);
  });
  answers.join();
}

TEST(Messages, AreOfProgramsThatAreStartedWithThem) {
  auto [a, b] = udp_pair();
  ::fcntl(b.get(), F_SETFD, FD_CLOEXEC);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(a.get(), 0);
    ::dup2(a.get(), 1);
    ::close(a.get());
    ::execl("/bin/sh", "sh", "-c", "dd bs=100 count=1 2>/dev/null; dd bs=100 count=1 2>/dev/null", nullptr);
    ::_exit(127);
  }
  a.reset();
  send_all(b.get(), "word\n");
  EXPECT_EQ(receive(b.get(), 100), "word\n");
  send_all(b.get(), "and more");
  EXPECT_EQ(receive(b.get(), 100), "and more");
  EXPECT_EQ(exit_code(child), 0);
}

TEST(Messages, AreSentThoughTheirProgramHasEnded) {
  auto [a, b] = udp_pair();
  with_standard_input(std::move(a), [] {
    for (int i = 0; i < 20; ++i) EXPECT_EQ(::write(0, "late", 4), 4);
  });
  for (int i = 0; i < 20; ++i) EXPECT_EQ(receive(b.get(), 10), "late");
}

TEST(Messages, GoToAnotherProcessInAMessage) {
  auto [a, b] = udp_pair();
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const UniqueFd here(ends[0]), there(ends[1]);
  send_all(b.get(), "there before");
  EXPECT_TRUE(arrives(a.get()));
  const pid_t child = in_child([&, &a = a] {
    a.reset();
    const UniqueFd got = taken_out(there);
    EXPECT_EQ(read_some(got.get(), 100), "there before");
    EXPECT_EQ(read_some(got.get(), 100), "ping");
    ASSERT_EQ(::write(got.get(), "pong", 4), 4);
  });
  pass_on(here, a);
  send_all(b.get(), "ping");
  EXPECT_EQ(receive(b.get(), 100), "pong");
  EXPECT_EQ(exit_code(child), 0);
  // It is still ours.
  send_all(b.get(), "for the parent");
  EXPECT_TRUE(arrives(a.get()));
  EXPECT_EQ(receive(a.get(), 100), "for the parent");
}

TEST(Messages, TellOfARefusalUnderLowNumbers) {
  auto [a, to] = bound(SOCK_DGRAM);
  a.reset();
  UniqueFd b = open_socket(SOCK_DGRAM);
  ASSERT_EQ(connect_to(b, to), 0);
  with_standard_input(std::move(b), [] {
    ASSERT_EQ(::write(0, "anybody?", 8), 8);
    int error = 0;
    socklen_t size = sizeof(error);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatience);
    while (error == 0 && std::chrono::steady_clock::now() < deadline) {
      ASSERT_EQ(::getsockopt(0, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    }
    EXPECT_EQ(error, ECONNREFUSED);
  });
}

/// Names of the devices that a dump tells, up to its end.
template <typename Read>
std::string dump_of_devices(Read read) {
  std::string names;
  alignas(nlmsghdr) std::array<char, 65536> bytes;
  for (;;) {
    auto left = unsigned(read(bytes.data(), bytes.size()));
    for (auto* one = reinterpret_cast<nlmsghdr*>(bytes.data()); NLMSG_OK(one, left); one = NLMSG_NEXT(one, left)) {
      if (one->nlmsg_type != RTM_NEWLINK) return names + (one->nlmsg_type == NLMSG_DONE ? "." : "?");
      int size = int(IFLA_PAYLOAD(one));
      for (auto* field = IFLA_RTA(NLMSG_DATA(one)); RTA_OK(field, size); field = RTA_NEXT(field, size)) {
        if (field->rta_type == IFLA_IFNAME) names += std::string(static_cast<char*>(RTA_DATA(field))) + " ";
      }
    }
    if (left == 0 && bytes[0] == 0) return names + "?";
  }
}

TEST(Messages, OfNetlinkAreReadAndWrittenUnderLowNumbers) {
  UniqueFd netlink(::socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  ASSERT_TRUE(netlink);
  const struct {
    nlmsghdr header;
    rtgenmsg about;
  } request{{.nlmsg_len = sizeof(request), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP, .nlmsg_seq = 1, .nlmsg_pid = 0},
            {.rtgen_family = AF_UNSPEC}};
  send_all(netlink.get(), std::string(reinterpret_cast<const char*>(&request), sizeof(request)));
  const std::string expected = dump_of_devices([&](char* to, std::size_t size) { return ::recv(netlink.get(), to, size, 0); });
  EXPECT_TRUE(expected.starts_with("lo ") && expected.ends_with(" .")) << expected;
  with_standard_input(std::move(netlink), [&] {
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(::write(0, &request, sizeof(request)), ssize_t(sizeof(request)));
      EXPECT_EQ(dump_of_devices([](char* to, std::size_t size) { return ::read(0, to, size); }), expected);
    }
  });
}

TEST(Messages, HaveMoreSocketsThanThereAreNumbersOfTheirOwn) {
  std::vector<std::pair<UniqueFd, UniqueFd>> many;
  for (int i = 0; i < 150; ++i) many.push_back(udp_pair());
  for (auto& [a, b] : many) {
    ASSERT_EQ(::write(a.get(), "to b", 4), 4);
    send_all(b.get(), "to a");
  }
  for (auto& [a, b] : many) {
    EXPECT_EQ(read_some(b.get(), 10), "to b");
    EXPECT_EQ(read_some(a.get(), 10), "to a");
  }
}

TEST(Copies, TakeThePlaceOfStandardInputThatWasClosed) {
  auto [a, b] = udp_pair();
  auto [c, d] = tcp_pair();
  const pid_t child = in_child([&, &a = a, &b = b, &c = c, &d = d] {
    ::close(0);
    EXPECT_EQ(::dup(a.get()), 0);
    send_all(b.get(), "datagram");
    EXPECT_EQ(read_some(0, 100), "datagram");
    ::close(0);
    EXPECT_EQ(::fcntl(a.get(), F_DUPFD, 0), 0);
    ::close(0);
    EXPECT_EQ(::dup(c.get()), 0);
    send_all(d.get(), "stream");
    EXPECT_EQ(receive(0, 6, MSG_WAITALL), "stream");
  });
  EXPECT_EQ(exit_code(child), 0);
}

class Spliced : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    out_ = UniqueFd(ends[0]);
    in_ = UniqueFd(ends[1]);
    auto [a, b] = udp_pair();
    a_ = std::move(a);
    b_ = std::move(b);
    if (!GetParam()) return;
    // Where reads and writes are the host's.
    UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(::dup2(a_.get(), file.get()), file.get());
    a_ = std::move(file);
  }
  UniqueFd in_, out_, a_, b_;
};
INSTANTIATE_TEST_SUITE_P(UnderNumbers, Spliced, ::testing::Bool(),
                         [](const auto& which) { return which.param ? "Low" : "OfTheirOwn"; });

TEST_P(Spliced, DatagramsComeFromAPipe) {
  ASSERT_EQ(::write(in_.get(), "through a pipe", 14), 14);
  EXPECT_EQ(::splice(out_.get(), nullptr, a_.get(), nullptr, 7, 0), 7);
  EXPECT_EQ(::splice(out_.get(), nullptr, a_.get(), nullptr, 100, SPLICE_F_MOVE), 7);
  EXPECT_EQ(receive(b_.get(), 100), "through");
  EXPECT_EQ(receive(b_.get(), 100), " a pipe");
  EXPECT_EQ(::splice(out_.get(), nullptr, a_.get(), nullptr, 100, SPLICE_F_NONBLOCK), -1);
  EXPECT_EQ(errno, EAGAIN);
  std::thread writer([this] {
    EXPECT_EQ(::write(in_.get(), "later", 5), 5);
    in_.reset();
  });
  EXPECT_EQ(::splice(out_.get(), nullptr, a_.get(), nullptr, 100, 0), 5);
  writer.join();
  EXPECT_EQ(::splice(out_.get(), nullptr, a_.get(), nullptr, 100, 0), 0);
  EXPECT_EQ(receive(b_.get(), 100), "later");
}

TEST_P(Spliced, DatagramsGoIntoAPipe) {
  send_all(b_.get(), "one");
  send_all(b_.get(), "two");
  EXPECT_TRUE(arrives(a_.get()));
  EXPECT_EQ(::splice(a_.get(), nullptr, in_.get(), nullptr, 100, 0), 3);
  EXPECT_TRUE(arrives(a_.get()));
  EXPECT_EQ(::splice(a_.get(), nullptr, in_.get(), nullptr, 100, 0), 3);
  EXPECT_EQ(read_some(out_.get(), 100), "onetwo");
  std::thread sender([this] { send_all(b_.get(), "later"); });
  EXPECT_EQ(::splice(a_.get(), nullptr, in_.get(), nullptr, 100, 0), 5);
  sender.join();
  EXPECT_EQ(read_some(out_.get(), 100), "later");
  int on = 1;
  ASSERT_EQ(::ioctl(a_.get(), FIONBIO, &on), 0);
  EXPECT_EQ(::splice(a_.get(), nullptr, in_.get(), nullptr, 100, 0), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_P(Spliced, DatagramsAreNotLostOnAPipeThatIsFull) {
  const std::vector<char> much(std::size_t(::fcntl(in_.get(), F_GETPIPE_SZ)), 'x');
  ASSERT_EQ(::write(in_.get(), much.data(), much.size()), ssize_t(much.size()));
  send_all(b_.get(), "kept");
  EXPECT_TRUE(arrives(a_.get()));
  EXPECT_EQ(::splice(a_.get(), nullptr, in_.get(), nullptr, 100, SPLICE_F_NONBLOCK), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(read_some(a_.get(), 100), "kept");
  // Nothing is spliced between two sockets, nor with an offset.
  EXPECT_EQ(::splice(a_.get(), nullptr, b_.get(), nullptr, 1, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  loff_t at = 0;
  EXPECT_EQ(::splice(a_.get(), &at, in_.get(), nullptr, 1, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(::splice(a_.get(), nullptr, in_.get(), &at, 1, 0), -1);
  EXPECT_EQ(errno, ESPIPE);
}

TEST_P(Spliced, FilesAreSentAsDatagrams) {
  const auto folder = TempDir::make().value();
  const std::string path = folder.path() / "file";
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::write(file.get(), "of a file", 9), 9);
  off_t at = 3;
  EXPECT_EQ(::sendfile(a_.get(), file.get(), &at, 100), 6);
  EXPECT_EQ(at, 9);
  EXPECT_EQ(receive(b_.get(), 100), "a file");
}

}  // namespace
}  // namespace lkm::probe
