// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/process.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "toolkit/exec/filter.hpp"

namespace lkm::exec {
namespace {

// A small file of /proc; empty when the thread is gone.
std::string read_proc(pid_t tid, const char* name) {
  const auto file = UniqueFd::open(fmt::format("/proc/{}/{}", tid, name), O_RDONLY);
  if (!file) return {};
  std::array<char, 4096> text;
  const ssize_t size = ::read(file->get(), text.data(), text.size());
  return size > 0 ? std::string(text.data(), std::size_t(size)) : std::string();
}

// The number in the line "Name:\t…" of /proc/PID/status (proc(5)).
unsigned long field(std::string_view status, std::string_view name, int base) {
  const std::string key = fmt::format("\n{}:\t", name);
  const auto at = status.find(key);
  if (at == std::string_view::npos) return 0;
  return std::strtoul(status.data() + at + key.size(), nullptr, base);
}

/// The call itself: the C library takes newfstatat(2), which looks at a path before it finds that there is none.
bool look_at(int descriptor, struct stat& status) { return ::syscall(SYS_fstat, descriptor, &status) == 0; }

}  // namespace

Result<std::shared_ptr<Process>> Process::of_thread(pid_t tid) {
  const pid_t pid = process_of(tid);
  if (pid == 0) return fail(ESRCH, "thread {}", tid);
  UniqueFd pidfd(int(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) return fail(errno, "open process {}", pid);
  return std::shared_ptr<Process>(new Process(pid, std::move(pidfd)));
}

Result<UniqueFd> Process::borrow(int number) const {
  UniqueFd fd(int(::syscall(SYS_pidfd_getfd, pidfd_.get(), number, 0)));
  if (!fd) return fail(errno, "borrow descriptor {} of process {}", number, pid_);
  return fd;
}

int Process::unused_number(int from) {
  // A descriptor can be given to a process at a number of our choice, but not "there if it is
  // unused" (seccomp's ADDFD replaces). New files take the lowest number, which is hardly ever one
  // of these.
  from = std::max(from, kFirstFd);
  int number = std::max(from, all_used_below_);
  while (number < kEndFd && borrow(number)) ++number;
  if (number >= kEndFd) return -EMFILE;
  if (from <= all_used_below_ || from == kFirstFd) all_used_below_ = number + 1;
  return number;
}

void Process::released(int number) { all_used_below_ = std::min(all_used_below_, number); }

Pending pending_signal(const Process& process, pid_t tid) {
  const std::string status = read_proc(tid, "status");
  const unsigned long open = ~field(status, "SigBlk", 16);
  if ((field(status, "SigPnd", 16) & open) != 0) return Pending::kForIt;
  if ((field(status, "ShdPnd", 16) & open) == 0) return Pending::kNone;
  // The kernel gives it to the first thread if that takes it (kernel/signal.c, complete_signal()).
  return tid == process.pid() ? Pending::kForIt : Pending::kForOneOf;
}

pid_t process_of(pid_t tid) { return pid_t(field(read_proc(tid, "status"), "Tgid", 10)); }

pid_t parent_of(pid_t pid) { return pid_t(field(read_proc(pid, "status"), "PPid", 10)); }

std::string thread_name(pid_t tid) {
  std::string name = read_proc(tid, "comm");
  while (!name.empty() && name.back() == '\n') name.pop_back();
  return name.empty() ? "program" : name;
}

std::uint64_t inode_of(int descriptor) {
  struct stat status {};
  return look_at(descriptor, status) ? status.st_ino : 0;
}

std::uint64_t socket_inode(int descriptor) {
  struct stat status {};
  return look_at(descriptor, status) && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

}  // namespace lkm::exec
