// SPDX-License-Identifier: GPL-2.0
//
// Stack: one library kernel in this process.
//
// A process has at most one. Everything that touches the kernel runs on fibers: tasks of the library
// kernel, each with its own call stack, one at a time. A fiber blocks by a system call of the stack,
// by wait_fd() or by park(); meanwhile others run. Host calls that block for long (a compiler run, a
// read from a pipe without wait_fd) stop the whole stack, so do not make them on a fiber.
//
//   int main() {
//     auto result = lkm::Stack::run({.library = "libos.so"}, [](lkm::Stack& stack) {
//       long fd = stack.syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
//       return fd >= 0 ? 0 : 1;
//     });
//     return result.value_or(1);
//   }
//
// Exceptions must not leave a fiber. thread_local and errno do not survive a blocking call.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libos-runtime/host/source_line.hpp"
#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

struct libos_task;

namespace lkm {

class Sweep;
class Wire;
struct Change;
struct InsideSince;
class PluginFile;
struct LoadedPlugin;

enum class Clock { kReal, kVirtual };

/// A point in stack time: nanoseconds since boot of the stack.
using StackTime = std::chrono::nanoseconds;
inline constexpr StackTime kForever = StackTime::max();

inline constexpr unsigned kReadable = 0x001;  ///< EPOLLIN

/// Descriptors that a stack's fibers may have, which share one table unless they unshare it: the kernel's fs.nr_open.
inline constexpr std::size_t kStackDescriptors = std::size_t{1} << 20;

/// A stage of boot and when it ended, counted from the start of boot.
struct BootStage {
  std::string name;
  std::chrono::nanoseconds end;
};

/// A module of the stack.
struct ModuleInfo {
  std::string name;            ///< "mycc"
  std::string build_id;        ///< hex; empty when the plugin has none
  std::filesystem::path path;  ///< the plugin file that is mapped
  unsigned generation = 0;     ///< counts the builds of this name that ran here, from 1
  int refcount = 0;            ///< as in /proc/modules
  std::vector<std::string> used_by;  ///< modules that depend on it
  std::string state;           ///< "live", "loading", "unloading", "zombie"
  std::size_t size = 0;        ///< bytes mapped
  std::string why;             ///< of a zombie that an audit left: what still needs its code
};

/// What a module holds that one place in its code has asked for.
struct LedgerEntry {
  std::string kind;      ///< "timers pending", in the number of `count`
  std::string verb;      ///< what the place did: "armed"
  std::string function;  ///< of the kernel, that it called: "mod_timer"
  std::string what;      ///< a name, or the function that will be called, of the first of them; may be empty
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;         ///< of memory; else 0
  std::vector<SourceLine> place;   ///< as SourceLines::at(), from the first that is not of a kernel header
  std::uint32_t build = 0;         ///< which build's code asked
  std::uintptr_t at = 0;           ///< where, in the build's file
};

struct Ledger {
  std::vector<LedgerEntry> entries;  ///< in the order in which the places came into use
  bool complete = true;              ///< false: memory was short once, and something is missing
};

/// A device whose wire is the host's.
struct DeviceInfo {
  std::string name;      ///< that it was added with
  std::string wire;      ///< what it is plugged into: "tap tap0"
  bool carrier = false;  ///< there is another end
  bool full = false;     ///< frames wait for room in it
};

/// What becomes of the objects of a module that is swapped.
enum class StatePolicy {
  kKeep,    ///< they go on as they are; of a control's private state, all that has a place in the new code
  kReinit,  ///< a congestion control's sockets are initialised by the new code
  /// Connections stay with a congestion control's old code, which goes with the last of them; listeners and new
  /// connections get the new code. Other kinds: EOPNOTSUPP.
  kDrain,
  /// The sockets of a transport protocol or an upper layer protocol end: their owners get ENETRESET. Then the module
  /// is reloaded. So do the devices of a link driver: they are deleted. Of other kinds nothing ends; a congestion control
  /// is swapped as by kReinit.
  kReset,
};

/// How a change of a module is watched. With `snapshot` a copy of the stack is taken before it, and if the stack dies,
/// stalls, or has a task of the module that waits for ever, it goes on in that copy: nothing inside of it is lost then.
/// A module that does no more than to warn all the time is taken back without that. Costs a fork(2) of the process.
/// With `watch` alone there is no copy: the stack ends then instead (ENOTRECOVERABLE), also of an oops once the change is
/// made; for a sleep where that is forbidden the change is taken back. Neither is for embedded mode.
struct Guard {
  bool snapshot = false;
  bool watch = false;
  std::chrono::milliseconds probation{3000};
};

/// An allocation of a module's init that is to fail.
struct FailingAllocation {
  /// Which, from 1. Counted are all that the init or the setting of a parameter makes, by itself or by a function of
  /// the kernel that it calls; not what others do for it (a work, a kernel thread).
  unsigned number = 0;
  bool reached = false;  ///< after load(): it was asked for. If not, the init makes fewer than that.
  std::string place;     ///< after load(): "mycc_init (mycc.c:88)"; empty for one that the kernel does not tell of
};

struct LoadOptions {
  std::string parameters;
  Guard guard;
  FailingAllocation* failing = nullptr;  ///< in and out
};

struct SwapOptions {
  StatePolicy state = StatePolicy::kKeep;
  bool snapshot = false;  ///< see Guard
  bool watch = false;     ///< the same
  std::chrono::milliseconds probation{3000};
  /// Parameters of the new generation. Those not named here keep the old generation's value, if the user
  /// had given or changed it; else the new source's default counts.
  std::string parameters;
};

enum class SwapMethod {
  kRenewed,   ///< in place: the new code, the same objects
  kMoved,     ///< loaded beside the old one; its sockets were moved
  kReloaded,  ///< nothing used it: unloaded, and the new one loaded
};

/// What a swap did; times are wall time of the host.
struct SwapReport {
  std::string module;
  SwapMethod method = SwapMethod::kMoved;
  std::string not_in_place;     ///< why it was not renewed; empty if it was, or was not to be
  bool init_changed = false;    ///< kRenewed: the module's init is another one, and has not run
  std::size_t variables_kept = 0;  ///< kRenewed: variables with a value that the old code had given them
  /// kRenewed: builds of the module that are in memory: the present one, those whose variables it uses, and
  /// those that something still points into.
  std::size_t builds_mapped = 1;
  unsigned from_generation = 0;
  unsigned to_generation = 0;
  unsigned sockets = 0;         ///< sockets moved to the new code, in whatever state
  unsigned established = 0;     ///< of these, sockets whose congestion control was running
  unsigned states_kept = 0;  ///< of these, sockets whose private state was carried over, by its members or by its migrate hook
  std::vector<std::string> state_remarks;  ///< what of the private state is not as it was, a line a member
  std::vector<std::string> reset;  ///< kReset: the sockets that ended, and the devices that were deleted
  unsigned netns_defaults = 0;  ///< network namespaces whose default control moved
  bool zombie = false;          ///< the old code is still there, as NAME@GENERATION; ls shows it
  std::chrono::nanoseconds snapshot{};  ///< taking the copy; a pause of its own
  std::chrono::nanoseconds map{};       ///< dlopen and checks, beside the running stack
  std::chrono::nanoseconds check{};     ///< comparing the builds, beside the running stack
  std::chrono::nanoseconds quiesce{};   ///< until nobody was inside the old code
  std::chrono::nanoseconds init{};      ///< the new module's init
  std::chrono::nanoseconds transfer{};  ///< moving the sockets
  std::chrono::nanoseconds blackout{};  ///< longest time in which nothing else could run
  std::chrono::nanoseconds retire{};    ///< until the old code was unmapped
};

/// What the user pointers of a call mean that is made for another process. Both give the number of bytes that
/// were not copied, from the first bad one on. They are called in the middle of kernel code: they must not
/// throw, wait, or use the stack.
class UserMemory {
 public:
  virtual std::size_t read(void* to, const void* from, std::size_t size) noexcept = 0;
  virtual std::size_t write(void* to, const void* from, std::size_t size) noexcept = 0;

