// SPDX-License-Identifier: GPL-2.0
//
// Messages over a local socket (AF_UNIX) that descriptors go with, by SCM_RIGHTS (unix(7)).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

/// As many descriptors as a message here may carry; what more there are, the kernel keeps back.
inline constexpr std::size_t kMostDescriptors = 4;

/// Sends `bytes` as one message, with copies of `descriptors`. `flags` as of sendmsg(2), besides MSG_NOSIGNAL. Errors: as
/// sendmsg(2); EMSGSIZE also when a part of the bytes went.
Result<void> send_message(int socket, std::span<const std::byte> bytes, std::span<const int> descriptors = {}, int flags = 0);

struct Received {
  std::size_t size = 0;  ///< bytes; 0: the other end is gone
  bool whole = true;     ///< nothing was cut off, neither bytes nor descriptors
  std::vector<UniqueFd> descriptors;
};
/// Takes one message. `flags` as of recvmsg(2). Errors: as recvmsg(2).
Result<Received> receive_message(int socket, std::span<std::byte> bytes, int flags = 0);

}  // namespace lkm
