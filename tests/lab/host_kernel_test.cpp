// SPDX-License-Identifier: GPL-2.0
//
// The same path in the lab and in the host's own kernel: three network namespaces of the test's own, veth pairs, a token
// bucket on the router, and one flow. The lab has it in virtual time; the host takes as long as it lasts.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>

#include "tests/lab/lab_test.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr auto kDuration = 12s;
constexpr std::uint64_t kRate = 20'000'000;
constexpr std::uint64_t kQueue = 150'000;  // bytes
constexpr std::uint16_t kPort = 4712;

/// What is compared.
struct Observed {
  double goodput = 0;     ///< bit/s
  double srtt_us = 0;     ///< mean of the second half
  double deviation = 0;   ///< of the samples of srtt in that half
  std::uint64_t retransmits = 0;
};

/// Mean and deviation of the smoothed round trip times.
void note_rtts(const std::vector<double>& rtts, Observed& observed) {
  for (const double rtt : rtts) observed.srtt_us += rtt / double(rtts.size());
  double squares = 0;
  for (const double rtt : rtts) squares += (rtt - observed.srtt_us) * (rtt - observed.srtt_us);
  observed.deviation = std::sqrt(squares / double(rtts.size()));
}

bool host(const std::string& command) { return std::system(command.c_str()) == 0; }

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  ::_exit(1);
}

/// Of a process that made its network namespace: waits for the router to put an interface there.
void enter_namespace(int tell, int wait) {
  char byte = '!';
  if (::unshare(CLONE_NEWNET) != 0) ::_exit(77);
  if (::write(tell, &byte, 1) != 1 || ::read(wait, &byte, 1) != 1) give_up("the router");
}

sockaddr_in receiver_address() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  ::inet_pton(AF_INET, "10.78.1.2", &address.sin_addr);
  return address;
}

/// Writes the number of bytes of one connection to `tell`.
void receive_all(int tell, int wait) {
  enter_namespace(tell, wait);
  if (!host("ip addr add 10.78.1.2/24 dev v1 && ip link set v1 up && ip route add default via 10.78.1.1"))
    give_up("the receiver's interface");
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM, 0));
  const sockaddr_in address = receiver_address();
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) give_up("bind");
  ::listen(listener.get(), 1);
  if (::write(tell, "!", 1) != 1) give_up("tell that it listens");
  const UniqueFd connection(::accept(listener.get(), nullptr, nullptr));
  std::vector<char> block(65536);
  std::uint64_t bytes = 0;
  for (ssize_t n = 0; (n = ::recv(connection.get(), block.data(), block.size(), 0)) > 0;) bytes += std::uint64_t(n);
  if (::write(tell, &bytes, sizeof bytes) != sizeof bytes) give_up("tell the bytes");
}

/// Writes what it observed, without the goodput, to `tell`.
void send_for_a_while(const char* control, int tell, int wait) {
  enter_namespace(tell, wait);
  if (!host("ip addr add 10.78.0.2/24 dev v0 && ip link set v0 up && ip route add default via 10.78.0.1 && "
            "ethtool -K v0 tso off gso off >/dev/null"))
    give_up("the sender's interface");
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::setsockopt(socket.get(), IPPROTO_TCP, TCP_CONGESTION, control, socklen_t(std::strlen(control))) != 0)
    give_up(control);
  const sockaddr_in address = receiver_address();
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) give_up("connect");
  const std::vector<char> block(65536);
  const auto began = Steady::now();
  std::vector<double> rtts;
  tcp_info info{};
  for (auto next = began + 100ms; Steady::now() < began + kDuration;) {
    pollfd room{socket.get(), POLLOUT, 0};
    ::poll(&room, 1, 10);
    if ((room.revents & POLLOUT) != 0) (void)::send(socket.get(), block.data(), block.size(), MSG_DONTWAIT);
    if (Steady::now() < next) continue;
    next += 100ms;
    socklen_t size = sizeof info;
    ::getsockopt(socket.get(), IPPROTO_TCP, TCP_INFO, &info, &size);
    if (Steady::now() > began + kDuration / 2) rtts.push_back(info.tcpi_rtt);
  }
  // What is acknowledged by now, as the lab counts what has arrived.
  Observed observed{.goodput = double(info.tcpi_bytes_acked) * 8 / std::chrono::duration<double>(kDuration).count(),
                    .retransmits = info.tcpi_total_retrans};
  note_rtts(rtts, observed);
  if (::write(tell, &observed, sizeof observed) != sizeof observed) give_up("tell what was observed");
}

