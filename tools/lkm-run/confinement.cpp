// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/confinement.hpp"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "libos-runtime/host/sanitizer.hpp"
#include "toolkit/base/seccomp_program.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::cli {
namespace {

constexpr std::uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr std::uint32_t kRefuse = SECCOMP_RET_ERRNO | ENOSYS;

// clang-format off
constexpr long kAllowed[] = {
    // Descriptors and their data.
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_lseek,
    SYS_close, SYS_close_range, SYS_dup, SYS_dup2, SYS_dup3, SYS_fcntl, SYS_flock, SYS_pipe, SYS_pipe2, SYS_splice, SYS_tee,
    SYS_sendfile, SYS_copy_file_range, SYS_fsync, SYS_fdatasync, SYS_fallocate, SYS_ftruncate, SYS_memfd_create,
    // Files: the state folder, builds, their sources, captures.
    SYS_open, SYS_openat, SYS_stat, SYS_fstat, SYS_lstat, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_fstatfs,
    SYS_access, SYS_faccessat, SYS_faccessat2, SYS_readlink, SYS_readlinkat, SYS_getdents64, SYS_getcwd, SYS_umask,
    SYS_mkdir, SYS_mkdirat, SYS_rmdir, SYS_unlink, SYS_unlinkat, SYS_rename, SYS_renameat, SYS_renameat2, SYS_link,
    SYS_linkat, SYS_symlink, SYS_symlinkat, SYS_chmod, SYS_fchmod, SYS_fchmodat, SYS_utimensat,
    // Memory. mprotect(2) may make code: builds are mapped while the stack runs.
    SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_msync, SYS_mincore, SYS_brk, SYS_membarrier,
    // Waiting, time, signals.
    SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait,
    SYS_epoll_pwait2, SYS_eventfd2, SYS_signalfd4, SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime,
    SYS_timer_create, SYS_timer_settime, SYS_timer_gettime, SYS_timer_getoverrun, SYS_timer_delete, SYS_setitimer,
    SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_time, SYS_futex,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigtimedwait, SYS_rt_sigsuspend,
    SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_sigaltstack, SYS_kill, SYS_tkill, SYS_tgkill, SYS_pause,
    SYS_restart_syscall,
    // This process, its threads and copies.
    SYS_fork, SYS_vfork, SYS_wait4, SYS_waitid, SYS_exit, SYS_exit_group, SYS_getpid, SYS_getppid, SYS_gettid,
    SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getgroups, SYS_getpgrp, SYS_getpgid, SYS_getsid,
    SYS_set_tid_address, SYS_set_robust_list, SYS_get_robust_list, SYS_rseq, SYS_arch_prctl, SYS_prctl, SYS_capget,
    SYS_sched_yield, SYS_sched_getaffinity, SYS_sched_setaffinity, SYS_sched_getparam, SYS_sched_getscheduler,
    SYS_sched_getattr, SYS_getcpu, SYS_getpriority, SYS_getrandom, SYS_getrlimit, SYS_setrlimit, SYS_prlimit64,
    SYS_getrusage, SYS_times, SYS_sysinfo, SYS_uname,
    // Programs on the stack.
    SYS_process_vm_readv, SYS_process_vm_writev, SYS_pidfd_open, SYS_pidfd_getfd, SYS_pidfd_send_signal,
    // Sockets, whose families are seen to below.
    SYS_socketpair, SYS_connect, SYS_accept, SYS_accept4, SYS_bind, SYS_listen, SYS_getsockname, SYS_getpeername,
    SYS_setsockopt, SYS_getsockopt, SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg,
    SYS_shutdown,
};
// clang-format on

constexpr unsigned kCapabilities[] = {CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_PTRACE, CAP_KILL, CAP_DAC_OVERRIDE};

constexpr std::uint32_t kNewNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                         CLONE_NEWPID | CLONE_NEWNET;

std::uint64_t kept_by(Confined whose) {
  std::uint64_t bits = 0;
  if (whose == Confined::kUplink) return bits;
  for (const unsigned capability : kCapabilities) bits |= std::uint64_t{1} << capability;
  return bits;
}

/// Also out of the bounding set, as far as that may be changed.
Result<void> drop_capabilities(std::uint64_t kept) {
  for (unsigned capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if ((kept >> capability & 1) == 0) (void)::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
  if (::syscall(SYS_capget, &header, sets) != 0) return fail(errno, "look at the capabilities");
  for (unsigned half = 0; half < _LINUX_CAPABILITY_U32S_3; ++half) {
    const auto mask = std::uint32_t(kept >> (32 * half));
    sets[half].permitted &= mask;
    sets[half].effective &= mask;
    sets[half].inheritable = 0;
  }
  if (::syscall(SYS_capset, &header, sets) != 0) return fail(errno, "give up capabilities");
  return {};
}

/// Whether it has a terminal, or may get one: that takes the first process of a session, and setsid(2) is not allowed.
/// Without one TIOCSTI takes CAP_SYS_ADMIN (drivers/tty/tty_io.c, tiocsti()), which is dropped.
bool may_have_terminal() {
  if (::getsid(0) == ::getpid()) return true;
  const auto terminal = UniqueFd::open("/dev/tty", O_RDONLY | O_NOCTTY);
  return terminal || terminal.error().errno_value() != ENXIO;
}

}  // namespace

std::vector<sock_filter> confinement_program(Confined whose, bool has_terminal) {
  SeccompProgram p;
  p.load(offsetof(seccomp_data, arch));
  p.give_if_not(AUDIT_ARCH_X86_64, kRefuse);
  p.load(offsetof(seccomp_data, nr));
  // First those that depend on their arguments: what is always allowed the host's kernel remembers, and runs no filter for.
  p.on(SYS_ioctl, [&] {  // all but typing on the user's terminal
    if (has_terminal) {
      p.load_argument(1);
      p.only_if(BPF_JEQ, TIOCSTI);
      p.give(SECCOMP_RET_ERRNO | EPERM);
    }
    p.give(kAllow);
  });
  p.on(SYS_clone, [&] {  // the flags of clone3(2) are in memory: the C library falls back to this one
    p.load_argument(0);
    p.only_if(BPF_JSET, kNewNamespaces);
    p.give(kRefuse);
    p.give(kAllow);
  });
  p.on(SYS_socket, [&] {
    p.load_argument(0);
    for (const int family : whose == Confined::kStack ? std::array{AF_UNIX, AF_PACKET} : std::array{AF_INET, AF_INET6}) {
      p.only_if(BPF_JEQ, std::uint32_t(family));
      p.give(kAllow);
    }
    p.give(SECCOMP_RET_ERRNO | EAFNOSUPPORT);
  });
  for (const long call : kAllowed) {
    p.on(call, [&] { p.give(kAllow); });
  }
  // LeakSanitizer looks at the process from another one when that ends.
  if (sanitizer::kEnabled) {
    for (const long call : {SYS_ptrace, SYS_getdents}) p.on(call, [&] { p.give(kAllow); });
  }
  p.give(kRefuse);
  return p.take();
}

Result<void> confine(Confined whose) {
  LKM_CHECK(drop_capabilities(kept_by(whose)));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail(errno, "give up gaining privileges");
  auto code = confinement_program(whose, may_have_terminal());
  const sock_fprog program{.len = static_cast<unsigned short>(code.size()), .filter = code.data()};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
    return fail_hint(errno, "lkm-run doctor", "filter the system calls of the stack's process");
  return {};
}

}  // namespace lkm::cli
