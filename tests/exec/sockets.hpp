// SPDX-License-Identifier: GPL-2.0
//
// What the probes share: sockets by plain system calls, on whatever kernel the program runs.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "toolkit/base/unique_fd.hpp"

namespace lkm::probe {

inline constexpr int kPatience = 10'000;  // ms

/// Whether this runs under `lkm-run exec`, which says so in the environment.
inline bool on_a_stack() { return std::getenv("LKM_RUN_STACK") != nullptr; }

inline UniqueFd open_socket(int type, int family = AF_INET) {
  UniqueFd fd(::socket(family, type, 0));
  EXPECT_TRUE(fd) << std::strerror(errno);
  return fd;
}

/// A bound socket on loopback, and its address.
inline std::pair<UniqueFd, sockaddr_in> bound(int type) {
  UniqueFd fd = open_socket(type);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return {std::move(fd), address};
}

inline std::pair<UniqueFd, sockaddr_in> listening(int flags = 0) {
  auto server = bound(SOCK_STREAM | flags);
  EXPECT_EQ(::listen(server.first.get(), 8), 0);
  return server;
}

inline int connect_to(const UniqueFd& fd, const sockaddr_in& address) {
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

/// Two ends of a TCP connection.
inline std::pair<UniqueFd, UniqueFd> tcp_pair(int client_flags = 0) {
  auto [server, address] = listening();
  UniqueFd client = open_socket(SOCK_STREAM);
  EXPECT_EQ(connect_to(client, address), 0) << std::strerror(errno);
  UniqueFd accepted(::accept(server.get(), nullptr, nullptr));
  EXPECT_TRUE(accepted) << std::strerror(errno);
  if (client_flags != 0) {
    EXPECT_EQ(::fcntl(client.get(), F_SETFL, client_flags), 0);
  }
  return {std::move(client), std::move(accepted)};
}

/// The poll(2) bits that are there at once, or that come in time with `wait`.
inline short ready(int fd, short events, int wait_ms = 0) {
  pollfd one{.fd = fd, .events = events, .revents = 0};
  ::poll(&one, 1, wait_ms);
  return one.revents;
}

/// Until the level of `events` is `wanted`: for what ceases, which poll(2) does not wait for.
inline bool becomes(int fd, short events, short wanted) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatience);
  while (ready(fd, events) != wanted) {
    if (std::chrono::steady_clock::now() > deadline) return false;
  }
  return true;
}

inline std::string receive(int fd, std::size_t size, int flags = 0) {
  std::string bytes(size, '\0');
  const ssize_t got = ::recv(fd, bytes.data(), size, flags);
  if (got < 0) return std::string("error: ") + std::strerror(errno);
  bytes.resize(std::size_t(got));
  return bytes;
}

inline void send_all(int fd, const std::string& bytes) {
  EXPECT_EQ(::send(fd, bytes.data(), bytes.size(), 0), ssize_t(bytes.size())) << std::strerror(errno);
}

/// A message of one byte with room for a descriptor (SCM_RIGHTS).
struct Parcel {
  char byte = 0;
  iovec part{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};

  Parcel() {
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
  }
  Parcel(const Parcel&) = delete;
  Parcel& operator=(const Parcel&) = delete;
};

/// Sends a descriptor.
inline void pass_on(const UniqueFd& channel, const UniqueFd& fd) {
  Parcel parcel;
  cmsghdr* const header = CMSG_FIRSTHDR(&parcel.message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  *reinterpret_cast<int*>(CMSG_DATA(header)) = fd.get();
  EXPECT_EQ(::sendmsg(channel.get(), &parcel.message, 0), 1) << std::strerror(errno);
}

/// What pass_on() sent.
inline UniqueFd taken_out(const UniqueFd& channel) {
  Parcel parcel;
  EXPECT_EQ(::recvmsg(channel.get(), &parcel.message, MSG_CMSG_CLOEXEC), 1) << std::strerror(errno);
  const cmsghdr* const header = CMSG_FIRSTHDR(&parcel.message);
  return UniqueFd(header == nullptr ? -1 : *reinterpret_cast<const int*>(CMSG_DATA(header)));
}

/// Runs `body` in a child; it must end with 0.
template <typename Body>
pid_t in_child(Body body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    body();
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  return pid;
}

inline int exit_code(pid_t pid) {
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace lkm::probe
