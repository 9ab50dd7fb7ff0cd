// SPDX-License-Identifier: GPL-2.0
//
// Threads that share one epoll set, as servers do.
#include <fcntl.h>
#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "tests/exec/sockets.hpp"

namespace lkm::probe {
namespace {

constexpr int kServers = 4;
constexpr int kClients = 4;
constexpr int kConnections = 8;  // of each client
constexpr int kRounds = 100;

/// Answers what comes on any connection, whichever thread it is that is woken; one at a time has a
/// connection.
class EchoServer {
 public:
  EchoServer() {
    watch(listener_.get(), EPOLLIN, EPOLL_CTL_ADD);
    for (int i = 0; i < kServers; ++i) threads_.emplace_back([this] { serve(); });
  }
  ~EchoServer() {
    stopping_ = true;
    for (std::thread& thread : threads_) thread.join();
  }
  [[nodiscard]] const sockaddr_in& address() const { return address_; }

 private:
  void watch(int fd, std::uint32_t events, int operation) {
    epoll_event event{.events = events, .data = {.fd = fd}};
    EXPECT_EQ(::epoll_ctl(set_.get(), operation, fd, &event), 0);
  }

  void serve() {
    std::array<epoll_event, 4> events;
    while (!stopping_) {
      const int count = ::epoll_wait(set_.get(), events.data(), int(events.size()), 20);
      for (int i = 0; i < count; ++i) {
        const int fd = events[std::size_t(i)].data.fd;
        if (fd == listener_.get()) {
          accept();
        } else if (echo(fd)) {
          watch(fd, EPOLLIN | EPOLLET | EPOLLONESHOT, EPOLL_CTL_MOD);
        } else {
          ::close(fd);
        }
      }
    }
  }

  void accept() {
    for (;;) {
      const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        EXPECT_EQ(errno, EAGAIN);
        return;
      }
      watch(fd, EPOLLIN | EPOLLET | EPOLLONESHOT, EPOLL_CTL_ADD);
    }
  }

  static bool echo(int fd) {
    std::array<char, 256> bytes;
    for (;;) {
      const ssize_t got = ::read(fd, bytes.data(), bytes.size());
      if (got < 0) return errno == EAGAIN;
      if (got == 0) return false;
      EXPECT_EQ(::write(fd, bytes.data(), std::size_t(got)), got);
    }
  }

  std::pair<UniqueFd, sockaddr_in> listening_ = listening(SOCK_NONBLOCK);
  UniqueFd& listener_ = listening_.first;
  sockaddr_in& address_ = listening_.second;
  UniqueFd set_{::epoll_create1(EPOLL_CLOEXEC)};
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> threads_;
};

TEST(Threads, ShareAnEpollSet) {
  EchoServer server;
  std::vector<std::thread> clients;
  for (int client = 0; client < kClients; ++client) {
    clients.emplace_back([&server, client] {
      const UniqueFd set(::epoll_create1(EPOLL_CLOEXEC));
      std::array<UniqueFd, kConnections> connections;
      std::array<int, kConnections> rounds{};
      const auto message = [client](int which, int round) {
        return std::string(40, char('a' + client)) + char('0' + which) +
               std::string(20, char('!' + round % 90));
      };
      for (int i = 0; i < kConnections; ++i) {
        UniqueFd& connection = connections[std::size_t(i)];
        connection = open_socket(SOCK_STREAM);
        ASSERT_EQ(connect_to(connection, server.address()), 0);
        epoll_event event{.events = EPOLLIN, .data = {.fd = i}};
        ASSERT_EQ(::epoll_ctl(set.get(), EPOLL_CTL_ADD, connection.get(), &event), 0);
        send_all(connection.get(), message(i, 0));
      }
      for (int open = kConnections; open > 0;) {
        epoll_event event{};
        ASSERT_EQ(::epoll_wait(set.get(), &event, 1, kPatience), 1);
        const int which = event.data.fd;
        UniqueFd& connection = connections[std::size_t(which)];
        int& round = rounds[std::size_t(which)];
        const std::string expected = message(which, round);
        ASSERT_EQ(receive(connection.get(), expected.size(), MSG_WAITALL), expected);
        if (++round == kRounds) {
          connection.reset();
          --open;
        } else {
          send_all(connection.get(), message(which, round));
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace lkm::probe
