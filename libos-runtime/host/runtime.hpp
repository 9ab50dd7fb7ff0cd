// SPDX-License-Identifier: GPL-2.0
//
// Runtime: the machine that the library kernel runs on. It has one CPU, and this is how host threads share
// it.
//
// The CPU is a token. The thread that has it, the carrier, executes kernel code: always on some fiber's
// stack, never on its own. It gives the token up at one of two places, and only there:
//   - in the idle task, when nothing is runnable;
//   - in a thread's syscall fiber, when its result is ready, and the carrier is that very thread or nobody else is
//     to run: the thread goes back to its program, as a CPU goes back to user mode.
// The fiber that stands there is "parked": it is still the kernel's current task. Whoever takes the token
// next goes on in the parked fiber, finds out there what is to be done, and lets the scheduler switch.
//
// The loop thread waits in epoll while the token is free, with the next clock event as its timeout. Then it
// takes the token, and the interrupts follow. In a stack of Stack::run() it is the only thread. In the
// embedded mode (Stack::boot()), a program's thread that calls syscall() has a fiber in the stack. It hands
// the call to that fiber, and carries the CPU itself if it can get it: with nobody else there, a call costs
// one compare-and-swap and two stack switches.
//
// Order between threads: a call is put into `calls_` before the token is tried; the token is freed before
// `calls_` is looked at. One of the two sides sees the other. A fiber learns of a call only from who has
// the token: from its own thread, or from admit_calls(), so each call is executed once and no fiber answers
// while its thread still stands in `calls_`. In the same way the loop thread says until when it sleeps
// before it looks at the clock event again, and a carrier moves the clock event before it asks until when.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "libos-runtime/abi/libos.h"
#include "libos-runtime/host/clock.hpp"
#include "libos-runtime/host/context.hpp"
#include "libos-runtime/host/event_loop.hpp"
#include "libos-runtime/host/fiber_stacks.hpp"
#include "libos-runtime/host/random.hpp"
#include "libos-runtime/host/sanitizer.hpp"
#include "libos-runtime/host/snapshot.hpp"
#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/mapping.hpp"

namespace lkm {

/// What a fiber does. The kernel keeps the pointer as the task's cookie.
class FiberBody {
 public:
  virtual void run() = 0;
  /// On the ending fiber, with `died` by an oops: then run() was cut off, and nothing of it unwound.
  /// The last use of the object by the runtime.
  virtual void ended(bool died) = 0;

 protected:
  ~FiberBody() = default;
};

/// A host thread that can carry the CPU, and its call under way.
class Carrier final : public FiberBody {
 public:
  void run() override;
  void ended(bool died) override;
  void answer(long value);  ///< under the token; the thread wakes up when the CPU is given up
  void wake();

  Context native;              ///< where the thread goes on when it gives the CPU up
  sanitizer::Bounds bounds;    ///< of the thread's own stack
  libos_task* task = nullptr;  ///< the fiber of its calls; nullptr: the loop thread, or not made yet
  const unsigned long* args = nullptr;
  std::function<void()>* body = nullptr;  ///< runs in place of a system call
  long wanted = kNone;                    ///< the call that the thread makes
  long number = kNone;                    ///< the call that the fiber has; under the token
  long result = 0;
  std::atomic<std::uint32_t> done{kPending};  ///< futex word
  Carrier* next = nullptr;             ///< in Runtime::calls_, or among those that are answered

  // Of `done`: `result` is not there, and the thread sleeps, or `result` is there. Who does not sleep costs no call of the host.
  static constexpr std::uint32_t kPending = 0, kSleeps = 1, kDone = 2;

  static constexpr long kNone = -1;
  static constexpr long kBody = -2;
  static constexpr long kEnd = -3;  ///< the thread ends
};

/// Threads to wake when the CPU is given up, in the order of their answers.
class Answered {
 public:
  void add(Carrier& carrier);
  void wake() const;

