// SPDX-License-Identifier: GPL-2.0
//
// The stack inside a program's own process: what `lkm-run exec --embed` preloads (the NUSE way). The program's socket
// calls (calls.cpp, waits.cpp) are function calls into the library kernel then: no other process, no switch to one.
//
// It boots with the first socket that is the stack's. A socket has a number of the host, by an AF_UNIX socket that nobody
// uses otherwise, so that it is in nobody's way; the table here says which of the stack's it stands for.
//
// The code of the stack calls the same functions of the C library as the program: each looks at the descriptor first,
// and leaves what is the host's to the host's kernel.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "libos-runtime/host/stack.hpp"

namespace lkm::embed {

inline constexpr int kHosts = -1;

/// The environment by which `lkm-run exec --embed` says what is to be booted. All but the first may be absent.
inline constexpr const char* kImage = "LKM_EMBED_IMAGE";
inline constexpr const char* kMemory = "LKM_EMBED_MEMORY";  ///< bytes
inline constexpr const char* kCable = "LKM_EMBED_CABLE";
inline constexpr const char* kAddress = "LKM_EMBED_ADDRESS";
inline constexpr const char* kGateway = "LKM_EMBED_GATEWAY";

/// Boots it when it is not up. nullptr: it cannot, as stderr was told, or this is a child that was forked off, which has
/// no part in it.
Stack* stack();
/// The stack's descriptor that one of the program's stands for, or kHosts.
int descriptor_of(int number);
/// A number for a descriptor of the stack, which is closed if there is none. -1 with errno.
int give_number(long descriptor, bool close_on_exec, int least = 0);
/// `number` stands for that; kHosts: for itself.
void stands_for(int number, int descriptor);
/// All of the stack's that the program has open. What stood for them stands for itself now.
std::vector<int> take_descriptors();

/// A number that may have been an epoll set's is closed.
void set_closed(int number);

/// A system call's result as the C library gives it.
inline long result_of(long value) {
  if (value >= 0) return value;
  errno = int(-value);
  return -1;
}

/// The call of the host's kernel, not by the C library's function, which is ours.
template <typename... Args>
long host_call(long number, Args... args) {
  return ::syscall(number, args...);
}

/// A call of the stack.
template <typename... Args>
long stack_call(long number, Args... args) {
  Stack* const up = stack();
  return result_of(up != nullptr ? up->syscall(number, args...) : -ENETDOWN);
}

/// A call whose first argument is a descriptor: of whom it is.
template <typename... Args>
long call_on(long number, int descriptor, Args... args) {
  const int ours = descriptor_of(descriptor);
  return ours == kHosts ? host_call(number, descriptor, args...) : stack_call(number, ours, args...);
}

}  // namespace lkm::embed
