// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/runtime.hpp"

#include <dlfcn.h>
#include <link.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "libos-runtime/host/devices.hpp"
#include "libos-runtime/host/faults.hpp"
#include "libos-runtime/host/sanitizer.hpp"
#include "toolkit/base/assert.hpp"

namespace lkm {

Runtime* g_runtime = nullptr;

namespace {

/// A library kernel boots once: its memory is what the first boot made of it.
bool g_booted = false;

constexpr std::uint64_t kNever = UINT64_MAX;
/// How often a busy stack looks at the clock and at host descriptors, at the latest.
constexpr std::uint64_t kTickNs = 1'000'000;
constexpr std::size_t kBootStack = 64 * 1024;
constexpr std::size_t kFiberStack = 256 * 1024;  // FIBER_STACK_SIZE of arch/lib
/// Ticks after which the stack is stalled, when there is a snapshot to go back to: in which no interrupt was taken, or
/// no task was switched while the CPU was inside the code that is watched. A stall in code that cannot be diverted is
/// ended after twice as many. With AddressSanitizer some of it takes longer: the kernel's memcpy() and memmove() are the
/// host's, which it checks.
constexpr std::uint32_t kStallTicks = sanitizer::kEnabled ? 3000 : 1000;
/// Of the log since a snapshot; of more, the older half is forgotten.
constexpr std::size_t kLogKept = 64 * 1024;
/// In virtual time, after how many jumps to look at host descriptors.
constexpr unsigned kVirtualTurns = 64;

int tick_signal() { return SIGRTMIN + 3; }

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t value) {
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void futex_wake(std::atomic<std::uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

// Of a library that is loaded with the program (lkm-embed): by an offset, not by a call each time.
[[gnu::tls_model("initial-exec")]] thread_local Carrier* t_carrier = nullptr;

}  // namespace

/// The host operations of the abi table. They are C functions without an argument for state, hence
/// g_runtime.
struct Runtime::Callbacks {
  static void raise(unsigned lines) {
    __atomic_fetch_or(&g_runtime->cpu_->pending, lines, __ATOMIC_RELAXED);
  }

  static void console(const char* text, std::size_t len) noexcept {
    const std::string_view line(text, len);
    if (const auto at = line.find("Kernel panic - not syncing: "); at != std::string_view::npos) {
      auto why = line.substr(at);
      g_runtime->panic_ = why.substr(0, why.find('\n'));
    }
    if (g_runtime->snapshot_.there()) g_runtime->keep_log(line);
    // The begin of its end, should it be that.
    if (line.find("BUG: ") != std::string_view::npos) g_runtime->died_ns_ = host_ns();
    g_runtime->on_console(line);
    if (g_runtime->options_.console) g_runtime->options_.console(line);
  }
  [[noreturn]] static void halt(int panicked) noexcept {
    if (panicked != 0) g_runtime->die(g_runtime->cause_.empty() ? g_runtime->panic_ : g_runtime->cause_);
    g_runtime->leave(false);
  }

  static std::uint64_t clock_ns() noexcept {
    const auto now = g_runtime->clock_.now();
    // Every look at the clock is a chance to notice that the clock event is due.
    if (now >= g_runtime->cpu_->deadline_ns) raise(1u << LIBOS_IRQ_TIMER);
    return now;
  }
  static std::uint64_t wall_ns() noexcept { return g_runtime->clock_.wall(); }
  static void delay_ns(std::uint64_t ns) noexcept {
    auto& clock = g_runtime->clock_;
    const auto end = clock.now() + ns;
    clock.advance_to(end);
    while (clock.now() < end) __builtin_ia32_pause();
  }
  static void clock_event(std::uint64_t) noexcept {}
  static void idle() noexcept { g_runtime->idle(); }
  static void irq() noexcept { g_runtime->interrupt(); }

  static void* stack_alloc(std::size_t size) noexcept { return g_runtime->stacks_.allocate(size); }
  static void stack_free(void* stack, std::size_t) noexcept { g_runtime->stacks_.free(stack); }
  static void pages_unused(void* start, std::size_t len) noexcept {
    (void)::madvise(start, len, MADV_DONTNEED);  // a failure costs memory only
  }
  static void random(void* to, std::size_t len) noexcept { g_runtime->random_.fill(to, len); }

  static void task_exit(void* cookie, int died) noexcept {
    --g_runtime->busy_fibers_;
    static_cast<FiberBody*>(cookie)->ended(died != 0);
  }
  static void switching(void* stack, std::size_t size) noexcept {
    sanitizer::leaving({stack, size});
  }
  static int modprobe(const char* name) noexcept { return g_runtime->on_modprobe(name); }
  static int net_xmit(void* device, const libos_frame_meta* meta, const libos_iov* iov,
                      unsigned n) noexcept {
    return static_cast<Device*>(device)->xmit(meta, iov, n);
  }
  static std::size_t user_read(void* user, void* to, const void* from, std::size_t len) noexcept {
    return static_cast<UserMemory*>(user)->read(to, from, len);
  }
  static std::size_t user_write(void* user, void* to, const void* from, std::size_t len) noexcept {
    return static_cast<UserMemory*>(user)->write(to, from, len);
  }
  static std::size_t frame_line(std::uint64_t ip, char* to, std::size_t len) noexcept {
    if (!g_runtime->on_source_line) return 0;
    const std::string line = g_runtime->on_source_line(ip);
    const std::size_t n = line.copy(to, len - 1);
    to[n] = '\0';
    return n;
  }
  static void back_trace(const libos_trace* trace) noexcept {
    if (g_runtime->on_back_trace) g_runtime->on_back_trace(*trace);
  }
  static void plugin_freed(void* plugin) noexcept { g_runtime->freed_plugins_.push_back(plugin); }
  static void plugin_kept(void* plugin, const char* name, const char* why) noexcept {
    g_runtime->ledger->plugin_kept(plugin, name, why);
  }
  static void source_line(std::uint32_t build, std::uint64_t at, char* text, std::size_t len) noexcept {
    const std::string line = g_runtime->ledger->source_line(build, at);
    const auto n = std::min(line.size(), len - 1);
    std::memcpy(text, line.data(), n);
    text[n] = '\0';
  }
  static void look_for_pointers(void* plugin, libos_block* blocks, std::size_t n) noexcept {
    g_runtime->ledger->look_for_pointers(plugin, {blocks, n});
  }

  static faults::Where where() {
    if (g_runtime == nullptr || !g_runtime->on_fiber()) return {};
    return {true, g_runtime->entry_->stack()};
  }
  static void tick(int, siginfo_t*, void* ucontext) {
    // In virtual time the tick is a watch and nothing else.
    if (!g_runtime->clock_.is_virtual()) raise(1u << LIBOS_IRQ_TIMER | 1u << LIBOS_IRQ_HOST);
    g_runtime->watch_for_a_stall(ucontext);
  }
  static void ring(int) { raise(1u << LIBOS_IRQ_HOST); }
  static void init(void*) noexcept { g_runtime->pid1(); }
  static void fiber(void* cookie) noexcept { static_cast<FiberBody*>(cookie)->run(); }
  static void boot(void*) noexcept {
    sanitizer::arrived();
    const int err = g_runtime->entry_->boot(&g_runtime->host_, &g_runtime->boot_);
    g_runtime->panic_ = fmt::format("the library refused to boot: {}", std::strerror(-err));
    g_runtime->leave(true);
  }
};

Result<std::unique_ptr<Runtime>> Runtime::create(const Stack::Options& options) {
  if (g_booted) {
    return fail_hint(EBUSY, "run the second stack in a process of its own", "boot '{}'",
                     options.library.string());
  }
  LKM_TRY(auto events, EventLoop::create());
  auto runtime = std::unique_ptr<Runtime>(new Runtime(options, std::move(events)));
  runtime->boot_.start_ns = host_ns();

  // Local scope, bound now: the library's snprintf must not become the process's.
  runtime->library_ = ::dlopen(options.library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (runtime->library_ == nullptr) {
    return fail_hint(ENOENT, "Kbuild/kernel builds the library kernel", "load '{}': {}",
                     options.library.string(), ::dlerror());
  }
  runtime->entry_ =
      static_cast<const libos_entry*>(::dlsym(runtime->library_, LIBOS_ENTRY));
  if (runtime->entry_ == nullptr || runtime->entry_->abi_version != LIBOS_ABI_VERSION ||
      runtime->entry_->size != sizeof(libos_entry)) {
    return fail_hint(EPROTO, "Kbuild/kernel builds the library that fits this program",
                     "load '{}': not a library kernel of ABI version {}", options.library.string(),
                     LIBOS_ABI_VERSION);
  }
  runtime->cpu_ = runtime->entry_->cpu;
  if (const auto code = runtime->segments(PF_X); !code.empty()) runtime->library_code_ = code.front();
  LKM_TRY(runtime->pool_, Mapping::memory(options.memory, PROT_READ | PROT_WRITE, MAP_NORESERVE));
  if (options.clock == Clock::kVirtual) runtime->random_.seed(options.seed);
  return runtime;
}

Runtime::~Runtime() {
  if (tick_made_) {
    ::timer_delete(tick_);
    // One that is pending would look for the stack.
    for (const int number : {tick_signal(), SIGIO}) ::signal(number, SIG_IGN);
  }
  g_runtime = nullptr;
}

Result<void> Runtime::run(std::function<void()> init) {
  g_runtime = this;
  g_booted = true;
  init_ = std::move(init);
  options_.cmdline = fmt::format("panic=-1 loglevel=7 printk.devkmsg=on {}", options_.cmdline);

  host_ = libos_host{.abi_version = LIBOS_ABI_VERSION,
                     .size = sizeof(libos_host),
                     .console = Callbacks::console,
                     .halt = Callbacks::halt,
                     .clock_ns = Callbacks::clock_ns,
                     .wall_ns = Callbacks::wall_ns,
                     .delay_ns = Callbacks::delay_ns,
                     .clock_event = Callbacks::clock_event,
                     .idle = Callbacks::idle,
                     .irq = Callbacks::irq,
                     .stack_alloc = Callbacks::stack_alloc,
                     .stack_free = Callbacks::stack_free,
                     .pages_unused = clock_.is_virtual() ? nullptr : Callbacks::pages_unused,
                     .memcpy = std::memcpy,
                     .memmove = std::memmove,
                     .memset = std::memset,
                     .memcmp = std::memcmp,
                     .random = Callbacks::random,
                     .task_exit = Callbacks::task_exit,
                     .switching = sanitizer::kEnabled ? Callbacks::switching : nullptr,
                     .switched = sanitizer::kEnabled ? sanitizer::arrived : nullptr,
                     .modprobe = Callbacks::modprobe,
                     .plugin_freed = Callbacks::plugin_freed,
                     .plugin_kept = Callbacks::plugin_kept,
                     .source_line = Callbacks::source_line,
                     .look_for_pointers = Callbacks::look_for_pointers,
                     .frame_line = Callbacks::frame_line,
                     .back_trace = Callbacks::back_trace,
                     .user_read = Callbacks::user_read,
                     .user_write = Callbacks::user_write,
                     .net_xmit = Callbacks::net_xmit};
  boot_.pool = pool_.data();
  boot_.pool_len = pool_.size();
  boot_.cmdline = options_.cmdline.c_str();
  boot_.host_ns = host_ns;
  boot_.init = Callbacks::init;

  Carrier carrier;
  carrier.bounds = sanitizer::this_thread();
  t_carrier = &carrier;
  faults::prepare_thread();
  faults::install(*entry_, Callbacks::where);

  LKM_TRY(const auto boot_stack, Mapping::memory(kBootStack));
  parked_ = make_context(boot_stack.data(), boot_stack.size(), Callbacks::boot, nullptr);
  parked_bounds_ = {boot_stack.data(), boot_stack.size()};
  enter(carrier);
  loop(carrier);

  t_carrier = nullptr;
  arm_tick(false);
  // Calls that were under way will never be answered.
  for (const std::lock_guard lock(carriers_mutex_); auto& other : carriers_) {
    if (other->done.load(std::memory_order_seq_cst) == Carrier::kDone) continue;
    other->result = -ESHUTDOWN;
    other->wake();
  }
  if (panicked_ && !cause_.empty()) return fail(ENOTRECOVERABLE, "{}: {}", panic_, cause_);
  if (panicked_) return fail(ENOTRECOVERABLE, "{}", panic_.empty() ? "kernel panic" : panic_);
  return {};
}

std::vector<BootStage> Runtime::boot_chart() const {
  std::vector<BootStage> stages;
  for (const auto* stage = entry_->boot_chart; stage->name != nullptr; ++stage) {
    stages.push_back({stage->name, std::chrono::nanoseconds(stage->at_ns - boot_.start_ns)});
  }
  return stages;
}

bool Runtime::on_fiber() const {
  // Another thread may become or cease to be the carrier meanwhile, but this one cannot.
  return t_carrier != nullptr && t_carrier == carrier_.load(std::memory_order_relaxed) &&
         token_.load(std::memory_order_relaxed) == Token::kTaken;
}

Result<Snapshot::Side> Runtime::take_snapshot() {
  if (threads_) return fail(EOPNOTSUPP, "a snapshot of a stack in embedded mode");
  LKM_TRY(const auto side, snapshot_.take());
  ticks_without_interrupt_ = ticks_inside_ = 0;
  died_ns_ = 0;
  cause_.clear();
  since_snapshot_.clear();
  if (side == Snapshot::Side::kCopy) {
    // A process's own: its timers, and what it waits for.
    tick_made_ = tick_on_ = false;
    if (!clock_.is_virtual()) arm_tick(true);
    LKM_CHECK(events_.renew());
    if (resume_devices) resume_devices();
    if (options_.on_resume) options_.on_resume(snapshot_.why());
    if (at_resume) at_resume();
  } else if (clock_.is_virtual()) {
    arm_tick(true);
  }
  return side;
}

std::chrono::nanoseconds Runtime::since_death() const {
  return std::chrono::nanoseconds(host_ns() - snapshot_.died_ns());
}

void Runtime::die(const std::string& why) {
  if (died_ns_ == 0) died_ns_ = host_ns();
  if (snapshot_.there()) snapshot_.resume(why, since_snapshot_, died_ns_);
  cause_ = why;
  if (panic_.empty()) panic_ = "it could not go on";
  leave(true);
}

void Runtime::note_cause(std::string why) {
  cause_ = std::move(why);
}

void Runtime::keep_log(std::string_view text) {
  if (since_snapshot_.size() + text.size() > kLogKept) since_snapshot_.erase(0, kLogKept / 2);
  since_snapshot_ += text;
}

void Runtime::watch_code(std::span<const std::byte> code) {
  watched_code_ = code;
  ticks_inside_ = ticks_without_interrupt_ = 0;
  if (code.empty() && clock_.is_virtual() && tick_made_) arm_tick(false);
}

namespace {

bool contains(std::span<const std::byte> code, std::uintptr_t address) {
  return address - reinterpret_cast<std::uintptr_t>(code.data()) < code.size();
}

}  // namespace

/// In a signal handler: by the frame pointers of the fiber that was interrupted.
LKM_READS_STACKS bool Runtime::is_in_watched_code(std::uintptr_t ip, std::uintptr_t frame) const {
  if (contains(watched_code_, ip)) return true;
  const std::span stack(static_cast<const std::byte*>(entry_->stack()), kFiberStack - 2 * sizeof(std::uintptr_t));
  while (contains(stack, frame) && frame % sizeof(std::uintptr_t) == 0) {
    const auto* words = reinterpret_cast<const std::uintptr_t*>(frame);
    if (contains(watched_code_, words[1])) return true;
    if (words[0] <= frame) return false;
    frame = words[0];
  }
  return false;
}

/// In the signal handler of the tick, which comes only while the CPU is busy.
void Runtime::watch_for_a_stall(void* ucontext) {
  if ((!snapshot_.there() && watched_code_.empty()) || !on_fiber()) return;
  const auto& registers = static_cast<ucontext_t*>(ucontext)->uc_mcontext.gregs;
  const auto ip = std::uintptr_t(registers[REG_RIP]);
  const bool inside = is_in_watched_code(ip, std::uintptr_t(registers[REG_RBP]));
  const bool switched = std::exchange(switches_seen_, cpu_->switches) != cpu_->switches;
  ticks_inside_ = inside && !switched ? ticks_inside_ + 1 : 0;
  if (!clock_.is_virtual()) ++ticks_without_interrupt_;
  const auto ticks = std::max(ticks_without_interrupt_, ticks_inside_);
  if (ticks < kStallTicks) return;
  // The kernel shall say where: but not from within a function of the host's, whose locks are its own.
  if (contains(library_code_, ip) || contains(watched_code_, ip)) {
    ticks_without_interrupt_ = ticks_inside_ = 0;
    faults::divert(ucontext, LIBOS_FAULT_STALL);
  } else if (ticks >= 2 * kStallTicks) {
    if (snapshot_.there()) snapshot_.resume("no interrupt was taken for seconds", since_snapshot_, host_ns());
  }
}

std::vector<std::span<std::byte>> Runtime::segments(unsigned flag) const {
  struct Found {
    std::uintptr_t bias;
    unsigned flag;
    std::vector<std::span<std::byte>> spans;
  };
  link_map* map = nullptr;
  ::dlinfo(library_, RTLD_DI_LINKMAP, &map);
  Found found{map->l_addr, flag, {}};
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* cookie) {
        auto& to = *static_cast<Found*>(cookie);
        if (info->dlpi_addr != to.bias) return 0;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& segment = info->dlpi_phdr[i];
          if (segment.p_type != PT_LOAD || (segment.p_flags & to.flag) == 0) continue;
          to.spans.emplace_back(reinterpret_cast<std::byte*>(to.bias + segment.p_vaddr), segment.p_memsz);
        }
        return 1;
      },
      &found);
  return std::move(found.spans);
}

