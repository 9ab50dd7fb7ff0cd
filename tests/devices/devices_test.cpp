// SPDX-License-Identifier: GPL-2.0
//
// Devices that reach out of the stack: a tap in a host netns of the test's own, and a cable between two
// stacks in two processes. Everything that boots a stack is a child process, since a process has one.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
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
#include <thread>
#include <vector>

#include "libos-runtime/host/memif_wire.hpp"
#include "libos-runtime/host/packet_wire.hpp"
#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/temp_dir.hpp"
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
                const std::function<int(Stack&)>& body) {
  auto ran = Stack::run(options(), [&](Stack& stack) {
    auto wire = plug();
    if (!wire) return complain(wire.error().message());
    auto added = stack.add_device("eth0", std::move(*wire), {});
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

/// A statistic of the stack's eth0.
std::uint64_t counted(Stack& stack, const std::string& name) {
  const auto text = stack.read_file("/sys/class/net/eth0/statistics/" + name);
  return text ? std::stoull(*text) : 0;
}

/// Waits until a file of the stack's eth0 has that number.
bool becomes(Stack& stack, const std::string& file, int wanted) {
  for (const auto deadline = stack.now() + 10s; stack.now() < deadline; stack.sleep_for(2ms)) {
    const auto text = stack.read_file("/sys/class/net/eth0/" + file);
    if (text && *text == std::to_string(wanted) + "\n") return true;
  }
  complain(file + " does not become " + std::to_string(wanted));
  return false;
}
bool carrier_becomes(Stack& stack, int wanted) { return becomes(stack, "carrier", wanted); }

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
    return on_wire<SocketWire>(end, address, body);
  }
  template <typename W>
  pid_t on_wire(int end, const char* address, const std::function<int(Stack&)>& body) {
    return in_child([&] {
      ::close(ends_[1 - end]);
      return with_device(
          [&]() -> Result<std::unique_ptr<Wire>> { return std::make_unique<W>(UniqueFd(ends_[end])); },
          address, body);
    });
  }
  void let_go() {
    for (int& end : ends_) ::close(std::exchange(end, -1));
  }

  int ends_[2] = {-1, -1};
};

int serve(Stack& stack) { return exchange(stack_calls(stack), true, nullptr); }

TEST_F(Devices, CableCarriesBytesBothWaysBetweenTwoStacks) {
  const pid_t server = on_cable(0, "10.9.0.1/24", serve);
  const pid_t client = on_cable(1, "10.9.0.2/24", [](Stack& stack) {
    if (const int status = exchange(stack_calls(stack), false, "10.9.0.1"); status != 0) return status;
    // Frames of many segments, or there would be one for each 1448 bytes.
    const auto frames = counted(stack, "tx_packets");
    return frames < kBytes / 4000 ? 0 : complain(std::to_string(frames) + " frames");
  });
  let_go();
  EXPECT_EQ(status_of(client), 0);
  EXPECT_EQ(status_of(server), 0);
}

/// The least that a wire can be: frames as they are, on a socket.
class PlainWire final : public Wire {
 public:
  explicit PlainWire(UniqueFd socket) : fd_(std::move(socket)) {}
  int send(const libos_frame_meta& meta, std::span<const libos_iov> frame) override {
    if (meta.flags != 0 || meta.gso_type != 0) std::abort();  // the kernel was to do it itself
    msghdr message{};
    message.msg_iov = reinterpret_cast<iovec*>(const_cast<libos_iov*>(frame.data()));
    message.msg_iovlen = frame.size();
    return ::sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
  }
  [[nodiscard]] int descriptor() const override { return fd_.get(); }
  long receive(libos_frame_meta& meta, std::span<std::byte> frame) override {
    meta = {};
    const ssize_t n = ::recv(fd_.get(), frame.data(), frame.size(), MSG_DONTWAIT);
    if (n > 1514) std::abort();
    return n > 0 ? n : n == 0 ? -EPIPE : errno == EAGAIN ? 0 : -errno;
  }
  [[nodiscard]] bool has_metadata() const override { return false; }
  [[nodiscard]] std::string describe() const override { return "plain"; }

 private:
  UniqueFd fd_;
};

TEST_F(Devices, WireWithoutMetadataGetsFinishedFramesOfItsMtu) {
  const pid_t server = on_wire<PlainWire>(0, "10.9.0.1/24", serve);
  const pid_t client = on_wire<PlainWire>(1, "10.9.0.2/24", [](Stack& stack) {
    return exchange(stack_calls(stack), false, "10.9.0.1");
  });
  let_go();
  EXPECT_EQ(status_of(client), 0);
  EXPECT_EQ(status_of(server), 0);
}

TEST_F(Devices, FullCableStopsTheQueueAndDropsNothing) {
  constexpr unsigned kFrames = 4000;
  int full[2];
  ASSERT_EQ(::pipe2(full, O_CLOEXEC), 0);
  const pid_t pid = on_cable(0, "10.9.0.1/24", [&](Stack& stack) {
    unsigned sent = 0;
    auto sender = stack.spawn("sender", [&] {
      const long fd = stack.syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0);
      const int on = 1;
      stack.syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
      const sockaddr_in to = address_of("10.9.0.255");
      char datagram[1200] = {};
      for (; sent < kFrames; ++sent) {
        std::memcpy(datagram, &sent, sizeof(sent));
        stack.syscall(SYS_sendto, fd, datagram, sizeof(datagram), 0, &to, sizeof(to));
      }
    });
    if (!sender) return complain(sender.error().message());
    // The cable, the qdisc and the socket's buffer are full when the sender stands still.
    for (unsigned before = 0;; before = sent) {
      stack.sleep_for(50ms);
      if (sent == before && sent > 0) break;
    }
    if (sent == kFrames) return complain("the cable is never full");
    [[maybe_unused]] const auto n = ::write(full[1], "!", 1);
    sender->join();
    const auto dropped = counted(stack, "tx_dropped");
    return dropped == 0 ? 0 : complain(std::to_string(dropped) + " dropped");
  });
  ::close(std::exchange(ends_[0], -1));
  ::close(full[1]);
  char byte = 0;
  ASSERT_EQ(::read(full[0], &byte, 1), 1);

  // Metadata, Ethernet, IP and UDP come before the datagram.
  constexpr std::size_t kHeaders = sizeof(libos_frame_meta) + 14 + 20 + 8;
  unsigned next = 0;
  for (char frame[4096]; next < kFrames;) {
    const ssize_t n = ::recv(ends_[1], frame, sizeof(frame), 0);
    ASSERT_GT(n, 0);
    if (n < ssize_t(kHeaders + 1200)) continue;  // neighbour discovery
    unsigned number = 0;
    std::memcpy(&number, frame + kHeaders, sizeof(number));
    ASSERT_EQ(number, next++);
  }
  EXPECT_EQ(status_of(pid), 0);
}

