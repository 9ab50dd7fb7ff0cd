// SPDX-License-Identifier: GPL-2.0
//
// Devices that reach out of the stack: a tap in a host netns of the test's own, and a cable between two
// stacks in two processes. Everything that boots a stack is a child process, since a process has one.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "libos-runtime/host/wire.hpp"
#include "toolkit/net/rtnl.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kBytes = std::size_t{16} << 20;
constexpr std::uint16_t kPort = 4711;

std::byte pattern(std::size_t at) { return std::byte((at * 2654435761u) >> 13); }

/// Says what failed, for the parent's exit status says only that something did.
int complain(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  return 1;
}

sockaddr_in address_of(const char* text) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  ::inet_pton(AF_INET, text, &address.sin_addr);
  return address;
}

/// The system calls of the host or of a stack, by the same numbers.
using Call = std::function<long(long, unsigned long, unsigned long, unsigned long)>;

long write_pattern(const Call& call, long fd) {
  std::vector<std::byte> block(65536);
  for (std::size_t sent = 0; sent < kBytes;) {
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = pattern(sent + i);
    std::size_t done = 0;
    while (done < block.size()) {
      const long n = call(SYS_write, (unsigned long)fd, (unsigned long)(block.data() + done),
                          block.size() - done);
      if (n <= 0) return n;
      done += std::size_t(n);
    }
    sent += block.size();
  }
  return 0;
}

/// The number of bytes that came and were right; the rest was not.
std::size_t read_pattern(const Call& call, long fd) {
  std::vector<std::byte> block(65536);
  std::size_t received = 0;
  while (received < kBytes) {
    const long n = call(SYS_read, (unsigned long)fd, (unsigned long)block.data(), block.size());
    if (n <= 0) break;
    for (long i = 0; i < n; ++i) {
      if (block[std::size_t(i)] != pattern(received + std::size_t(i))) return received;
    }
    received += std::size_t(n);
  }
  return received;
}

Call host_calls() {
  return [](long number, unsigned long a, unsigned long b, unsigned long c) {
    const long n = ::syscall(number, a, b, c);
    return n < 0 ? -errno : n;
  };
}

Call stack_calls(Stack& stack) {
  return [&stack](long number, unsigned long a, unsigned long b, unsigned long c) {
    return stack.syscall(number, a, b, c);
  };
}

/// Sends the pattern and expects it back, over a connection made or accepted.
int exchange(const Call& call, bool server, const char* peer) {
  const long fd = call(SYS_socket, AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = address_of(server ? "0.0.0.0" : peer);
  long connection = fd;
  if (server) {
    if (const long err = call(SYS_bind, (unsigned long)fd, (unsigned long)&address, sizeof(address));
        err < 0) {
      return complain("bind: " + std::string(std::strerror(int(-err))));
    }
    call(SYS_listen, (unsigned long)fd, 1, 0);
    connection = call(SYS_accept, (unsigned long)fd, 0, 0);
    if (connection < 0) return complain("accept failed");
    if (read_pattern(call, connection) != kBytes) return complain("server: bytes lost or changed");
    if (write_pattern(call, connection) != 0) return complain("server: write failed");
    // The stack ends with its main: not before the client has read it all.
    char byte = 0;
    call(SYS_read, (unsigned long)connection, (unsigned long)&byte, 1);
    return 0;
  }
  // The server may not listen yet.
  long err = 0;
  for (int i = 0; i < 1000; ++i) {
    err = call(SYS_connect, (unsigned long)fd, (unsigned long)&address, sizeof(address));
    if (err != -ECONNREFUSED) break;
    const timespec pause{.tv_sec = 0, .tv_nsec = 5'000'000};
    call(SYS_nanosleep, (unsigned long)&pause, 0, 0);
  }
  if (err < 0) return complain("connect: " + std::string(std::strerror(int(-err))));
  if (write_pattern(call, connection) != 0) return complain("client: write failed");
  if (read_pattern(call, connection) != kBytes) return complain("client: bytes lost or changed");
  call(SYS_write, (unsigned long)connection, (unsigned long)"!", 1);
  call(SYS_close, (unsigned long)connection, 0, 0);
  const timespec flush{.tv_sec = 0, .tv_nsec = 200'000'000};
  call(SYS_nanosleep, (unsigned long)&flush, 0, 0);  // the FIN leaves before the stack ends
  return 0;
}

Stack::Options options() {
  Stack::Options made;
  made.library = std::filesystem::path(std::getenv("LKM_RUN_IMAGE")) / "libos.so";
  return made;
}

/// Boots a stack whose eth0 is the wire, with that address, and runs `body` in it.
int with_device(const std::function<Result<std::unique_ptr<Wire>>()>& plug, const char* address,
                std::uint8_t mac, const std::function<int(Stack&)>& body) {
  auto ran = Stack::run(options(), [&](Stack& stack) {
    auto wire = plug();
    if (!wire) return complain(wire.error().message());
    auto added = stack.add_device("eth0", std::move(*wire), {.mac = {2, 0, 0, 0, 0, mac}});
    if (!added) return complain(added.error().message());
    auto net = Rtnl::open(stack, "");
    if (!net) return complain(net.error().message());
    if (auto err = net->addr_add("eth0", *IpPrefix::parse(address)); !err) {
      return complain(err.error().message());
    }
    if (auto err = net->link_up("eth0"); !err) return complain(err.error().message());
    return body(stack);
  });
  return ran ? *ran : complain(ran.error().message());
}

pid_t in_child(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  return pid;
}

/// Exit status; -1 when a signal ended it.
int status_of(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class Devices : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::getenv("LKM_RUN_IMAGE") == nullptr) GTEST_SKIP() << "LKM_RUN_IMAGE names no image";
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends_), 0);
  }
  void TearDown() override {
    for (const int end : ends_) {
      if (end >= 0) ::close(end);
    }
  }

  /// A child that runs `body` in a stack on one end of the cable; the other end is closed there.
  pid_t on_cable(int end, const char* address, const std::function<int(Stack&)>& body) {
    return in_child([&] {
      ::close(ends_[1 - end]);
      return with_device(
          [&]() -> Result<std::unique_ptr<Wire>> {
            return std::make_unique<SocketWire>(UniqueFd(ends_[end]));
          },
          address, std::uint8_t(end + 1), body);
    });
  }
  void let_go() {
    for (int& end : ends_) ::close(std::exchange(end, -1));
  }

  int ends_[2] = {-1, -1};
};