std::vector<std::span<std::byte>> Runtime::memory() const {
  auto spans = segments(PF_W);
  spans.emplace_back(pool_.data(), pool_.size());
  return spans;
}

std::vector<void*> Runtime::take_freed_plugins() { return std::exchange(freed_plugins_, {}); }

// -- the token -----------------------------------------------------------------------------------------

bool Runtime::try_take() {
  auto expected = Token::kFree;
  return token_.compare_exchange_strong(expected, Token::kTaken, std::memory_order_acquire);
}

void Runtime::enter(Carrier& carrier) {
  carrier_ = &carrier;
  const Context fiber = parked_;
  sanitizer::leaving(parked_bounds_);
  lkm_context_switch(&carrier.native, &fiber);
  sanitizer::arrived();
  // Here again: a fiber gave the CPU up. Only now is its stack free for another thread.
  const Answered answered = std::exchange(answered_, {});
  if (token_.load(std::memory_order_relaxed) == Token::kTaken) {
    carrier_ = nullptr;
    token_.store(Token::kFree, std::memory_order_seq_cst);
  }
  answered.wake();
}

void Runtime::give_up() {
  const Carrier& carrier = *carrier_;
  parked_bounds_ = {entry_->stack(), kFiberStack};
  sanitizer::leaving(carrier.bounds);
  lkm_context_switch(&parked_, &carrier.native);
  sanitizer::arrived();
}