TEST_F(Devices, WorkInEmbeddedMode) {
  const pid_t server = on_cable(0, "10.9.0.1/24", serve);
  const pid_t client = in_child([&] {
    ::close(ends_[0]);
    auto stack = Stack::boot(options());
    if (!stack) return complain(stack.error().message());
    auto added = (*stack)->add_device("eth0", std::make_unique<SocketWire>(UniqueFd(ends_[1])), {});
    if (!added) return complain(added.error().message());
    int status = 1;
    // Netlink and traffic from a thread that is not the one that booted.
    std::thread([&] {
      auto net = Rtnl::open(**stack, "");
      if (!net || !net->addr_add("eth0", *IpPrefix::parse("10.9.0.2/24")) || !net->link_up("eth0")) {
        complain("set up eth0");
        return;
      }
      status = exchange(stack_calls(**stack), false, "10.9.0.1");
    }).join();
    return status;
  });
  let_go();
  EXPECT_EQ(status_of(client), 0);
  EXPECT_EQ(status_of(server), 0);
}

TEST_F(Devices, CableIsUnpluggedWhenTheOtherStackDies) {
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t victim = on_cable(0, "10.9.0.1/24", [&](Stack& stack) {
    [[maybe_unused]] const auto n = ::write(ready[1], "!", 1);
    stack.park();
    return 0;
  });
  ::close(ready[1]);
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const pid_t survivor = on_cable(1, "10.9.0.2/24", [&](Stack& stack) {
    if (!carrier_becomes(stack, 1)) return 1;
    ::kill(victim, SIGKILL);
    if (!carrier_becomes(stack, 0)) return 1;
    const auto devices = stack.devices();
    return devices && devices->size() == 1 && !devices->front().carrier ? 0 : complain("the list");
  });
  let_go();
  EXPECT_EQ(status_of(survivor), 0);
  EXPECT_EQ(status_of(victim), -1);
}

