// SPDX-License-Identifier: GPL-2.0
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <thread>

#include "tests/host/host_test.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

/// Two connected TCP sockets of the stack.
struct Connected {
  StackFd client, server;
};

Connected connect_pair(Stack& stack) {
  StackFd listener(stack, int(stack.syscall(SYS_socket, AF_INET, SOCK_STREAM, 0)));
  StackFd client(stack, int(stack.syscall(SYS_socket, AF_INET, SOCK_STREAM, 0)));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(name);
  EXPECT_EQ(listener.call(SYS_bind, &name, sizeof(name)), 0);
  EXPECT_EQ(listener.call(SYS_listen, 8), 0);
  EXPECT_EQ(listener.call(SYS_getsockname, &name, &length), 0);
  EXPECT_EQ(client.call(SYS_connect, &name, sizeof(name)), 0);
  StackFd server(stack, int(listener.call(SYS_accept, nullptr, nullptr)));
  EXPECT_TRUE(server);
  return {std::move(client), std::move(server)};
}

/// Fails the test, and ends the process, when `body` takes longer than that: a lost wake-up would
/// wait for ever, and no thread could be joined.
template <typename Body>
void within(std::chrono::seconds limit, Body body) {
  std::promise<void> done;
  std::jthread watchdog([&, future = done.get_future()] {
    if (future.wait_for(limit) == std::future_status::ready) return;
    std::fputs("a wake-up was lost\n", stderr);
    std::abort();
  });
  body();
  done.set_value();
}

class ThreadsOfAnEmbeddedStack : public HostTest {};

TEST_F(ThreadsOfAnEmbeddedStack, CallAtOnce) {
  embed([](Stack& stack) {
    within(60s, [&] {
      std::atomic<long> calls{0};
      std::vector<std::jthread> threads;
      for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&] {
          const long self = stack.syscall(SYS_gettid);
          for (int i = 0; i < 5000; ++i) {
            if (stack.syscall(SYS_gettid) == self) ++calls;
          }
        });
      }
      threads.clear();
      EXPECT_EQ(calls, 8 * 5000);
    });
  });
}

TEST_F(ThreadsOfAnEmbeddedStack, AreTasksOfTheirOwn) {
  embed([](Stack& stack) {
    const long first = stack.syscall(SYS_gettid);
    long second = 0;
    std::thread([&] { second = stack.syscall(SYS_gettid); }).join();
    EXPECT_GT(first, 1);
    EXPECT_GT(second, 1);
    EXPECT_NE(first, second);
    EXPECT_EQ(stack.syscall(SYS_gettid), first);
    EXPECT_EQ(stack.syscall(-2), -ENOSYS);
  });
}

TEST_F(ThreadsOfAnEmbeddedStack, PassBulkDataIntact) {
  embed([](Stack& stack) {
    within(120s, [&] {
      auto pair = connect_pair(stack);
      constexpr std::size_t kTotal = std::size_t{64} << 20;
      const auto byte_at = [](std::size_t at) { return char(at * 31 + (at >> 13)); };
      std::jthread sender([&] {
        std::vector<char> block(65536);
        for (std::size_t at = 0; at < kTotal;) {
          const auto count = std::min(block.size(), kTotal - at);
          for (std::size_t i = 0; i < count; ++i) block[i] = byte_at(at + i);
          for (std::size_t done = 0; done < count;) {
            const long n = pair.client.call(SYS_write, block.data() + done, count - done);
            ASSERT_GT(n, 0);
            done += std::size_t(n);
          }
          at += count;
        }
        ASSERT_EQ(pair.client.call(SYS_shutdown, SHUT_WR), 0);
      });
      std::vector<char> buffer(65536);
      std::size_t got = 0;
      std::size_t wrong = 0;
      long n = 0;
      while ((n = pair.server.call(SYS_read, buffer.data(), buffer.size())) > 0) {
        for (long i = 0; i < n; ++i)
          wrong += buffer[std::size_t(i)] != byte_at(got + std::size_t(i));
        got += std::size_t(n);
      }
      EXPECT_EQ(n, 0);
      EXPECT_EQ(got, kTotal);
      EXPECT_EQ(wrong, 0u);
    });
  });
}

