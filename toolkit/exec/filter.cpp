// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/filter.hpp"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <span>

namespace lkm::exec {
namespace {

// Calls by what decides about them.
constexpr long kOnAnySocket[] = {SYS_bind,        SYS_connect,     SYS_listen,     SYS_accept,    SYS_accept4,
                                 SYS_getsockname, SYS_getpeername, SYS_setsockopt, SYS_getsockopt};
constexpr long kOnOurs[] = {SYS_read,     SYS_write,    SYS_readv,   SYS_writev,   SYS_preadv2, SYS_pwritev2,
                            SYS_sendto,   SYS_recvfrom, SYS_sendmsg, SYS_recvmsg,  SYS_sendmmsg, SYS_recvmmsg,
                            SYS_shutdown, SYS_dup,      SYS_dup2,    SYS_dup3};
// io_uring makes socket calls that no filter sees; with userfaultfd a program would make the stack wait when that
// copies from its memory.
constexpr long kRefused[] = {SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_userfaultfd};

constexpr std::uint32_t kSocketCallsOfI386[] = {102, 359};  // socketcall, socket
constexpr unsigned kX32 = 0x40000000;  // bit of the numbers of the x32 ABI

class Program {
 public:
  void load(std::size_t offset) { add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, std::uint32_t(offset))); }
  /// The low half is all that the kernel itself takes of an int.
  void load_argument(int index) { load(offsetof(seccomp_data, args) + std::size_t(index) * 8); }
  void give(std::uint32_t action) { add(BPF_STMT(BPF_RET | BPF_K, action)); }
  /// Runs the next instruction only if the comparison holds.
  void only_if(std::uint16_t comparison, std::uint32_t value) {
    add(BPF_JUMP(std::uint16_t(BPF_JMP | comparison | BPF_K), value, 0, 1));
  }
  /// If what was loaded is `value`, what `body` emits decides; it must end with a give().
  template <typename Body>
  void on(long value, Body body) {
    const std::size_t jump = code_.size();
    only_if(BPF_JEQ, std::uint32_t(value));
    body();
    code_[jump].jf = std::uint8_t(code_.size() - jump - 1);
  }
  std::vector<sock_filter> take() { return std::move(code_); }

 private:
  void add(sock_filter instruction) { code_.push_back(instruction); }
  std::vector<sock_filter> code_;
};

constexpr std::uint32_t kTell = SECCOMP_RET_USER_NOTIF;
constexpr std::uint32_t kAllow = SECCOMP_RET_ALLOW;

}  // namespace

std::vector<sock_filter> filter_program() {
  Program p;
  const auto tell_if_ours = [&](int argument) {
    p.load_argument(argument);
    p.only_if(BPF_JGE, kFirstFd);
    p.give(kTell);
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

  for (const long call : kRefused) p.on(call, [&] { p.give(SECCOMP_RET_ERRNO | ENOSYS); });
  p.on(SYS_socket, [&] {
    p.load_argument(0);
    p.only_if(BPF_JEQ, AF_UNIX);
    p.give(kAllow);
    p.give(kTell);
  });
  for (const long call : kOnAnySocket) p.on(call, [&] { p.give(kTell); });
  for (const long call : kOnOurs) {
    p.on(call, [&] {
      tell_if_ours(0);
      p.give(kAllow);
    });
  }
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
  p.on(SYS_ioctl, [&] {
    tell_if_ours(0);
    p.load_argument(1);
    p.only_if(BPF_JGT, kLastDeviceRequest);
    p.give(kAllow);
    p.only_if(BPF_JGE, kFirstDeviceRequest);
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
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail(errno, "give up gaining privileges");
  // WAIT_KILLABLE_RECV: once the stack has a call, a signal with a handler does not end it behind the stack's
  // back, when its effect may have happened already. See programs.hpp for how such a signal gets through.
  const long fd =
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
  if (fd >= 0) return UniqueFd(int(fd));
  if (errno == EBUSY) {
    return fail_hint(EBUSY, "a program of 'lkm-run exec' is on its stack already, and so is all that it starts",
                     "catch system calls");
  }
  return fail_hint(errno, "this needs Linux 5.19 or later, and seccomp to be allowed (lkm-run doctor)",
                   "catch system calls");
}

}  // namespace lkm::exec