TEST_F(Devices, CableCarriesBytesBothWaysBetweenTwoStacks) {
  const pid_t server = on_cable(0, "10.9.0.1/24", [](Stack& stack) {
    return exchange(stack_calls(stack), true, nullptr);
  });
  const pid_t client = on_cable(1, "10.9.0.2/24", [](Stack& stack) {
    return exchange(stack_calls(stack), false, "10.9.0.1");
  });
  let_go();
  EXPECT_EQ(status_of(client), 0);
  EXPECT_EQ(status_of(server), 0);
}

TEST_F(Devices, CableIsUnpluggedWhenTheOtherStackDies) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t victim = on_cable(0, "10.9.0.1/24", [&](Stack& stack) {
    [[maybe_unused]] const auto n = ::write(ready[1], "!", 1);
    stack.park();
    return 0;
  });
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const pid_t survivor = on_cable(1, "10.9.0.2/24", [&](Stack& stack) {
    ::kill(victim, SIGKILL);
    const auto deadline = stack.now() + 10s;
    while (stack.now() < deadline) {
      auto carrier = stack.read_file("/sys/class/net/eth0/carrier");
      if (carrier && *carrier == "0\n") return stack.syscall(SYS_getpid) > 0 ? 0 : 1;
      stack.sleep_for(5ms);
    }
    return complain("the carrier stayed on");
  });
  let_go();
  EXPECT_EQ(status_of(survivor), 0);
  EXPECT_EQ(status_of(victim), -1);
}

TEST_F(Devices, TapCarriesBytesBothWaysBetweenStackAndHost) {
  if (::access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "/dev/net/tun does not open";
  const pid_t both = in_child([] {
    if (::unshare(CLONE_NEWNET) != 0) return 77;
    // The tap's host side first: the stack's child inherits the netns.
    auto tap = TapWire::open("tap0");
    if (!tap) return complain(tap.error().message());
    const int control = ::socket(AF_INET, SOCK_DGRAM, 0);
    ifreq request{};
    std::strcpy(request.ifr_name, "tap0");
    sockaddr_in address = address_of("10.9.1.1");
    std::memcpy(&request.ifr_addr, &address, sizeof(address));
    if (::ioctl(control, SIOCSIFADDR, &request) != 0) return complain("SIOCSIFADDR");
    sockaddr_in mask = address_of("255.255.255.0");
    std::memcpy(&request.ifr_netmask, &mask, sizeof(mask));
    if (::ioctl(control, SIOCSIFNETMASK, &request) != 0) return complain("SIOCSIFNETMASK");
    request.ifr_flags = IFF_UP;
    if (::ioctl(control, SIOCSIFFLAGS, &request) != 0) return complain("SIOCSIFFLAGS");

    const pid_t host = in_child([] { return exchange(host_calls(), true, nullptr); });
    const int stack = with_device([&] { return std::move(tap); }, "10.9.1.2/24", 7, [](Stack& s) {
      return exchange(stack_calls(s), false, "10.9.1.1");
    });
    return stack != 0 ? stack : status_of(host);
  });
  const int status = status_of(both);
  if (status == 77) GTEST_SKIP() << "no rights to make a network namespace";
  EXPECT_EQ(status, 0);
}

TEST_F(Devices, TapThatCannotBeHadSaysWhy) {
  const auto tap = TapWire::open("a-name-that-is-too-long-for-an-interface");
  ASSERT_FALSE(tap);
  EXPECT_EQ(tap.error().errno_value(), EINVAL);
}

TEST_F(Devices, NameThatIsTakenIsRefused) {
  const pid_t pid = on_cable(0, "10.9.0.1/24", [](Stack& stack) {
    int more[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, more) != 0) return 1;
    auto again = stack.add_device("eth0", std::make_unique<SocketWire>(UniqueFd(more[0])), {});
    if (again) return complain("a second eth0 was made");
    if (again.error().errno_value() != EEXIST) return complain(again.error().message());
    auto removed = stack.remove_device("eth0");
    if (!removed) return complain(removed.error().message());
    return stack.remove_device("eth0") ? complain("removed twice") : 0;
  });
  let_go();
  EXPECT_EQ(status_of(pid), 0);
}

}  // namespace
}  // namespace lkm