TEST_F(ThreadsOfAnEmbeddedStack, LoseNoWakeUpInPingPong) {
  embed([](Stack& stack) {
    within(120s, [&] {
      auto pair = connect_pair(stack);
      constexpr std::uint32_t kRounds = 20'000;
      std::jthread echo([&] {
        std::uint32_t value = 0;
        while (pair.server.call(SYS_read, &value, sizeof(value)) == sizeof(value)) {
          ASSERT_EQ(pair.server.call(SYS_write, &value, sizeof(value)), long(sizeof(value)));
        }
      });
      for (std::uint32_t i = 0; i < kRounds; ++i) {
        std::uint32_t back = 0;
        ASSERT_EQ(pair.client.call(SYS_write, &i, sizeof(i)), long(sizeof(i)));
        ASSERT_EQ(pair.client.call(SYS_read, &back, sizeof(back)), long(sizeof(back)));
        ASSERT_EQ(back, i);
      }
      pair.client.call(SYS_shutdown, SHUT_WR);
    });
  });
}

/// Of the stack's tasks, since boot.
long task_switches(Stack& stack) {
  const auto text = stack.read_file("/proc/stat");
  const auto at = text ? text->find("\nctxt ") : std::string::npos;
  return at == std::string::npos ? -1 : std::atol(text->c_str() + at + 6);
}

/// On one CPU of the host, so that they can only take turns.
TEST_F(ThreadsOfAnEmbeddedStack, TakeTurnsWithoutTheIdleTask) {
  cpu_set_t before, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  CPU_ZERO(&one);
  CPU_SET(::sched_getcpu(), &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  embed([](Stack& stack) {
    within(60s, [&] {
      auto pair = connect_pair(stack);
      constexpr long kRounds = 5'000;
      std::jthread echo([&] {
        char byte = 0;
        while (pair.server.call(SYS_read, &byte, 1) == 1 && pair.server.call(SYS_write, &byte, 1) == 1) {
        }
      });
      const long switches = task_switches(stack);
      char byte = 0;
      for (long i = 0; i < kRounds; ++i) {
        ASSERT_EQ(pair.client.call(SYS_write, &byte, 1), 1);
        ASSERT_EQ(pair.client.call(SYS_read, &byte, 1), 1);
      }
      // From one to the other and back; by way of the idle task it was six.
      EXPECT_LT(task_switches(stack) - switches, 3 * kRounds);
      pair.client.call(SYS_shutdown, SHUT_WR);
    });
  });
  ASSERT_EQ(::sched_setaffinity(0, sizeof(before), &before), 0);
}

/// Threads that compute for a random time between calls meet each other at every point of the
/// hand-over.
TEST_F(ThreadsOfAnEmbeddedStack, LoseNoWakeUpInShortRounds) {
  embed([](Stack& stack) {
    within(120s, [&] {
      std::vector<std::jthread> threads;
      for (unsigned t = 0; t < 6; ++t) {
        threads.emplace_back([&stack, t] {
          int ends[2];
          ASSERT_EQ(stack.syscall(SYS_pipe, ends), 0);
          std::uint32_t random = t + 1;
          for (int i = 0; i < 4000; ++i) {
            random = random * 1664525 + 1013904223;
            for (unsigned spin = random >> 22; spin > 0; --spin) __builtin_ia32_pause();
            char byte = char(i);
            ASSERT_EQ(stack.syscall(SYS_write, ends[1], &byte, 1), 1);
            if (random % 64 == 0) stack.sleep_for(50us);
            ASSERT_EQ(stack.syscall(SYS_read, ends[0], &byte, 1), 1);
            ASSERT_EQ(byte, char(i));
          }
        });
      }
    });
  });
}

TEST_F(ThreadsOfAnEmbeddedStack, ComeAndGo) {
  embed([](Stack& stack) {
    within(60s, [&] {
      for (int round = 0; round < 25; ++round) {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t) {
          threads.emplace_back([&] { EXPECT_GT(stack.syscall(SYS_gettid), 1); });
        }
      }
      // Their tasks have gone with them.
      std::size_t tasks = 0;
      for (std::size_t at = 0; at < 50 && (at == 0 || tasks > 60); ++at) {
        stack.sleep_for(20ms);
        const auto load = stack.read_file("/proc/loadavg").value();
        tasks = std::size_t(std::atoi(load.c_str() + load.find('/') + 1));
      }
      EXPECT_LT(tasks, 60u);
    });
  });
}