 protected:
  ~UserMemory() = default;
};

/// What a change of a module brought about, and what became of it.
struct Incident {
  std::uint64_t number = 0;  ///< counts from 1
  std::string module;
  std::string what;  ///< "bad memory access at address 0x0 in cong_avoid (mycc.c:62), in softirq"
  std::string done;  ///< "the stack goes on as it was before the swap"
  std::string runs;  ///< "mycc@1 serves"
  std::chrono::nanoseconds took{};  ///< from the fault to the stack going on

  [[nodiscard]] std::string text() const;
};

/// How a fiber ended.
enum class FiberEnd { kReturned, kOopsed };

/// Handle of a fiber. Dropping it detaches; the fiber runs on. For fibers, and in embedded mode for threads.
class Fiber {
 public:
  Fiber() = default;
  /// Waits until it ended.
  FiberEnd join();
  /// Ends the fiber's present or next interruptible wait with EINTR.
  void interrupt();
  /// Wakes it out of Stack::park().
  void unpark();
  [[nodiscard]] bool done() const;
  [[nodiscard]] int pid() const;
  explicit operator bool() const { return state_ != nullptr; }

  struct State;
  explicit Fiber(std::shared_ptr<State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<State> state_;
};

class Stack {
 public:
  struct Options {
    std::filesystem::path library;  ///< libos.so
    /// Folders with plugins of in-tree modules (`*.so`), searched by load("vegas") and request_module().
    std::vector<std::filesystem::path> module_path;
    std::size_t memory = std::size_t{128} << 20;  ///< bytes of the kernel's memory pool
    Clock clock = Clock::kReal;
    std::uint64_t seed = 1;         ///< of the kernel's randomness in virtual time
    std::string cmdline;            ///< appended to the kernel command line
    /// Kernel log text as it is printed; default: kept, readable by dmesg (/dev/kmsg) only.
    std::function<void(std::string_view)> console;
    /// The stack died and goes on from a snapshot, in another process than before; told why.
    std::function<void(const std::string& why)> on_resume;
  };