void Runtime::leave(bool panicked) {
  panicked_ = panicked;
  token_.store(Token::kGone);
  events_.kick();
  const Carrier& carrier = *carrier_;
  sanitizer::leaving(carrier.bounds);
  Context unused;
  lkm_context_switch(&unused, &carrier.native);
  __builtin_unreachable();
}

/// On the loop thread, with the token free: until there is an event or the clock event is due.
void Runtime::wait() {
  std::uint64_t deadline = 0;
  do {
    deadline = __atomic_load_n(&cpu_->deadline_ns, __ATOMIC_RELAXED);
    loop_deadline_.store(deadline, std::memory_order_seq_cst);
  } while (deadline != __atomic_load_n(&cpu_->deadline_ns, __ATOMIC_SEQ_CST));
  std::uint64_t timeout = kNever;
  if (__atomic_load_n(&cpu_->pending, __ATOMIC_RELAXED) != 0) {
    timeout = 0;
  } else if (!clock_.is_virtual() && deadline != kNever) {
    const auto now = clock_.now();
    timeout = deadline > now ? deadline - now : 0;
  }
  // The tick ends a wait as well, so most, which are short, need no timer of their own.
  const bool until_tick = tick_on_ && timeout > 2 * kTickNs;
  const bool news = events_.collect(until_tick ? kNever : timeout);
  slept_a_tick_ = until_tick && !news;
  if (news) Callbacks::raise(1u << LIBOS_IRQ_HOST);
  if (clock_.now() >= deadline) Callbacks::raise(1u << LIBOS_IRQ_TIMER);
}