 private:
  Carrier* first_ = nullptr;
  Carrier* last_ = nullptr;
};

/// What the kernel asks of the host about plugins that are audited.
class LedgerHost {
 public:
  virtual void plugin_kept(void* plugin, const char* name, const char* why) = 0;
  virtual std::string source_line(std::uint32_t build, std::uint64_t at) = 0;
  virtual void look_for_pointers(void* plugin, std::span<libos_block> blocks) = 0;

 protected:
  ~LedgerHost() = default;
};

class Runtime {
 public:
  /// Loads the library. Errors: see Stack::run().
  static Result<std::unique_ptr<Runtime>> create(const Stack::Options& options);
  ~Runtime();

  /// Boots and runs the loop on the calling thread until the stack halts. `init` is pid 1's program: it
  /// runs on a fiber and must not return. The error of a panic is its text.
  Result<void> run(std::function<void()> init);

  [[nodiscard]] const libos_entry& kernel() const { return *entry_; }
  [[nodiscard]] const Stack::Options& options() const { return options_; }
  [[nodiscard]] EventLoop& events() { return events_; }
  [[nodiscard]] std::uint64_t now() const { return clock_.now(); }
  [[nodiscard]] std::vector<BootStage> boot_chart() const;

  // -- fibers -------------------------------------------------------------------------------------
  /// On a fiber. Errors: as fork(2).
  Result<libos_task*> spawn(const std::string& name, FiberBody* body);
  /// Kernel log text, besides Options::console. Set by Stack.
  std::function<void(std::string_view)> on_console;
  /// request_module(); returns 0 or -errno. Set by Stack.
  std::function<int(const char* name)> on_modprobe;
  /// Set by Stack.
  LedgerHost* ledger = nullptr;
  /// For back traces: the source line of an address in a module, and what a trace is of. Set by Stack.
  std::function<std::string(std::uintptr_t address)> on_source_line;
  std::function<void(const libos_trace& trace)> on_back_trace;
  /// In a copy that goes on. Set by Stack.
  std::function<void()> at_resume;
  /// The same, for the devices.
  std::function<void()> resume_devices;
  /// A fiber waits for the host and not for stack time (both ends of the wait). Virtual time stands while
  /// all fibers do.
  void host_wait_begins() { --busy_fibers_; }
  void host_wait_ends() { ++busy_fibers_; }
  /// On a fiber: takes the host's interrupt now. In virtual time, and with other threads, the loop thread says when.
  void poll_host();

  /// Where the kernel keeps its data: the pool and its own variables.
  [[nodiscard]] std::vector<std::span<std::byte>> memory() const;
  /// On a fiber: see Snapshot::take(). In the copy everything is as it was, but for host time. EOPNOTSUPP in a
  /// stack with other threads, which a copy would lack.
  Result<Snapshot::Side> take_snapshot();
  Snapshot& snapshot() { return snapshot_; }
  /// In a copy that goes on: since the other one died.
  [[nodiscard]] std::chrono::nanoseconds since_death() const;
  /// The stack goes on in its snapshot; where there is none, it ends, and run() with ENOTRECOVERABLE. From any context
  /// of the kernel.
  [[noreturn]] void die(const std::string& why);
  /// Why the stack dies, should it do so now: better words than those of the panic that follows.
  void note_cause(std::string why);
  /// The text of a panic under way; empty if there is none.
  [[nodiscard]] const std::string& panic() const { return panic_; }
  /// While there is a snapshot: code that is not to keep the CPU for ever. Empty: there is no such code.
  void watch_code(std::span<const std::byte> code);

  /// Plugin handles whose modules the kernel has freed; the caller unmaps them.
  std::vector<void*> take_freed_plugins();

  /// Whether the calling thread executes on a fiber now.
  [[nodiscard]] bool on_fiber() const;