TEST_F(ThreadsOfAnEmbeddedStack, WorkWhileAnotherIsBlocked) {
  embed([](Stack& stack) {
    within(60s, [&] {
      auto pair = connect_pair(stack);
      char byte = 0;
      std::atomic<bool> received{false};
      std::jthread blocked([&] {
        EXPECT_EQ(pair.server.call(SYS_read, &byte, 1), 1);
        received = true;
      });
      for (int i = 0; i < 2000; ++i) EXPECT_GT(stack.syscall(SYS_getpid), 0);
      EXPECT_FALSE(received);
      EXPECT_EQ(pair.client.call(SYS_write, "x", 1), 1);
      // Without another call of this thread, which has the CPU.
      const auto deadline = std::chrono::steady_clock::now() + 5s;
      while (!received && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
      EXPECT_TRUE(received);
    });
  });
}

TEST_F(ThreadsOfAnEmbeddedStack, SleepWhileNobodyElseCalls) {
  embed([](Stack& stack) {
    within(60s, [&] {
      for (const auto duration : {1ms, 20ms, 3ms, 100ms, 1ms}) {
        const auto before = std::chrono::steady_clock::now();
        stack.sleep_for(duration);
        const auto slept = std::chrono::steady_clock::now() - before;
        EXPECT_GE(slept, duration);
        EXPECT_LT(slept, duration + 500ms);
      }
    });
  });
}

TEST_F(ThreadsOfAnEmbeddedStack, SleepSideBySideToTheirOwnDeadlines) {
  embed([](Stack& stack) {
    within(60s, [&] {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 6; ++t) {
        threads.emplace_back([&stack, t] {
          for (int i = 0; i < 100; ++i) stack.sleep_for(std::chrono::microseconds(100 + 150 * t));
        });
      }
      threads.clear();
    });
  });
}

TEST_F(ThreadsOfAnEmbeddedStack, MayStartFibersThatWaitForHostDescriptors) {
  embed([](Stack& stack) {
    within(60s, [&] {
      int fds[2];
      ASSERT_EQ(::pipe(fds), 0);
      const UniqueFd reader(fds[0]);
      const UniqueFd writer(fds[1]);
      std::atomic<int> seen{0};
      auto fiber = stack.spawn("reader", [&] {
        char byte = 0;
        while (stack.wait_fd(reader.get(), 1 /* POLLIN */) && ::read(reader.get(), &byte, 1) == 1)
          ++seen;
      });
      ASSERT_TRUE(fiber);
      std::jthread busy([&](const std::stop_token& stop) {
        while (!stop.stop_requested()) stack.syscall(SYS_getppid);
      });
      for (int i = 0; i < 500; ++i) {
        ASSERT_EQ(::write(writer.get(), "x", 1), 1);
        while (seen <= i) std::this_thread::yield();
      }
    });
  });
}

TEST_F(ThreadsOfAnEmbeddedStack, JoinAndWakeFibersThatTheyStarted) {
  embed([](Stack& stack) {
    within(60s, [&] {
      for (int i = 0; i < 50; ++i) {
        bool slept = false, woken = false;
        auto sleeper = stack.spawn("sleeper", [&] {
          stack.sleep_for(1ms);
          slept = true;
        });
        auto parked = stack.spawn("parked", [&] { woken = stack.park(); });
        ASSERT_TRUE(sleeper && parked);
        EXPECT_EQ(sleeper->join(), FiberEnd::kReturned);
        EXPECT_TRUE(slept);
        EXPECT_FALSE(parked->done());
        parked->unpark();
        EXPECT_EQ(parked->join(), FiberEnd::kReturned);
        EXPECT_TRUE(woken);
      }
    });
  });
}

TEST_F(ThreadsOfAnEmbeddedStack, LoadModulesAndEnterNamespaces) {
  embed([](Stack& stack) {
    ASSERT_TRUE(stack.load("tcp_vegas"));
    ASSERT_TRUE(stack.netns_add("blue"));
    std::thread([&] {
      ASSERT_TRUE(stack.netns_enter("blue"));
      EXPECT_TRUE(stack.sysctl("net.ipv4.tcp_congestion_control"));
    }).join();
    EXPECT_TRUE(stack.netns_del("blue"));
    EXPECT_TRUE(stack.unload("tcp_vegas"));
  });
}

}  // namespace
}  // namespace lkm