/// Waits for events and the clock, and carries the CPU for what comes of them.
void Runtime::loop(Carrier& carrier) {
  while (token_.load(std::memory_order_acquire) != Token::kGone) {
    if (calls_.load(std::memory_order_seq_cst) == nullptr) wait();
    loop_deadline_.store(0, std::memory_order_relaxed);
    const bool news = __atomic_load_n(&cpu_->pending, __ATOMIC_RELAXED) != 0 ||
                      calls_.load(std::memory_order_seq_cst) != nullptr;
    if (!news) continue;
    if (try_take()) {
      enter(carrier);
    } else if (token_.load() == Token::kTaken) {
      // Another thread carries the CPU, and takes the interrupts. Look again in a tick's time.
      Callbacks::raise(1u << LIBOS_IRQ_HOST | 1u << LIBOS_IRQ_TIMER);
      const timespec tick{.tv_sec = 0, .tv_nsec = long(kTickNs)};
      ::nanosleep(&tick, nullptr);
    }
  }
}

// -- idle and interrupts -----------------------------------------------------------------------------

void Runtime::idle() {
  if (cpu_->pending != 0) return;
  // The loop thread waits for the deadline, and the kernel has just looked at the clock (tick_nohz_idle_enter()).
  if (threads_ && !clock_.is_virtual()) return give_up();
  const auto now = clock_.now();
  if (now >= cpu_->deadline_ns) {
    Callbacks::raise(1u << LIBOS_IRQ_TIMER);
    return;
  }
  if (clock_.is_virtual()) {
    // Virtual time stands while no fiber waits for it: then only the host can have news.
    if (busy_fibers_ > 0 && cpu_->deadline_ns != kNever) {
      clock_.advance_to(cpu_->deadline_ns);
      Callbacks::raise(1u << LIBOS_IRQ_TIMER);
      if (++virtual_idles_ % kVirtualTurns == 0) Callbacks::raise(1u << LIBOS_IRQ_HOST);
      return;
    }
  } else {
    // Switching the tick costs a system call: worth it for a long sleep only, as one is that has lasted for a tick.
    if (slept_a_tick_ && cpu_->deadline_ns - now > 4 * kTickNs) arm_tick(false);
  }
  give_up();
  if (!clock_.is_virtual()) arm_tick(true);
}