  // -- embedded mode --------------------------------------------------------------------------------
  /// Other threads will call; said before run().
  void allow_threads() { threads_ = true; }
  /// A system call from any thread but the loop's. The first one of a thread gives it a fiber.
  long call(long number, const unsigned long args[6]);
  /// Runs a function on the thread's fiber while the thread waits. 0, -ESHUTDOWN when the stack is gone,
  /// or -EFAULT when the function met an oops.
  long call(std::function<void()> body);
  void end_thread(Carrier& carrier);

  struct Callbacks;

 private:
  friend struct Callbacks;
  friend class Carrier;
  enum class Token : std::uint32_t { kFree, kTaken, kGone };

  Runtime(const Stack::Options& options, EventLoop events)
      : options_(options), clock_(options.clock), events_(std::move(events)) {}

  // The token.
  bool try_take();
  void enter(Carrier& carrier);   ///< has the token: goes on in the parked fiber until it is given up
  void give_up();                 ///< on a fiber: parks it, and goes on in the carrier's thread
  [[noreturn]] void leave(bool panicked);      ///< on a fiber: the stack is gone
  void loop(Carrier& carrier);
  void wait();

  // Calls of other threads.
  Carrier& carrier_of_this_thread();
  long call(Carrier& carrier, long number);
  void submit(Carrier& carrier);
  void admit_calls();  ///< interrupt: wakes the fibers of submitted calls
  [[nodiscard]] bool has_nobody_else() const;
  void pid1();

  // Host operations.
  void idle();
  void interrupt();
  void arm_tick(bool on);
  void keep_log(std::string_view text);
  /// Of the library, those with that flag (PF_X, PF_W).
  [[nodiscard]] std::vector<std::span<std::byte>> segments(unsigned flag) const;
  void watch_for_a_stall(void* ucontext);
  [[nodiscard]] bool is_in_watched_code(std::uintptr_t ip, std::uintptr_t frame) const;

  Stack::Options options_;
  StackClock clock_;
  Answered answered_;
  EventLoop events_;
  FiberStacks stacks_;
  Mapping pool_;
  Random random_;
  const libos_entry* entry_ = nullptr;
  libos_cpu* cpu_ = nullptr;
  void* library_ = nullptr;
  libos_host host_{};
  libos_boot boot_{};
  std::function<void()> init_;
  std::string panic_;       ///< text of the panic, from the console
  bool panicked_ = false;

  std::atomic<Token> token_{Token::kTaken};
  Context parked_;          ///< the fiber that the next carrier goes on in
  sanitizer::Bounds parked_bounds_;
  std::atomic<Carrier*> carrier_{nullptr};  ///< nullptr while the token is free
  bool threads_ = false;
  std::atomic<Carrier*> calls_{nullptr};
  std::vector<Carrier*> new_carriers_;  ///< whose first call waits for a fiber
  libos_task* pid1_ = nullptr;
  std::atomic<std::uint64_t> loop_deadline_{0};  ///< until when the loop thread sleeps
  std::mutex carriers_mutex_;
  std::vector<std::unique_ptr<Carrier>> carriers_;

  Snapshot snapshot_;
  std::string since_snapshot_;   ///< kernel log text
  std::string cause_;            ///< see note_cause()
  std::uint64_t died_ns_ = 0;    ///< host time at which that began; 0: it does not
  std::span<const std::byte> library_code_;
  std::span<const std::byte> watched_code_;
  // While there is a snapshot; in ticks.
  std::uint32_t ticks_without_interrupt_ = 0;
  std::uint32_t ticks_inside_ = 0;  ///< without a context switch, and with the watched code on the call stack
  std::uint64_t switches_seen_ = 0;
  timer_t tick_{};
  bool tick_made_ = false;
  bool tick_on_ = false;
  bool slept_a_tick_ = false;  ///< the tick, and nothing else, ended the last wait
  int busy_fibers_ = 1;  ///< pid 1, while it boots
  unsigned virtual_idles_ = 0;
  std::vector<void*> freed_plugins_;
};

/// The one runtime of the process; nullptr before boot.
extern Runtime* g_runtime;

}  // namespace lkm
