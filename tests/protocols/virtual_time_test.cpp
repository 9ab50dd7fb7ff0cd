// SPDX-License-Identifier: GPL-2.0
//
// In virtual time a run is a function of its seed and its inputs: here by every byte and every
// moment of a lossy path's packets. Each run maps its library and its memory anew, at addresses of its own.
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/protocols/stack_test.hpp"
#include "toolkit/net/links.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

/// Hashes what passes a device, with the time, until the stack ends.
class Trace {
 public:
  Trace(Stack& stack, const std::string& netns) : stack_(stack) {
    fiber_ = stack.spawn("trace", [this, netns] {
                    ASSERT_TRUE(stack_.netns_enter(netns));
                    run();
                  }).value();
    stack.yield();
  }
  ~Trace() {
    done_ = true;
    fiber_.interrupt();
    fiber_.join();
    XXH3_freeState(state_);
  }

  [[nodiscard]] std::string text() const {
    return fmt::format("{} packets, {:016x}", packets_, XXH3_64bits_digest(state_));
  }

 private:
  void run() {
    const StackFd socket =
        open_socket(stack_, AF_PACKET, SOCK_RAW, int{ntohs(ETH_P_ALL)});
    socket.set_option(SOL_SOCKET, SO_RCVBUFFORCE, int{64 << 20});
    socket.set_option(SOL_SOCKET, SO_TIMESTAMPNS, int{1});
    std::vector<std::byte> frame(1 << 16);
    while (!done_) {
      std::array<char, 256> control{};
      iovec part{frame.data(), frame.size()};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      const long n = socket.call(SYS_recvmsg, &message, 0);
      if (n <= 0) continue;
      ++packets_;
      XXH3_64bits_update(state_, frame.data(), std::size_t(n));
      XXH3_64bits_update(state_, control.data(), message.msg_controllen);
    }
  }

  Stack& stack_;
  Fiber fiber_;
  XXH3_state_t* state_ = [] {
    auto* state = XXH3_createState();
    XXH3_64bits_reset(state);
    return state;
  }();
  std::uint64_t packets_ = 0;
  bool done_ = false;
};

/// A fork has its parent's address space: what this process maps from now on goes elsewhere, as in a new program.
void move_memory() {
  std::uint32_t pages = 0;
  ASSERT_EQ(::getrandom(&pages, sizeof pages, 0), ssize_t(sizeof pages));
  ASSERT_NE(::mmap(nullptr, (std::size_t(pages) % 100'000 + 1) << 12, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            MAP_FAILED);
}

class InVirtualTime : public StackTest {
 protected:
  /// What a run with that seed put on the wire.
  std::string trace(std::uint64_t seed) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      move_memory();
      const std::string text = run(seed);
      [[maybe_unused]] const auto n = ::write(ends[1], text.data(), text.size());
      ::_exit(HasFailure() ? 1 : 0);
    }
    ::close(ends[1]);
    std::string text;
    char buffer[4096];
    for (long n = 0; (n = ::read(ends[0], buffer, sizeof(buffer))) > 0;) text.append(buffer, std::size_t(n));
    ::close(ends[0]);
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    return text;
  }

  std::string run(std::uint64_t seed) {
    std::string text;
    boot(
        [&](Stack& stack) {
          Links links(stack);
          const auto link = links.add({.a = "client", .b = "server", .rate = 20'000'000, .delay = 20ms,
                                       .jitter = 1ms, .loss = 0.003});
          ASSERT_TRUE(link) << link.error().message();
          const Trace trace(stack, "server");
          std::vector<std::shared_ptr<Flow>> flows;
          for (const std::string control : {"cubic", "reno", "bbr", "vegas"}) {
            // Those that are built in are no modules.
            if (control == "bbr" || control == "vegas") {
              ASSERT_TRUE(stack.load("tcp_" + control));
            }
            auto flow = Flow::start(stack, {.route = {.client = "client", .server = "server", .control = control},
                                            .duration = 10s});
            ASSERT_TRUE(flow) << flow.error().message();
            flows.push_back(*flow);
          }
          for (auto& flow : flows) {
            flow->wait();
            const auto report = flow->report();
            text += fmt::format("{} {} {} {} {}\n", report.client_control, report.server,
                                report.bytes_received, report.tcp ? report.tcp->retransmits : 0,
                                report.elapsed.count());
          }
          text += fmt::format("{} {}\n", stack.now().count(), trace.text());
        },
        Clock::kVirtual, seed);
    return text;
  }
};

TEST_F(InVirtualTime, TheSamePacketsPassAtTheSameTimes) {
  const std::string first = trace(1);
  EXPECT_NE(first.find(" packets, "), std::string::npos) << first;
  EXPECT_EQ(first, trace(1));
  EXPECT_EQ(first, run(1));
}

TEST_F(InVirtualTime, AnotherSeedGivesOtherPackets) {
  const std::string one = trace(1);
  EXPECT_NE(one, run(2));
}

}  // namespace
}  // namespace lkm