void Runtime::interrupt() {
  ticks_without_interrupt_ = 0;
  // A carrier that stays long: those who wait for no more than to be woken do not wait for it.
  std::exchange(answered_, {}).wake();
  admit_calls();
  // With other threads the loop thread looks at the descriptors, and a call that is submitted need not.
  if (!threads_) events_.collect(0);
  events_.deliver([this](libos_task* task) { entry_->unpark(task); });
}

/// In virtual time a tick would let real time decide when softirqs run; with other threads, the loop
/// thread is the tick.
void Runtime::arm_tick(bool on) {
  if (on == tick_on_) return;
  if (!tick_made_) {
    struct sigaction action {};
    action.sa_sigaction = Callbacks::tick;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    ::sigaction(tick_signal(), &action, nullptr);
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    action.sa_handler = Callbacks::ring;
    ::sigaction(SIGIO, &action, nullptr);
    events_.ring_this_thread();
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = tick_signal();
    event._sigev_un._tid = ::gettid();
    if (::timer_create(CLOCK_MONOTONIC, &event, &tick_) < 0) return;
    tick_made_ = true;
  }
  itimerspec period{};
  if (on) period.it_value.tv_nsec = period.it_interval.tv_nsec = long(kTickNs);
  ::timer_settime(tick_, 0, &period, nullptr);
  tick_on_ = on;
}