TEST_F(Devices, CableAtAPathIsPluggedInAgainByTheNextStack) {
  const auto folder = TempDir::make();
  ASSERT_TRUE(folder);
  const std::string path = folder->path() / "cable";
  const auto plug = [&]() -> Result<std::unique_ptr<Wire>> { return MemifWire::at(path, MemifWire::Role::kEither); };
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);

  const pid_t survivor = in_child([&] {
    return with_device(plug, "10.9.0.1/24", [&](Stack& stack) {
      if (!carrier_becomes(stack, 0)) return 1;
      [[maybe_unused]] auto n = ::write(ready[1], "!", 1);
      if (!becomes(stack, "carrier_up_count", 1) || !carrier_becomes(stack, 0)) return 1;
      n = ::write(ready[1], "!", 1);
      return serve(stack);
    });
  });
  ::close(ready[1]);
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const pid_t victim = in_child([&] {
    return with_device(plug, "10.9.0.2/24", [](Stack& stack) {
      if (carrier_becomes(stack, 1)) ::kill(::getpid(), SIGKILL);
      return 1;
    });
  });
  EXPECT_EQ(status_of(victim), -1);
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(::access(path.c_str(), F_OK), 0);
  const pid_t next = in_child([&] {
    return with_device(plug, "10.9.0.2/24", [](Stack& stack) {
      return exchange(stack_calls(stack), false, "10.9.0.1");
    });
  });
  EXPECT_EQ(status_of(next), 0);
  EXPECT_EQ(status_of(survivor), 0);
}

TEST_F(Devices, MalformedFramesAreDroppedAndTheNextOnesTaken) {
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t receiver = on_cable(0, "10.9.0.1/24", [&](Stack& stack) {
    [[maybe_unused]] const auto n = ::write(ready[1], "!", 1);
    for (const auto deadline = stack.now() + 10s; stack.now() < deadline; stack.sleep_for(2ms)) {
      if (counted(stack, "rx_packets") == 0) continue;
      const auto dropped = counted(stack, "rx_dropped");
      return dropped == 3 ? 0 : complain(std::to_string(dropped) + " dropped");
    }
    return complain("the good frame did not arrive");
  });
  ::close(ready[1]);
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);

  struct {
    libos_frame_meta meta{};
    unsigned char frame[60]{};
  } packet;
  static_assert(sizeof(packet) == sizeof(packet.meta) + sizeof(packet.frame));
  const auto send = [&](std::size_t length) {
    ASSERT_EQ(::send(ends_[1], &packet, length, 0), ssize_t(length));
  };
  send(1);                         // not even metadata
  send(sizeof(packet.meta));       // no frame
  send(sizeof(packet.meta) + 13);  // less than an Ethernet header
  packet.meta.gso_type = 0x7f;     // no such kind
  send(sizeof(packet));
  packet.meta = {};
  packet.meta.flags = 1;  // a checksum outside the frame
  packet.meta.csum_start = packet.meta.csum_offset = 65000;
  send(sizeof(packet));
  packet.meta = {};
  packet.meta.gso_type = 1;  // segments of no size
  send(sizeof(packet));
  packet.meta = {};
  packet.frame[12] = 0x08;  // IPv4, or the kernel would count it as dropped too
  send(sizeof(packet));
  EXPECT_EQ(status_of(receiver), 0);
}

