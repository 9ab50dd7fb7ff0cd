// SPDX-License-Identifier: GPL-2.0
//
// The measured programs. Each is one template, so the library and the host's kernel run the same
// code; what differs is Calls, which makes a system call, and Both, which runs two ends at once.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "bench/row.hpp"
#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/result.hpp"

namespace lkm::bench {

inline constexpr const char* kControl =
    "cubic";  ///< congestion control of measured connections, if nothing else is said

struct HostCalls {
  template <typename... Args>
  long operator()(long number, Args... args) const {
    const long result = ::syscall(number, args...);
    return result < 0 ? -errno : result;
  }
};

struct StackCalls {
  Stack& stack;
  template <typename... Args>
  long operator()(long number, Args... args) const {
    return stack.syscall(number, args...);
  }
};

struct HostThreads {
  template <typename Here, typename There>
  Result<void> operator()(Here here, There there) const {
    std::thread other(there);
    here();
    other.join();
    return {};
  }
};

struct StackFibers {
  Stack& stack;
  template <typename Here, typename There>
  Result<void> operator()(Here here, There there) const {
    LKM_TRY(Fiber other, stack.spawn("bench", there));
    here();
    other.join();
    return {};
  }
};

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Nanoseconds of one getppid().
template <typename Calls>
double syscall_ns(Calls calls, long rounds) {
  const auto start = std::chrono::steady_clock::now();
  for (long i = 0; i < rounds; ++i) calls(SYS_getppid);
  return seconds_since(start) * 1e9 / static_cast<double>(rounds);
}

/// Size of a socket's buffers, both ways, in bytes as SO_SNDBUF counts; or what autotuning makes of them.
enum class Buffers : int { kAutotuned = 0, k256KiB = 256 << 10 };

/// A TCP connection over loopback, with one congestion control at both ends. Closed at the end of the scope.
template <typename Calls>
class Loopback {
 public:
  static Result<Loopback> open(Calls calls, Buffers buffers = Buffers::kAutotuned, const char* control = kControl) {
    Loopback out(calls);
    const auto check = [](long result, const char* what) -> Result<long> {
      if (result < 0) return fail(static_cast<int>(-result), "{}", what);
      return result;
    };
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof name;
    const auto socket = [&]() -> Result<long> {
      LKM_TRY(const long fd, check(calls(SYS_socket, AF_INET, SOCK_STREAM, 0), "socket"));
      LKM_CHECK(check(
          calls(SYS_setsockopt, fd, IPPROTO_TCP, TCP_CONGESTION, control, std::strlen(control)),
          "congestion control"));
      if (buffers == Buffers::kAutotuned) return fd;
      for (const int option : {SO_SNDBUF, SO_RCVBUF}) {
        LKM_CHECK(check(calls(SYS_setsockopt, fd, SOL_SOCKET, option, &buffers, sizeof buffers),
                        "size of the socket's buffers"));
      }
      return fd;
    };
    LKM_TRY(out.listener_, socket());
    LKM_CHECK(check(calls(SYS_bind, out.listener_, &name, length), "bind"));
    LKM_CHECK(check(calls(SYS_listen, out.listener_, 1), "listen"));
    LKM_CHECK(check(calls(SYS_getsockname, out.listener_, &name, &length), "getsockname"));
    LKM_TRY(out.client_, socket());
    LKM_CHECK(check(calls(SYS_connect, out.client_, &name, length), "connect"));
    LKM_TRY(out.server_, check(calls(SYS_accept4, out.listener_, nullptr, nullptr, 0), "accept"));
    return out;
  }

  Loopback(Loopback&& other) noexcept
      : calls_(other.calls_),
        listener_(std::exchange(other.listener_, -1)),
        client_(std::exchange(other.client_, -1)),
        server_(std::exchange(other.server_, -1)) {}
  Loopback& operator=(Loopback&&) = delete;
  ~Loopback() {
    for (const long fd : {listener_, client_, server_})
      if (fd >= 0) calls_(SYS_close, fd);
  }

  [[nodiscard]] long client() const { return client_; }
  [[nodiscard]] long server() const { return server_; }

 private:
  explicit Loopback(Calls calls) : calls_(calls) {}