// -- fibers ------------------------------------------------------------------------------------------

Result<libos_task*> Runtime::spawn(const std::string& name, FiberBody* body) {
  libos_task* task = nullptr;
  ++busy_fibers_;
  const int err = entry_->spawn(name.c_str(), Callbacks::fiber, body, 0, &task);
  if (err != 0) {
    --busy_fibers_;
    return fail(-err, "start fiber '{}'", name);
  }
  return task;
}

/// pid 1: starts the program, then makes fibers for threads that come in.
void Runtime::pid1() {
  pid1_ = entry_->self();
  // A program that never lets the stack go idle still sees host events and signals.
  if (!threads_ && !clock_.is_virtual()) arm_tick(true);
  init_();
  for (;;) {
    for (Carrier* carrier : std::exchange(new_carriers_, {})) {
      auto task = spawn("thread", carrier);
      if (task) {
        carrier->task = *task;
      } else {
        carrier->answer(-task.error().errno_value());
      }
    }
    host_wait_begins();
    entry_->park(kNever);
    host_wait_ends();
  }
}

// -- calls of other threads ----------------------------------------------------------------------------

namespace {

/// Ends the thread's fiber with the thread.
struct ThreadEnd {
  ~ThreadEnd() {
    if (carrier != nullptr && g_runtime != nullptr) g_runtime->end_thread(*carrier);
  }
  Carrier* carrier = nullptr;
};
thread_local ThreadEnd t_end;

}  // namespace

