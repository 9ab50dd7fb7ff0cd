// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/stack.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <sstream>

#include "libos-runtime/host/fiber.hpp"
#include "libos-runtime/host/stack_impl.hpp"
#include "toolkit/base/assert.hpp"
#include "toolkit/base/defer.hpp"

namespace lkm {
namespace {

Stack* g_stack = nullptr;

constexpr const char* kNetnsFolder = "/run/netns";
constexpr std::size_t kLongestRecord = 1000;

/// A descriptor of the stack, not of the host.
class StackFd {
 public:
  StackFd(Stack& stack, long fd) : stack_(stack), fd_(fd) {}
  StackFd(const StackFd&) = delete;
  StackFd& operator=(const StackFd&) = delete;
  ~StackFd() {
    if (fd_ >= 0) stack_.syscall(SYS_close, fd_);
  }
  [[nodiscard]] long get() const { return fd_; }

 private:
  Stack& stack_;
  long fd_;
};

std::uint64_t to_ns(StackTime time) {
  return time == kForever ? UINT64_MAX : std::uint64_t(std::max<std::int64_t>(time.count(), 0));
}

/// In the namespace of the calling fiber. 0 or -errno.
long bring_loopback_up(Stack& stack) {
  const StackFd socket(stack, stack.syscall(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  return stack.syscall(SYS_ioctl, socket.get(), SIOCSIFFLAGS, &request);
}

/// On pid 1, of which all fibers are.
void settle_in(Stack& stack) {
  const rlimit descriptors{.rlim_cur = kStackDescriptors, .rlim_max = kStackDescriptors};
  LKM_ASSERT(stack.syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &descriptors, nullptr) == 0);
  LKM_ASSERT(bring_loopback_up(stack) == 0);
}

}  // namespace

Stack::Stack(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  g_stack = this;
  impl_->release = impl_->runtime->kernel().release;
}

Stack::~Stack() {
  if (impl_->loop.joinable()) {
    impl_->runtime->call([this] { impl_->runtime->kernel().halt(); });
    impl_->loop.join();
  }
  g_stack = nullptr;
}

Stack& Stack::current() {
  LKM_ASSERT(g_stack != nullptr);
  return *g_stack;
}

Result<std::unique_ptr<Stack>> Stack::create(Options options) {
  LKM_TRY(auto runtime, Runtime::create(options));
  auto stack = std::make_unique<Stack>(std::make_unique<Impl>(std::move(runtime)));
  stack->install_module_hooks();
  return stack;
}

Result<int> Stack::run(Options options, std::function<int(Stack&)> main) {
  LKM_TRY(const auto stack, create(std::move(options)));
  Runtime& runtime = *stack->impl_->runtime;
  std::optional<int> status;
  std::optional<Error> error;
  auto ran = runtime.run([&] {
    stack->impl_->boot_chart = runtime.boot_chart();
    settle_in(*stack);
    // Its handle goes before halt(), which does not return: nothing unwinds this frame.
    if (auto fiber = stack->spawn("main", [&] { status = main(*stack); }); !fiber) {
      error = fiber.error();
    } else if (fiber->join() == FiberEnd::kOopsed) {
      error = fail_hint(EFAULT, "its log says where", "the stack's main fiber ended by an oops").value();
    }
    runtime.kernel().halt();
  });
  if (error) return Failure(std::move(*error));
  LKM_CHECK(ran);
  return status.value_or(1);
}

Result<std::unique_ptr<Stack>> Stack::boot(Options options) {
  LKM_TRY(auto stack, create(std::move(options)));
  Impl& impl = *stack->impl_;
  impl.runtime->allow_threads();
  impl.loop = std::jthread([&stack = *stack, &impl] {
    auto ran = impl.runtime->run([&] {
      impl.boot_chart = impl.runtime->boot_chart();
      settle_in(stack);
      impl.boot = Impl::Boot::kUp;
      impl.boot.notify_all();
    });
    if (ran || impl.boot == Impl::Boot::kUp) return;
    impl.boot_error = ran.error().what();
    impl.boot = Impl::Boot::kFailed;
    impl.boot.notify_all();
  });
  impl.boot.wait(Impl::Boot::kUnderWay);
  if (impl.boot == Impl::Boot::kFailed) return fail(ENOTRECOVERABLE, "{}", impl.boot_error);
  return stack;
}

// -- system calls and fibers ----------------------------------------------------------------------------

long Stack::syscall_raw(long number, const unsigned long args[6]) {
  Runtime& runtime = *impl_->runtime;
  const auto call = [&](long which, const unsigned long with[6]) {
    return runtime.on_fiber() ? runtime.kernel().syscall(which, with) : runtime.call(which, with);
  };
  const long result = call(number, args);
  if (result == -EINTR) {
    while (impl_->interrupting > 0) {
      const timespec moment{.tv_sec = 0, .tv_nsec = 200'000};
      const unsigned long sleep[6] = {reinterpret_cast<unsigned long>(&moment)};
      call(SYS_nanosleep, sleep);
    }
  }
  return result;
}

long Stack::syscall_for(UserMemory& memory, long number, const unsigned long args[6]) {
  LKM_ASSERT(impl_->runtime->on_fiber());
  const long result = impl_->runtime->kernel().syscall_for(&memory, number, args);
  // Who was interrupted for a renewal stays outside of the module until it is done, as in syscall_raw().
  while (result < 0 && impl_->interrupting > 0) sleep_for(std::chrono::microseconds(200));
  return result;
}

bool Stack::is_inside() const { return impl_->runtime->on_fiber(); }

Result<Fiber> Stack::spawn(const std::string& name, std::function<void()> body) {
  return impl_->on_fiber([&]() -> Result<Fiber> {
    Runtime& runtime = *impl_->runtime;
    auto state = std::make_shared<Fiber::State>(runtime, std::move(body));
    state->self = state;
    auto task = runtime.spawn(name, state.get());
    if (!task) {
      state->self.reset();
      return Failure(std::move(task).error());
    }
    if (state->self) {  // it may have run to its end already
      state->task = *task;
      state->pid = runtime.kernel().pid(*task);
    }
    return Fiber(std::move(state));
  });
}

bool Stack::park(StackTime deadline) {
  Runtime& runtime = *impl_->runtime;
  if (deadline == kForever) runtime.host_wait_begins();
  const int err = runtime.kernel().park(to_ns(deadline));
  if (deadline == kForever) runtime.host_wait_ends();
  return err == 0;
}

void Stack::sleep_for(std::chrono::nanoseconds duration) {
  const auto ns = std::max<std::int64_t>(duration.count(), 0);
  const timespec time{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
  syscall(SYS_nanosleep, &time, nullptr);
}

void Stack::poll_host() { impl_->runtime->poll_host(); }
void Stack::yield() { impl_->runtime->kernel().yield(); }

void Stack::prefer_latency() {
  struct {  // struct sched_attr
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime, deadline, period;
  } attributes{};
  attributes.size = sizeof(attributes);
  attributes.flags = SCHED_FLAG_RESET_ON_FORK;
  attributes.runtime = 100'000;
  [[maybe_unused]] const long err = syscall(SYS_sched_setattr, 0, &attributes, 0);
}

Result<short> Stack::wait_fd(int host_fd, short events, StackTime deadline) {
  Runtime& runtime = *impl_->runtime;
  EventLoop::Waiter waiter{.task = runtime.kernel().self(), .events = events};
  LKM_CHECK(runtime.events().add(host_fd, &waiter));
  runtime.host_wait_begins();
  int err = 0;
  while (waiter.revents == 0 && err == 0) err = runtime.kernel().park(to_ns(deadline));
  runtime.host_wait_ends();
  runtime.events().remove(host_fd, &waiter);
  if (waiter.revents != 0) return waiter.revents;
  return fail(-err, "wait for descriptor {}", host_fd);
}

Result<void> Stack::watch_fd(int host_fd, std::function<void(unsigned)> ready, unsigned events) {
  return impl_->runtime->events().watch(host_fd, std::move(ready), events);
}

Result<void> Stack::watch_fd_for(int host_fd, unsigned events) { return impl_->runtime->events().watch_for(host_fd, events); }

void Stack::at_resume(std::function<void()> action) { impl_->runtime->at_resume = std::move(action); }

void Stack::unwatch_fd(int host_fd) { impl_->runtime->events().unwatch(host_fd); }

void Stack::forget_fd(int host_fd) { impl_->runtime->events().forget(host_fd); }

StackTime Stack::now() const { return StackTime(impl_->runtime->now()); }

// -- files --------------------------------------------------------------------------------------------

Result<std::string> Stack::read_file(const std::string& path) {
  const StackFd fd(*this, syscall(SYS_open, path.c_str(), O_RDONLY | O_CLOEXEC, 0));
  if (fd.get() < 0) return fail(int(-fd.get()), "open '{}' in the stack", path);
  std::string content;
  std::vector<char> buffer(std::size_t{64} << 10);
  for (;;) {
    const long n = syscall(SYS_read, fd.get(), buffer.data(), buffer.size());
    if (n < 0) return fail(int(-n), "read '{}' in the stack", path);
    if (n == 0) return content;
    content.append(buffer.data(), std::size_t(n));
  }
}

Result<void> Stack::write_file(const std::string& path, std::string_view content) {
  const StackFd fd(*this, syscall(SYS_open, path.c_str(), O_WRONLY | O_CLOEXEC | O_TRUNC, 0));
  if (fd.get() < 0) return fail(int(-fd.get()), "open '{}' in the stack", path);
  while (!content.empty()) {
    const long n = syscall(SYS_write, fd.get(), content.data(), content.size());
    if (n < 0) return fail(int(-n), "write '{}' in the stack", path);
    content.remove_prefix(std::size_t(n));
  }
  return {};
}

namespace {

std::string sysctl_path(const std::string& name) {
  std::string path = name;
  // As sysctl(8): a name with a slash already uses slashes, since interface names may have dots.
  if (name.find('/') == std::string::npos) std::ranges::replace(path, '.', '/');
  return "/proc/sys/" + path;
}

}  // namespace

Result<std::string> Stack::sysctl(const std::string& name) {
  LKM_TRY(auto value, read_file(sysctl_path(name)));
  while (!value.empty() && value.back() == '\n') value.pop_back();
  return value;
}

Result<void> Stack::sysctl(const std::string& name, const std::string& value) {
  return write_file(sysctl_path(name), value + "\n");
}

void Stack::log(std::string_view text, int level) {
  // The stack has no /dev of its own. Character device 1:11 is kmsg (Documentation/admin-guide/devices.txt).
  syscall(SYS_mkdir, "/dev", 0755);
  syscall(SYS_mknod, "/dev/kmsg", S_IFCHR | 0600, makedev(1, 11));
  const StackFd fd(*this, syscall(SYS_open, "/dev/kmsg", O_WRONLY | O_CLOEXEC, 0));
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    // What was read of another kernel's log has its time.
    if (const auto end = line.find("] "); line.starts_with("[") && end != std::string::npos) line.erase(0, end + 2);
    // A record takes no more than 1024 bytes (kernel/printk/printk.c, PRINTKRB_RECORD_MAX).
    for (std::size_t at = 0; at < line.size(); at += kLongestRecord) {
      // Without the newline it would wait for its continuation.
      const std::string record = fmt::format("<{}>{}\n", level, line.substr(at, kLongestRecord));
      syscall(SYS_write, fd.get(), record.data(), record.size());
    }
  }
}

// -- network namespaces -----------------------------------------------------------------------------

Result<void> Stack::netns_add(const std::string& name) {
  return impl_->on_fiber([&]() -> Result<void> {
    std::optional<Result<void>> added;
    LKM_TRY(auto fiber, spawn("netns", [&] {
      const auto add = [&]() -> Result<void> {
        long err = syscall(SYS_unshare, CLONE_NEWNET);
        if (err == 0) err = bring_loopback_up(*this);
        if (err < 0) return fail(int(-err), "add netns '{}'", name);
        return netns_name(name);
      };
      added = add();
    }));
    if (fiber.join() == FiberEnd::kOopsed || !added) return fail(EFAULT, "add netns '{}'", name);
    return std::move(*added);
  });
}

/// As ip-netns(8) keeps them: a file per name in /run/netns, on which the namespace is mounted.
Result<void> Stack::netns_name(const std::string& name) {
  if (name.empty() || name.find('/') != std::string::npos || name == "." || name == "..") {
    return fail(EINVAL, "netns '{}'", name);
  }
  const std::string path = fmt::format("{}/{}", kNetnsFolder, name);
  syscall(SYS_mkdir, kNetnsFolder, 0755);
  const long fd = syscall(SYS_open, path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
  if (fd < 0) return fail(int(-fd), "add netns '{}'", name);
  syscall(SYS_close, fd);
  const long err = syscall(SYS_mount, "/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr);
  if (err == 0) return {};
  syscall(SYS_unlink, path.c_str());
  return fail(int(-err), "add netns '{}'", name);
}

Result<void> Stack::netns_del(const std::string& name) {
  const std::string path = fmt::format("{}/{}", kNetnsFolder, name);
  if (const long err = syscall(SYS_umount2, path.c_str(), MNT_DETACH); err < 0) {
    return fail(err == -EINVAL ? ENOENT : int(-err), "delete netns '{}'", name);
  }
  if (const long err = syscall(SYS_unlink, path.c_str()); err < 0) {
    return fail(int(-err), "delete netns '{}'", name);
  }
  return {};
}

std::vector<std::string> Stack::netns_list() {
  std::vector<std::string> names;
  const StackFd folder(*this, syscall(SYS_open, kNetnsFolder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
  if (folder.get() < 0) return names;
  struct Entry {  // struct linux_dirent64
    std::uint64_t inode;
    std::int64_t offset;
    std::uint16_t size;
    std::uint8_t type;
    char name[];
  };
  alignas(8) char buffer[4096];
  long n = 0;
  while ((n = syscall(SYS_getdents64, folder.get(), buffer, sizeof(buffer))) > 0) {
    for (long at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const Entry*>(buffer + at);
      if (entry->name[0] != '.') names.emplace_back(entry->name);
      at += entry->size;
    }
  }
  std::ranges::sort(names);
  return names;
}

Result<int> Stack::netns_fd(const std::string& name) {
  const std::string path =
      name.empty() ? "/proc/1/ns/net" : fmt::format("{}/{}", kNetnsFolder, name);
  const long fd = syscall(SYS_open, path.c_str(), O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) {
    return fail_hint(int(-fd), fmt::format("lkm-run netns add {}", name), "open netns '{}'", name);
  }
  return int(fd);
}

Result<void> Stack::netns_enter(const std::string& name) {
  LKM_TRY(const int fd, netns_fd(name));
  const StackFd netns(*this, fd);
  if (const long err = syscall(SYS_setns, fd, CLONE_NEWNET); err < 0) {
    return fail(int(-err), "enter netns '{}'", name);
  }
  return {};
}

// -- about ---------------------------------------------------------------------------------------------

const std::string& Stack::release() const { return impl_->release; }
const std::vector<BootStage>& Stack::boot_chart() const { return impl_->boot_chart; }
const Stack::Options& Stack::options() const { return impl_->runtime->options(); }

}  // namespace lkm