  Calls calls_;
  long listener_ = -1;
  long client_ = -1;
  long server_ = -1;
};

/// Microseconds from sending one byte to the arrival of the one byte that answers it.
template <typename Calls, typename Both>
Result<double> ping_pong_us(Calls calls, Both both, long rounds) {
  LKM_TRY(auto pair, Loopback<Calls>::open(calls));
  const auto send = [calls](long fd, char byte) {
    return calls(SYS_sendto, fd, &byte, 1, MSG_NOSIGNAL, nullptr, 0) == 1;
  };
  const auto receive = [calls](long fd) {
    char byte = 0;
    return calls(SYS_recvfrom, fd, &byte, 1, 0, nullptr, nullptr) == 1;
  };
  long answered = 0;
  double took = 0;
  const auto client = [&] {
    const auto start = std::chrono::steady_clock::now();
    while (answered < rounds && send(pair.client(), 'x') && receive(pair.client())) ++answered;
    took = seconds_since(start);
    calls(SYS_shutdown, pair.client(), SHUT_WR);
  };
  const auto server = [&] {
    while (receive(pair.server()) && send(pair.server(), 'y')) {
    }
  };
  LKM_CHECK(both(client, server));
  if (answered != rounds) return fail(EIO, "ping-pong ended after {} rounds", answered);
  return took * 1e6 / static_cast<double>(rounds);
}

/// Gbit/s of `bytes` sent by writes of 64 KiB and read by reads of as much.
template <typename Calls, typename Both>
Result<double> bulk_gbit_s(Calls calls, Both both, Buffers buffers, std::size_t bytes,
                           const char* control = kControl) {
  constexpr std::size_t kChunk = 64 << 10;
  LKM_TRY(auto pair, Loopback<Calls>::open(calls, buffers, control));
  std::vector<char> out(kChunk, 'x');
  std::vector<char> in(kChunk);
  std::size_t received = 0;
  double took = 0;
  const auto start = std::chrono::steady_clock::now();
  const auto client = [&] {
    for (std::size_t sent = 0; sent < bytes;) {
      const long count =
          calls(SYS_sendto, pair.client(), out.data(), kChunk, MSG_NOSIGNAL, nullptr, 0);
      if (count <= 0) break;
      sent += static_cast<std::size_t>(count);
    }
    calls(SYS_shutdown, pair.client(), SHUT_WR);
  };
  const auto server = [&] {
    for (;;) {
      const long count = calls(SYS_recvfrom, pair.server(), in.data(), kChunk, 0, nullptr, nullptr);
      if (count <= 0) break;
      received += static_cast<std::size_t>(count);
    }
    took = seconds_since(start);
  };
  LKM_CHECK(both(client, server));
  if (received < bytes) return fail(EIO, "bulk ended after {} of {} bytes", received, bytes);
  return static_cast<double>(received) * 8e-9 / took;
}

/// Medians of both sides' measurements.
struct Compared {
  double ours = 0;
  double theirs = 0;
};
struct Measured {
  Compared syscall_ns, ping_us, bulk_gbit_s, autotuned_gbit_s;
};

/// Measures the library, called by `calls` and with two ends run by `both`, and the host's kernel
/// with two threads; in turns, so that a change of the machine's mood hits both.
template <typename Calls, typename Both>
Result<Measured> compare(Calls calls, Both both, std::size_t rounds) {
  constexpr long kSyscalls = 1'000'000;
  constexpr long kPings = 10'000;
  constexpr std::size_t kBulk = std::size_t{1} << 30;
  const HostCalls host;
  const HostThreads threads;
  std::vector<double> syscall[2], ping[2], bulk[2], autotuned[2];
  for (std::size_t round = 0; round < rounds; ++round) {
    syscall[0].push_back(syscall_ns(calls, kSyscalls));
    syscall[1].push_back(syscall_ns(host, kSyscalls));
    LKM_TRY(const double our_ping, ping_pong_us(calls, both, kPings));
    LKM_TRY(const double their_ping, ping_pong_us(host, threads, kPings));
    ping[0].push_back(our_ping);
    ping[1].push_back(their_ping);
    for (const auto& [buffers, rates] : {std::pair{Buffers::k256KiB, bulk}, {Buffers::kAutotuned, autotuned}}) {
      LKM_TRY(const double ours, bulk_gbit_s(calls, both, buffers, kBulk));
      LKM_TRY(const double theirs, bulk_gbit_s(host, threads, buffers, kBulk));
      rates[0].push_back(ours);
      rates[1].push_back(theirs);
    }
  }
  return Measured{{median(syscall[0]), median(syscall[1])},
                  {median(ping[0]), median(ping[1])},
                  {median(bulk[0]), median(bulk[1])},
                  {median(autotuned[0]), median(autotuned[1])}};
}

}  // namespace lkm::bench