Carrier& Runtime::carrier_of_this_thread() {
  if (t_carrier == nullptr) {
    faults::prepare_thread();
    const std::lock_guard lock(carriers_mutex_);
    carriers_.push_back(std::make_unique<Carrier>());
    t_carrier = carriers_.back().get();
    t_carrier->bounds = sanitizer::this_thread();
    t_end.carrier = t_carrier;
  }
  return *t_carrier;
}

void Runtime::end_thread(Carrier& carrier) {
  if (carrier.task != nullptr) call(carrier, Carrier::kEnd);
  t_carrier = nullptr;
  const std::lock_guard lock(carriers_mutex_);
  std::erase_if(carriers_, [&](const auto& other) { return other.get() == &carrier; });
}

void Runtime::submit(Carrier& carrier) {
  carrier.next = calls_.load(std::memory_order_relaxed);
  while (!calls_.compare_exchange_weak(carrier.next, &carrier, std::memory_order_seq_cst)) {
  }
  Callbacks::raise(1u << LIBOS_IRQ_HOST);
}

long Runtime::call(long number, const unsigned long args[6]) {
  if (number < 0) return -ENOSYS;  // those are ours
  Carrier& carrier = carrier_of_this_thread();
  carrier.args = args;
  return call(carrier, number);
}

long Runtime::call(std::function<void()> body) {
  Carrier& carrier = carrier_of_this_thread();
  carrier.body = &body;
  return call(carrier, Carrier::kBody);
}

long Runtime::call(Carrier& carrier, long number) {
  carrier.wanted = number;
  carrier.done.store(Carrier::kPending, std::memory_order_relaxed);  // others see the call by calls_ or the token
  bool submitted = false;
  while (carrier.done.load(std::memory_order_acquire) != Carrier::kDone) {
    if (try_take()) {
      // Parked in our own fiber: it has the call at once. Else the fiber that stands there must let the
      // scheduler go to ours.
      if (!submitted && carrier.task != nullptr && entry_->self() == carrier.task) {
        carrier.number = number;
      } else if (!submitted) {
        submit(carrier);
      }
      submitted = true;
      enter(carrier);
      // The loop thread sleeps for too long now; one kick makes it look again.
      if (loop_deadline_.load(std::memory_order_seq_cst) > cpu_->deadline_ns) {
        loop_deadline_.store(0, std::memory_order_relaxed);
        events_.kick();
      }
    } else if (!submitted) {
      submit(carrier);
      submitted = true;
      continue;  // the token may have been freed before the call was there to be seen
    }
    if (carrier.done.load(std::memory_order_acquire) == Carrier::kDone) break;
    if (token_.load(std::memory_order_seq_cst) == Token::kGone) return -ESHUTDOWN;
    if (calls_.load(std::memory_order_seq_cst) != nullptr &&
        token_.load(std::memory_order_seq_cst) == Token::kFree) {
      continue;  // a call, perhaps our own, came in while the token was being freed
    }
    auto before = Carrier::kPending;
    if (carrier.done.compare_exchange_strong(before, Carrier::kSleeps) || before == Carrier::kSleeps)
      futex_wait(carrier.done, Carrier::kSleeps);
  }
  // Who called meanwhile found the token taken and sleeps: the loop thread serves them.
  if (calls_.load(std::memory_order_seq_cst) != nullptr) events_.kick();
  return carrier.result;
}

