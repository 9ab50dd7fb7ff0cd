// SPDX-License-Identifier: GPL-2.0
//
// The seccomp filter of a program on the stack: which of its system calls the stack serves
// (seccomp(2), seccomp_unotify(2)). All else runs as before; what is allowed by its number alone
// does not even run the filter (the kernel keeps a bitmap of such calls, kernel/seccomp.c).
//
// A filter sees numbers, not files. Calls that only sockets have are caught under any number, but
// for send() and recv() of plain data. Of these, and of reads and writes, which other files have
// too, only those on kFirstFd to kEndFd are: sockets on which each call is one of the stack
// (datagrams, netlink, packets) lie there. TCP connections lie anywhere, their data is not caught
// (stream.hpp); nor is that of another socket's copies elsewhere (message_carrier.hpp). What else
// lies in the range by chance, and sendmsg() and recvmsg() on connections and the host's sockets,
// cost a round trip to the stack, which sends the call back.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::exec {

/// High enough that hardly any program has so many files; low enough for select(2) and the usual
/// limit of 1024.
inline constexpr int kFirstFd = 768;
inline constexpr int kEndFd = 1024;

/// Whether reads and writes under that number are caught.
constexpr bool is_caught(int number) { return number >= kFirstFd && number < kEndFd; }

/// Requests about network devices (linux/sockios.h), which the kernel serves on a socket of any
/// family.
inline constexpr unsigned kFirstDeviceRequest = 0x890b;
inline constexpr unsigned kLastDeviceRequest = 0x89ff;

std::vector<sock_filter> filter_program();

/// Puts the calling thread and all its children under the filter, for good, and gives the
/// descriptor at which the caught calls arrive. Takes the right to gain privileges by exec
/// (no_new_privs), which is what lets an unprivileged user do it. Errors: EBUSY under another
/// filter with a listener; ENOSYS or EINVAL when the kernel cannot (before 5.19).
Result<UniqueFd> install_filter();

}  // namespace lkm::exec
