// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/filter.hpp"

#include <asm-generic/ioctls.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>

#include "toolkit/base/seccomp_program.hpp"

namespace lkm::exec {
namespace {

// Calls by what decides about them; those that programs make most come first.
constexpr long kOnOurs[] = {SYS_read,     SYS_write, SYS_readv, SYS_writev, SYS_preadv2,
                            SYS_pwritev2, SYS_dup,   SYS_dup2,  SYS_dup3};
// Messages are caught for their addresses and control messages, and for the descriptors that are
// passed in them, to connections and sockets of the host as well.
constexpr long kOnAnySocket[] = {SYS_bind,       SYS_connect,    SYS_listen,     SYS_accept,
                                 SYS_accept4,    SYS_shutdown,   SYS_getsockname, SYS_getpeername,
                                 SYS_setsockopt, SYS_getsockopt, SYS_sendmsg,    SYS_recvmsg,
                                 SYS_sendmmsg,   SYS_recvmmsg};

// Calls that carry data, and the flags by which they mean more than that, whatever the number.
struct Transfer {
  long number;
  std::uint32_t telling;
};
constexpr Transfer kTransfers[] = {{SYS_recvfrom, MSG_ERRQUEUE},
                                   {SYS_sendto, MSG_FASTOPEN | MSG_OOB}};

// io_uring makes socket calls that no filter sees; with userfaultfd a program would make the stack
// wait when that copies from its memory.
constexpr long kRefused[] = {SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
                             SYS_userfaultfd};

constexpr std::uint32_t kSocketCallsOfI386[] = {102, 359};  // socketcall, socket
constexpr unsigned kX32 = 0x40000000;                       // bit of the numbers of the x32 ABI

constexpr std::uint32_t kTell = SECCOMP_RET_USER_NOTIF;
constexpr std::uint32_t kAllow = SECCOMP_RET_ALLOW;

}  // namespace

std::vector<sock_filter> filter_program() {
  SeccompProgram p;
  const auto tell_if_ours = [&](int argument) {
    p.load_argument(argument);
    p.give_within(kFirstFd, kEndFd, kTell);
  };

  p.load(offsetof(seccomp_data, arch));
  p.on(AUDIT_ARCH_I386, [&] {
    // A 32-bit program's sockets would be the host's without a word.
    p.load(offsetof(seccomp_data, nr));
    for (const std::uint32_t call : kSocketCallsOfI386) {
      p.only_if(BPF_JEQ, call);
      p.give(SECCOMP_RET_ERRNO | ENOSYS);
    }
    p.give(kAllow);
  });
  p.load(offsetof(seccomp_data, nr));
  p.only_if(BPF_JGE, kX32);
  p.give(SECCOMP_RET_ERRNO | ENOSYS);

  for (const long call : kOnOurs) {
    p.on(call, [&] {
      tell_if_ours(0);
      p.give(kAllow);
    });
  }
  for (const Transfer& transfer : kTransfers) {
    p.on(transfer.number, [&] {
      tell_if_ours(0);
      p.load_argument(3);
      p.only_if(BPF_JSET, transfer.telling);
      p.give(kTell);
      // With an address: a connection of TCP ignores it, the AF_UNIX socket in its place would not.
      // Who asks for one has no connection as a rule.
      p.load_argument(4);
      p.give_if_not(0, kTell);
      p.load(offsetof(seccomp_data, args) + 4 * 8 + 4);
      p.give_if_not(0, kTell);
      p.give(kAllow);
    });
  }
  for (const long call : kOnAnySocket) p.on(call, [&] { p.give(kTell); });
  for (const long call : kRefused) p.on(call, [&] { p.give(SECCOMP_RET_ERRNO | ENOSYS); });
  p.on(SYS_socket, [&] {
    p.load_argument(0);
    p.only_if(BPF_JEQ, AF_UNIX);
    p.give(kAllow);
    p.give(kTell);
  });
  p.on(SYS_sendfile, [&] {
    tell_if_ours(0);
    tell_if_ours(1);
    p.give(kAllow);
  });
  p.on(SYS_splice, [&] {
    tell_if_ours(0);
    tell_if_ours(2);
    p.give(kAllow);
  });
  // What makes, names and enters network namespaces, as ip-netns(8) does it.
  for (const long call : {SYS_setns, SYS_mount, SYS_umount2}) p.on(call, [&] { p.give(kTell); });
  p.on(SYS_unshare, [&] {
    p.load_argument(0);
    p.only_if(BPF_JSET, CLONE_NEWNET);
    p.give(kTell);
    p.give(kAllow);
  });
  p.on(SYS_mmap, [&] {
    tell_if_ours(4);
    p.give(kAllow);
  });
  p.on(SYS_ioctl, [&] {
    tell_if_ours(0);
    p.load_argument(1);
    p.give_within(kFirstDeviceRequest, kLastDeviceRequest + 1, kTell);
    p.only_if(BPF_JEQ, SIOCOUTQ);  // what the other side has not acknowledged
    p.give(kTell);
    p.give(kAllow);
  });
  p.on(SYS_fcntl, [&] {
    p.load_argument(1);
    for (const int command : {F_DUPFD, F_DUPFD_CLOEXEC}) {
      p.on(command, [&] {
        tell_if_ours(0);
        p.give(kAllow);
      });
    }
    p.give(kAllow);
  });
  p.give(kAllow);
  return p.take();
}

Result<UniqueFd> install_filter() {
  auto code = filter_program();
  const sock_fprog program{.len = static_cast<unsigned short>(code.size()), .filter = code.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return fail(errno, "give up gaining privileges");
  // WAIT_KILLABLE_RECV: once the stack has a call, a signal with a handler does not end it behind
  // the stack's back, when its effect may have happened already. See programs.hpp for how such a
  // signal gets through.
  const long fd = ::syscall(
      SYS_seccomp, SECCOMP_SET_MODE_FILTER,
      SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
  if (fd >= 0) return UniqueFd(int(fd));
  if (errno == EBUSY) {
    return fail_hint(
        EBUSY, "a program of 'lkm-run exec' is on its stack already, and so is all that it starts",
        "catch system calls");
  }
  return fail_hint(errno,
                   "this needs Linux 5.19 or later, and seccomp to be allowed (lkm-run doctor)",
                   "catch system calls");
}

}  // namespace lkm::exec