/// An echo request of the host's, answered; 0 when it is.
int ping(const char* address) {
  const UniqueFd socket(::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
  if (!socket) return complain("a raw socket");
  const timeval limit{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  icmphdr request{};
  request.type = ICMP_ECHO;
  request.un.echo.id = htons(77);
  request.checksum = std::uint16_t(~(htons(ICMP_ECHO << 8) + request.un.echo.id));
  const sockaddr_in to = address_of(address);
  if (::sendto(socket.get(), &request, sizeof(request), 0, reinterpret_cast<const sockaddr*>(&to),
               sizeof(to)) < 0) {
    return complain("send an echo request");
  }
  for (unsigned char packet[1500];;) {
    if (::recv(socket.get(), packet, sizeof(packet), 0) < 0) return complain("no echo reply");
    const auto* reply = reinterpret_cast<const icmphdr*>(packet + (packet[0] & 15) * 4);
    if (reply->type == ICMP_ECHOREPLY && reply->un.echo.id == request.un.echo.id) return 0;
  }
}

/// In a host netns of its own: the tap's host side has 10.9.1.1, the stack 10.9.1.2. 77 without the rights.
int on_tap(const std::function<int()>& host, const std::function<int(Stack&)>& body) {
  if (::unshare(CLONE_NEWNET) != 0) return 77;
  auto tap = TapWire::open("tap0");
  if (!tap) return complain(tap.error().message());
  const UniqueFd control(::socket(AF_INET, SOCK_DGRAM, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "tap0");
  const sockaddr_in address = address_of("10.9.1.1");
  std::memcpy(&request.ifr_addr, &address, sizeof(address));
  if (::ioctl(control.get(), SIOCSIFADDR, &request) != 0) return complain("SIOCSIFADDR");
  const sockaddr_in mask = address_of("255.255.255.0");
  std::memcpy(&request.ifr_netmask, &mask, sizeof(mask));
  if (::ioctl(control.get(), SIOCSIFNETMASK, &request) != 0) return complain("SIOCSIFNETMASK");
  request.ifr_flags = IFF_UP;
  if (::ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) return complain("SIOCSIFFLAGS");

  const pid_t other = in_child(host);
  const int status = with_device([&] { return std::move(tap); }, "10.9.1.2/24", body);
  return status != 0 ? status : status_of(other);
}

void expect_on_tap(const std::function<int()>& host, const std::function<int(Stack&)>& body) {
  if (::access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "/dev/net/tun does not open";
  const int status = status_of(in_child([&] { return on_tap(host, body); }));
  if (status == 77) GTEST_SKIP() << "no rights to make a network namespace";
  EXPECT_EQ(status, 0);
}

TEST_F(Devices, TapCarriesBytesBothWaysBetweenStackAndHost) {
  expect_on_tap([] { return exchange(host_calls(), true, nullptr); },
                [](Stack& stack) { return exchange(stack_calls(stack), false, "10.9.1.1"); });
}

TEST_F(Devices, TapLetsTheHostPingAndConnectToTheStack) {
  expect_on_tap(
      [] {
        if (const int status = ping("10.9.1.2"); status != 0) return status;
        return exchange(host_calls(), false, "10.9.1.2");
      },
      [](Stack& stack) {
        if (const int status = serve(stack); status != 0) return status;
        // Frames of many segments came in.
        const auto frames = counted(stack, "rx_packets");
        return frames < kBytes / 4000 ? 0 : complain(std::to_string(frames) + " frames");
      });
}

/// Of the host.
bool delete_link(const char* name) {
  const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  struct {
    nlmsghdr header;
    ifinfomsg link;
  } request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = RTM_DELLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.link.ifi_index = int(::if_nametoindex(name));
  return ::send(socket.get(), &request, sizeof(request), 0) == ssize_t(sizeof(request)) &&
         ::if_nametoindex(name) == 0;
}

TEST_F(Devices, TapThatTheHostDeletesTakesTheCarrierAway) {
  expect_on_tap([] { return 0; },
                [](Stack& stack) {
                  if (!carrier_becomes(stack, 1)) return 1;
                  if (!delete_link("tap0")) return complain("the host keeps its tap");
                  return carrier_becomes(stack, 0) ? 0 : 1;
                });
}

bool host(const std::string& command) { return std::system(command.c_str()) == 0; }

/// In a host netns of its own, with a pair v0, v1: v1 has 10.9.1.1. 77 without the rights, or without veth.
int with_veth(const std::function<int()>& body) {
  if (::unshare(CLONE_NEWNET) != 0 || !host("ip link add v0 type veth peer name v1")) return 77;
  if (!host("ip addr add 10.9.1.1/24 dev v1 && ip link set v0 up && ip link set v1 up")) return complain("no address");
  return body();
}

void expect_with_veth(const std::function<int()>& body) {
  const int status = status_of(in_child([&] { return with_veth(body); }));
  if (status == 77) GTEST_SKIP() << "no network namespace with a veth pair";
  EXPECT_EQ(status, 0);
}

/// The stack's eth0 is a packet socket on v0 and has 10.9.1.2.
void expect_on_packet(const std::function<int()>& other, const std::function<int(Stack&)>& body) {
  expect_with_veth([&] {
    const pid_t pid = in_child(other);
    const int status = with_device(
        []() -> Result<std::unique_ptr<Wire>> { return PacketWire::open("v0"); }, "10.9.1.2/24", body);
    return status != 0 ? status : status_of(pid);
  });
}

TEST_F(Devices, PacketSocketCarriesBytesBothWaysBetweenStackAndHost) {
  expect_on_packet([] { return exchange(host_calls(), true, nullptr); },
                   [](Stack& stack) {
                     if (const int status = exchange(stack_calls(stack), false, "10.9.1.1"); status != 0) return status;
                     // Frames of many segments went both ways.
                     for (const char* counter : {"rx_packets", "tx_packets"}) {
                       const auto frames = counted(stack, counter);
                       if (frames > kBytes / 4000) return complain(std::to_string(frames) + " " + counter);
                     }
                     return 0;
                   });
}

TEST_F(Devices, PacketSocketLetsTheHostPingAndConnectToTheStack) {
  expect_on_packet(
      [] {
        if (const int status = ping("10.9.1.2"); status != 0) return status;
        return exchange(host_calls(), false, "10.9.1.2");
      },
      serve);
}

TEST_F(Devices, PacketSocketGoesOnAfterTheInterfaceWasDown) {
  expect_on_packet([] { return exchange(host_calls(), true, nullptr); },
                   [](Stack& stack) {
                     if (!host("ip link set v0 down")) return 1;
                     stack.sleep_for(10ms);
                     if (!host("ip link set v0 up")) return 1;
                     return exchange(stack_calls(stack), false, "10.9.1.1");
                   });
}

TEST_F(Devices, PacketSocketOfAnInterfaceThatIsDeletedTakesTheCarrierAway) {
  expect_on_packet([] { return 0; },
                   [](Stack& stack) {
                     if (!carrier_becomes(stack, 1) || !host("ip link del v0")) return 1;
                     return carrier_becomes(stack, 0) ? 0 : 1;
                   });
}

TEST_F(Devices, PacketSocketGivesVlanTagsWithTheFrame) {
  expect_with_veth([] {
    auto wire = PacketWire::open("v0");
    if (!wire) return complain(wire.error().message());
    const UniqueFd other(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = int(::if_nametoindex("v1"));
    unsigned char sent[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 7, 0x88, 0xb5, 'd', 'a', 't', 'a'};
    if (::sendto(other.get(), sent, sizeof(sent), 0, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) < 0)
      return complain("send a frame");
    libos_frame_meta meta{};
    std::vector<std::byte> frame(65536);
    for (long length = 1; length > 0;) {
      length = (*wire)->receive(meta, frame);  // others, of the host's IPv6, may come before
      if (length == long(sizeof(sent)) && std::memcmp(frame.data(), sent, sizeof(sent)) == 0) return 0;
    }
    return complain("no frame with its tag");
  });
}

TEST_F(Devices, PacketSocketThatCannotBeHadSaysWhy) {
  expect_with_veth([] {
    const auto refused = [](const char* interface, int error) {
      const auto wire = PacketWire::open(interface);
      if (wire || wire.error().errno_value() != error || wire.error().hint().empty())
        return complain(wire ? "it was opened" : wire.error().message());
      return 0;
    };
    return refused("nonesuch", ENODEV) + refused("lo", EMEDIUMTYPE) + refused("a-name-that-is-too-long", EINVAL);
  });
}

TEST_F(Devices, IsRemovedUnderTraffic) {
  const pid_t pid = on_cable(0, "10.9.0.1/24", [](Stack& stack) {
    bool stop = false;
    unsigned sent = 0;
    auto sender = stack.spawn("sender", [&] {
      const long fd = stack.syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0);
      sockaddr_in to = address_of("10.9.0.255");
      const int on = 1;
      stack.syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
      while (!stop) {
        if (stack.syscall(SYS_sendto, fd, "frame", 5, 0, &to, sizeof(to)) == 5) ++sent;
        stack.yield();
      }
      stack.syscall(SYS_close, fd);
    });
    if (!sender) return complain(sender.error().message());
    while (sent < 1000) stack.yield();
    const auto removed = stack.remove_device("eth0");
    stop = true;
    sender->join();
    if (!removed) return complain(removed.error().message());
    return stack.read_file("/sys/class/net/eth0/carrier") ? complain("it is still there") : 0;
  });
  // The other end takes what comes, or the cable would be full.
  ::close(std::exchange(ends_[0], -1));
  char frame[4096];
  while (::recv(ends_[1], frame, sizeof(frame), 0) > 0) {
  }
  EXPECT_EQ(status_of(pid), 0);
}

TEST_F(Devices, TapThatCannotBeHadSaysWhy) {
  const auto tap = TapWire::open("a-name-that-is-too-long-for-an-interface");
  ASSERT_FALSE(tap);
  EXPECT_EQ(tap.error().errno_value(), EINVAL);
}

TEST_F(Devices, BadNamesAndNumbersAreRefused) {
  const pid_t pid = on_cable(0, "10.9.0.1/24", [](Stack& stack) {
    const auto refused = [&](const std::string& name, const Stack::DeviceOptions& wanted, int error) {
      int more[2];
      if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, more) != 0) return false;
      const UniqueFd other(more[1]);
      const auto added =
          stack.add_device(name, std::make_unique<SocketWire>(UniqueFd(more[0])), wanted);
      if (!added && added.error().errno_value() == error) return true;
      complain("device '" + name + "': " + (added ? "made" : added.error().message()));
      return false;
    };
    if (!refused("eth0", {}, EEXIST) || !refused("", {}, EINVAL) || !refused("a/b", {}, EINVAL) ||
        !refused("eth%d", {}, EINVAL) || !refused("a-name-of-16-ch.", {}, EINVAL) ||
        !refused("lo", {}, EEXIST) || !refused("eth1", {.mtu = 67}, EINVAL) ||
        !refused("eth1", {.mtu = 65536}, EINVAL) || !refused("eth1", {.mac = {1, 2, 3}}, EINVAL)) {
      return 1;
    }
    const auto devices = stack.devices();
    if (!devices || devices->size() != 1) return complain("a refused device is in the list");
    if (auto removed = stack.remove_device("eth0"); !removed) return complain(removed.error().message());
    return stack.remove_device("eth0") ? complain("removed twice") : 0;
  });
  let_go();
  EXPECT_EQ(status_of(pid), 0);
}

}  // namespace
}  // namespace lkm
