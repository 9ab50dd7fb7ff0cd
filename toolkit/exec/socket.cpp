// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/socket.hpp"

#include <algorithm>

namespace lkm::exec {

bool has_its_place(const Socket& socket) {
  return std::ranges::any_of(socket.places, [&](const auto& place) {
    const auto process = place.first.lock();
    if (!process) return false;
    const auto end = process->borrow(place.second);
    return end && socket_inode(end->get()) == socket.placeholder.inode();
  });
}

}  // namespace lkm::exec