  /// Boots on the calling thread, runs `main` as a fiber, shuts the stack down when it returns, and
  /// gives back its value. Errors: no such library, another ABI version, a second stack in this
  /// process (EBUSY), a kernel panic (ENOTRECOVERABLE, with the panic's text).
  static Result<int> run(Options options, std::function<int(Stack&)> main);

  /// Embedded mode: boots beside the calling thread and returns when the stack is up. Any thread of the
  /// process may then call syscall() and the methods below; each thread is a task of the stack, and one
  /// runs kernel code at a time. park(), wait_fd() and yield() remain for fibers. The destructor shuts the
  /// stack down; no thread may be in a call then. Errors: as run().
  static Result<std::unique_ptr<Stack>> boot(Options options);

  /// The stack that the calling fiber runs on.
  static Stack& current();

  // -- system calls ------------------------------------------------------------------------------
  /// A system call of the stack, by the host's number (`SYS_socket` of <sys/syscall.h>). Pointers are
  /// plain pointers of this process. Returns the result or -errno.
  template <typename... Args>
  long syscall(long number, Args... args) {
    static_assert(sizeof...(Args) <= 6);
    const unsigned long raw[6] = {(unsigned long)args...};  // NOLINT: pointers and integers alike
    return syscall_raw(number, raw);
  }
  long syscall_raw(long number, const unsigned long args[6]);
  /// The same for another process, whose memory the pointers mean; on a fiber. An interrupted call gives one of
  /// the kernel's own -ERESTARTSYS (512) to -ERESTART_RESTARTBLOCK (516), or -EINTR where there is no restart.
  long syscall_for(UserMemory& memory, long number, const unsigned long args[6]);
  /// Whether the calling thread is in the stack's own code, as a signal's handler may ask.
  [[nodiscard]] bool is_inside() const;

