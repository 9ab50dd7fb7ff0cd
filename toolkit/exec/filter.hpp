// SPDX-License-Identifier: GPL-2.0
//
// The seccomp filter of a program on the stack: which of its system calls the stack serves (seccomp(2),
// seccomp_unotify(2)). All else runs as before; what is allowed by its number alone does not even run the
// filter (the kernel keeps a bitmap of such calls, kernel/seccomp.c).
//
// A filter sees numbers, not files. So descriptors of stack sockets lie from kFirstFd on, and calls like
// read(2) that other files have too are caught by that. A descriptor that lies there by chance costs a round
// trip to the stack, which sends the call back.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::exec {

/// High enough that most programs' files lie below; low enough for those that size a table by the number of
/// descriptors they expect (wrk), for select(2), and for the usual limit of 1024.
inline constexpr int kFirstFd = 10;

/// Requests about network devices (linux/sockios.h), which the kernel serves on a socket of any family.
inline constexpr unsigned kFirstDeviceRequest = 0x890b;
inline constexpr unsigned kLastDeviceRequest = 0x89df;

std::vector<sock_filter> filter_program();

/// Puts the calling thread and all its children under the filter, for good, and gives the descriptor at which
/// the caught calls arrive. Takes the right to gain privileges by exec (no_new_privs), which is what lets an
/// unprivileged user do it. Errors: EBUSY under another filter with a listener; ENOSYS or EINVAL when the
/// kernel cannot (before 5.19).
Result<UniqueFd> install_filter();

}  // namespace lkm::exec
