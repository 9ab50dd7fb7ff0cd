// SPDX-License-Identifier: GPL-2.0
//
// What the process of a stack gives up once it is up: it runs a kernel's network code, and modules that somebody is
// still writing, on packets and calls of others.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm::cli {

/// Whose process it is: a stack's, whose sockets are of AF_UNIX and AF_PACKET; or that of an uplink (uplink.hpp), which is
/// there to have some of AF_INET.
enum class Confined { kStack, kUplink };

/// The seccomp filter: a list of the calls that are allowed. All others fail with ENOSYS, as on a kernel without them,
/// so that a C library that comes with a new one falls back to what it has used before.
/// Without a terminal there is no request of ioctl(2) to look at, which a stack makes several of for each caught call: the
/// host's kernel runs no filter for what is always allowed.
std::vector<sock_filter> confinement_program(Confined whose, bool has_terminal);

/// For good, for this process and its copies:
///   - no new privileges by exec (PR_SET_NO_NEW_PRIVS), and no exec at all;
///   - of root's capabilities only those for devices (CAP_NET_ADMIN, CAP_NET_RAW), for programs of other users
///     (CAP_SYS_PTRACE, CAP_KILL) and for files that a client names (CAP_DAC_OVERRIDE); an uplink keeps none;
///   - no system calls but those of the list: no mounts, no sockets of the host's network, no other process's memory but
///     by process_vm_readv(2) and its like, no namespaces, no modules or programs (BPF) for the host's kernel.
/// Errors: ENOSYS or EINVAL without seccomp (CONFIG_SECCOMP_FILTER).
Result<void> confine(Confined whose = Confined::kStack);

}  // namespace lkm::cli