  // -- fibers ------------------------------------------------------------------------------------
  /// Starts a fiber; the caller's namespaces and file table are its own too.
  Result<Fiber> spawn(const std::string& name, std::function<void()> body);
  /// Sleeps until unpark() or the deadline (stack time). False at the deadline or when interrupted.
  bool park(StackTime deadline = kForever);
  /// Sleeps in stack time.
  void sleep_for(std::chrono::nanoseconds duration);
  /// Lets other runnable fibers run.
  void yield();
  /// Takes what has come from the host (watch_fd(), wait_fd()), as the stack does by itself once no fiber is to run, and
  /// each millisecond. Not in virtual time, nor in a stack with threads.
  void poll_host();
  /// For a fiber that serves requests in a busy stack: a share of the CPU like any other's, but in slices of
  /// 0.1 ms, so that it runs soon after it wakes (EEVDF; sched_runtime of sched_setattr(2)). The fibers that
  /// it starts do not inherit it.
  void prefer_latency();
  /// Waits until a *host* descriptor has one of the poll(2) `events`; returns those it has. One
  /// waiter per descriptor and direction. Errors: ETIMEDOUT at the deadline, EINTR when interrupted.
  Result<short> wait_fd(int host_fd, short events, StackTime deadline = kForever);
  /// Calls `ready` whenever a *host* descriptor has one of `events` (epoll_ctl(2), EPOLLET and EPOLLONESHOT among them),
  /// a hang-up or an error, with those it has, until unwatch_fd(), which comes before its close(2). It runs between
  /// fibers: it may unpark them, and must not wait. EBUSY when the descriptor is waited for.
  Result<void> watch_fd(int host_fd, std::function<void(unsigned events)> ready, unsigned events = kReadable);
  /// Of one that is watched: for other events from now on. ENOENT when it is not.
  Result<void> watch_fd_for(int host_fd, unsigned events);
  void unwatch_fd(int host_fd);
  /// The same for one that was watched with EPOLLET and is closed next, at less cost.
  void forget_fd(int host_fd);
  /// Calls `action` when the stack goes on from a snapshot, after Options::on_resume. It must not wait. There is one
  /// at a time; an empty one takes it back.
  void at_resume(std::function<void()> action);
  [[nodiscard]] StackTime now() const;

  // -- files of the stack, as convenience over syscall() ------------------------------------------
  /// Whole content of a file of the stack's VFS ("/proc/net/tcp").
  Result<std::string> read_file(const std::string& path);
  Result<void> write_file(const std::string& path, std::string_view content);
  /// sysctl by its dotted name ("net.ipv4.tcp_congestion_control"); the value has no newline.
  Result<std::string> sysctl(const std::string& name);
  Result<void> sysctl(const std::string& name, const std::string& value);

  /// Writes lines into the kernel's log, of a level of syslog(2); those of level 7 are not printed.
  void log(std::string_view text, int level = 5);

  // -- network namespaces ------------------------------------------------------------------------
  /// Makes a named namespace (its loopback is up). EEXIST when the name is taken.
  Result<void> netns_add(const std::string& name);
  Result<void> netns_del(const std::string& name);
  /// Gives the calling fiber's namespace a name, as `ip netns attach` does. EEXIST as above.
  Result<void> netns_name(const std::string& name);
  [[nodiscard]] std::vector<std::string> netns_list();
  /// A new descriptor of the stack for that namespace, for setns() and IFLA_NET_NS_FD; the caller
  /// closes it by SYS_close. "" is the first namespace.
  Result<int> netns_fd(const std::string& name);
  /// Moves the calling fiber into the namespace.
  Result<void> netns_enter(const std::string& name);

  // -- devices -----------------------------------------------------------------------------------
  struct DeviceOptions {
    std::array<std::uint8_t, 6> mac{};  ///< all zero: a random one, locally administered
    unsigned mtu = 1500;                ///< bytes, without the Ethernet header
  };
  /// An Ethernet device, down, in the caller's namespace. EEXIST when the name is taken there, or by
  /// another one of these in the stack; EINVAL for a name, MAC or MTU that cannot be.
  Result<void> add_device(const std::string& name, std::unique_ptr<Wire> wire,
                          const DeviceOptions& options);
  /// By the name that it was added with. ENODEV when there is none.
  Result<void> remove_device(const std::string& name);
  Result<std::vector<DeviceInfo>> devices();