/// A process of ours: what it tells comes from `heard`, and it goes on at each byte that is written to `go_on`.
struct Process {
  pid_t pid = -1;
  UniqueFd heard, go_on;
};
Process in_process(const std::function<void(int tell, int wait)>& body) {
  int told[2], wait[2];
  if (::pipe2(told, O_CLOEXEC) != 0 || ::pipe2(wait, O_CLOEXEC) != 0) give_up("pipe");
  Process process{.heard = UniqueFd(told[0]), .go_on = UniqueFd(wait[1])};
  process.pid = ::fork();
  if (process.pid == 0) {
    body(told[1], wait[0]);
    ::_exit(0);
  }
  ::close(told[1]);
  ::close(wait[0]);
  return process;
}

/// The router, in a namespace of its own: a token bucket towards the receiver.
void route(const char* control, int tell) {
  // What not every host has is tried first: what fails after it is a failure.
  if (::unshare(CLONE_NEWNET) != 0 ||
      !host("ip link add t0 type veth peer name t1 && tc qdisc add dev t0 root tbf rate 1mbit burst 1600 limit 9000"))
    ::_exit(77);
  char byte = 0;
  const Process receiver = in_process(receive_all);
  const Process sender = in_process([&](int to, int from) { send_for_a_while(control, to, from); });
  for (const auto* process : {&receiver, &sender}) {
    if (::read(process->heard.get(), &byte, 1) != 1) give_up("a namespace");
  }
  if (!host(fmt::format("ip link add r0 type veth peer name v0 netns {} && ip link add r1 type veth peer name v1 netns {} && "
                        "ip addr add 10.78.0.1/24 dev r0 && ip addr add 10.78.1.1/24 dev r1 && "
                        "ip link set r0 up && ip link set r1 up && echo 1 >/proc/sys/net/ipv4/ip_forward && "
                        "tc qdisc add dev r1 root tbf rate {}bit burst 1600 limit {}",
                        sender.pid, receiver.pid, kRate, kQueue)))
    give_up("the router's interfaces");
  Observed observed;
  if (::write(receiver.go_on.get(), "!", 1) != 1 || ::read(receiver.heard.get(), &byte, 1) != 1 ||
      ::write(sender.go_on.get(), "!", 1) != 1 ||
      ::read(sender.heard.get(), &observed, sizeof observed) != sizeof observed ||
      ::write(tell, &observed, sizeof observed) != sizeof observed)
    give_up("the flow");
  for (const auto* process : {&receiver, &sender}) ::waitpid(process->pid, nullptr, 0);
}

/// nullopt without the rights to make namespaces, or without veth or tbf.
std::optional<Observed> on_host(const char* control) {
  const Process router = in_process([&](int tell, int) { route(control, tell); });
  Observed observed;
  const bool told = ::read(router.heard.get(), &observed, sizeof observed) == sizeof observed;
  int status = 0;
  ::waitpid(router.pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) return std::nullopt;
  EXPECT_TRUE(told);
  return observed;
}

class TheHostsKernel : public LabTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(TheHostsKernel, SendsAsTheLabDoes) {
  const auto theirs = on_host(GetParam());
  if (!theirs) GTEST_SKIP() << "no network namespaces with veth and tbf";
  Scenario scenario;
  scenario.duration = kDuration;
  scenario.links.push_back({.a = "sender", .b = "router"});
  scenario.links.push_back({.a = "router", .b = "receiver", .rate = kRate, .limit = {double(kQueue), Limit::Unit::kBytes}});
  scenario.flows.push_back({.from = "sender", .to = "receiver", .control = GetParam()});
  const RunResult result = run(scenario);
  const auto& samples = result.flows.at(0).samples;
  Observed ours{.goodput = double(samples.back().bytes_received) * 8 / std::chrono::duration<double>(kDuration).count(),
                .retransmits = samples.back().retransmits};
  std::vector<double> rtts;
  for (std::size_t i = samples.size() / 2; i < samples.size(); ++i) rtts.push_back(samples[i].srtt_us);
  note_rtts(rtts, ours);

  const auto text = [](const Observed& of) {
    return fmt::format("{:.2f} Mbit/s, round trip {:.1f} ms ± {:.1f}, {} retransmits", of.goodput / 1e6, of.srtt_us / 1e3,
                       of.deviation / 1e3, of.retransmits);
  };
  std::printf("%s: lab %s; host %s\n", GetParam(), text(ours).c_str(), text(*theirs).c_str());
  EXPECT_NEAR(ours.goodput / theirs->goodput, 1, 0.03);
  EXPECT_NEAR(ours.srtt_us / theirs->srtt_us, 1, 0.15);
  EXPECT_LT(ours.retransmits, 2 * theirs->retransmits + 20);
  EXPECT_LT(theirs->retransmits, 2 * ours.retransmits + 20);
}
INSTANTIATE_TEST_SUITE_P(With, TheHostsKernel, ::testing::Values("reno", "cubic"),
                         [](const auto& with) { return with.param; });

}  // namespace
}  // namespace lkm::lab