/// Whether the running fiber is the only one that is to run. In virtual time that is for the idle task to find, which
/// moves the time then.
bool Runtime::has_nobody_else() const {
  return !clock_.is_virtual() && entry_->alone(carrier_.load(std::memory_order_relaxed)->task) != 0;
}

void Runtime::poll_host() {
  if (threads_ || clock_.is_virtual()) return;
  Callbacks::raise(1u << LIBOS_IRQ_HOST);
  entry_->run_irqs();
}

void Runtime::admit_calls() {
  Carrier* carrier = calls_.exchange(nullptr, std::memory_order_seq_cst);
  while (carrier != nullptr) {
    Carrier* next = carrier->next;
    carrier->number = carrier->wanted;
    if (carrier->task == nullptr) new_carriers_.push_back(carrier);
    entry_->unpark(carrier->task != nullptr ? carrier->task : pid1_);
    carrier = next;
  }
}

void Carrier::answer(long value) {
  result = value;
  number = kNone;
  g_runtime->answered_.add(*this);
}

void Answered::add(Carrier& carrier) {
  carrier.next = nullptr;
  (last_ != nullptr ? last_->next : first_) = &carrier;
  last_ = &carrier;
}

void Answered::wake() const {
  for (Carrier* carrier = first_; carrier != nullptr;) {
    Carrier* const next = carrier->next;  // who is awake makes its next call, or ends
    carrier->wake();
    carrier = next;
  }
}

void Carrier::wake() {
  if (done.exchange(kDone) == kSleeps) futex_wake(done);
}

/// The fiber of a thread: executes its calls, one after the other.
void Carrier::run() {
  Runtime& runtime = *g_runtime;
  const libos_entry& kernel = *runtime.entry_;
  task = kernel.self();
  // Who is woken lets the waker's call come to its end: its own thread could not go on before that anyway.
  const sched_param ordinary{};
  const unsigned long batch[6] = {0, SCHED_BATCH, reinterpret_cast<unsigned long>(&ordinary)};
  kernel.syscall(SYS_sched_setscheduler, batch);
  for (;;) {
    if (number == kEnd) return;
    if (number != kNone) {
      if (number == kBody) {
        (*body)();
        result = 0;
      } else {
        result = kernel.syscall(number, args);
      }
      // Calls that came in meanwhile have their turn before the program makes its next one.
      if (__atomic_load_n(&kernel.cpu->pending, __ATOMIC_RELAXED) != 0) {
        kernel.run_irqs();
        kernel.yield();
      }
      bool to_program = true;
      if (runtime.carrier_ == this) {
        number = kNone;
        done.store(kDone, std::memory_order_release);
      } else {
        answer(result);
        // By way of the idle task it would come to the same, at three times the price in scheduling.
        to_program = runtime.has_nobody_else();
      }
      if (to_program) {
        runtime.give_up();
        if (number != kNone) continue;
        // Another thread carries the CPU now. Ours is in its program: for the kernel it sleeps.
        kernel.run_irqs();
      }
    }
    if (number == kNone) {
      runtime.host_wait_begins();
      kernel.park(kNever);
      runtime.host_wait_ends();
    }
  }
}

void Carrier::ended(bool died) {
  task = nullptr;
  answer(died ? -EFAULT : 0);
}

}  // namespace lkm