  // -- modules -----------------------------------------------------------------------------------
  /// Maps a plugin and runs its init. `what` is a plugin file or the name of an in-tree module.
  /// Dependencies are loaded first. On error nothing stays loaded, and `what()` says why.
  Result<ModuleInfo> load(const std::string& what, const std::string& parameters = "");
  Result<ModuleInfo> load(const std::string& what, const LoadOptions& options);
  /// EBUSY with its users when in use.
  Result<void> unload(const std::string& name, const Guard& guard = {});
  /// Replaces a loaded module by another build of it. On error the old generation serves on.
  Result<SwapReport> swap(const std::filesystem::path& plugin, const SwapOptions& options = {});
  Result<std::vector<ModuleInfo>> modules();
  /// What the module holds, and where in its code it has asked for it. ENOENT when it is not loaded.
  Result<Ledger> ledger(const std::string& name);
  /// What modules on probation have done. Those of a stack that died are known to the copy that goes on.
  [[nodiscard]] const std::vector<Incident>& incidents() const;
  /// Adds one that somebody else knows of; its number is given to it.
  void note_incident(Incident incident);
  /// The first one of a higher number; waits for it. EINTR when interrupted. Only on a fiber.
  Result<Incident> wait_incident(std::uint64_t number);
  /// Where in the source of a mapped plugin, of whatever generation, an address of its code is. As
  /// SourceLines::at(); empty for any other address.
  [[nodiscard]] std::vector<SourceLine> source_lines(std::uintptr_t address) const;

  // -- about -------------------------------------------------------------------------------------
  [[nodiscard]] const std::string& release() const;  ///< "6.12.117"
  [[nodiscard]] const std::vector<BootStage>& boot_chart() const;
  [[nodiscard]] const Options& options() const;

  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  struct Impl;
  explicit Stack(std::unique_ptr<Impl> impl);
  ~Stack();

 private:
  static Result<std::unique_ptr<Stack>> create(Options options);
  void install_module_hooks();
  Result<ModuleInfo> load_on_fiber(const std::string& what, const std::string& parameters,
                                   FailingAllocation* failing = nullptr);
  Result<void> let_allocations_fail(const PluginFile& plugin, unsigned number);
  unsigned allocations_left();
  Result<ModuleInfo> load_guarded(const std::string& what, const LoadOptions& options);
  Result<void> unload_guarded(const std::string& name, const Guard& guard);
  Result<void> unload_on_fiber(const std::string& name);
  Result<SwapReport> swap_on_fiber(const std::filesystem::path& plugin, const SwapOptions& options);
  Result<void> renew(LoadedPlugin& old, LoadedPlugin& plugin, SwapReport& report);
  void retire_builds(const LoadedPlugin& current, SwapReport& report);
  void sweep_memory(Sweep& sweep);
  Result<SwapReport> swap_guarded(const std::filesystem::path& plugin, const SwapOptions& options);
  Result<std::chrono::nanoseconds> begin_probation(Change change);
  Failure as_before(const Change& change);
  Result<void> panic_on_oops();
  Result<void> serves_on_probation(const std::string& module);
  Result<void> keep_probation(std::chrono::milliseconds length);
  void watch_probation(unsigned number);
  void end_probation(unsigned number);
  void take_back(unsigned number);
  void look_for_stuck_tasks(std::map<int, InsideSince>& tasks);
  std::string what_runs(const std::string& module);
  static Result<void> refuse_to_drain(const std::string& name);
  Result<void> refuse_to_delete_devices(const std::string& name, const SwapReport& report);
  Result<void> reset_sockets(const std::string& name, SwapReport& report);
  void undo_reset(const std::string& name);
  void unload_when_idle(const std::string& retired);
  Result<SwapReport> swap_idle(LoadedPlugin& old, LoadedPlugin& plugin,
                               const std::string& parameters, SwapReport report);
  Result<std::vector<ModuleInfo>> modules_on_fiber();
  Result<Ledger> ledger_on_fiber(const std::string& name);

  std::unique_ptr<Impl> impl_;
};

}  // namespace lkm
