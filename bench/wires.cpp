// SPDX-License-Identifier: GPL-2.0
//
// Frames from one process to another, without a stack at either end: by the shared memory of a cable (MemifWire), and by a
// socket (SocketWire). Both processes are on the one CPU that this one is bound to.
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <memory>

#include "bench/parts.hpp"
#include "bench/traffic.hpp"
#include "libos-runtime/host/memif_wire.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm::bench {
namespace {

using Ends = std::pair<std::unique_ptr<Wire>, std::unique_ptr<Wire>>;

/// Until a descriptor of the wire is readable, or, with room wanted, the only one writable.
void wait_for(Wire& wire, bool room = false) {
  std::vector<pollfd> all;
  for (const int fd : wire.others()) all.push_back({.fd = fd, .events = POLLIN, .revents = 0});
  all.push_back({.fd = wire.descriptor(), .events = short(room && !wire.room() ? POLLOUT : POLLIN), .revents = 0});
  ::poll(all.data(), all.size(), -1);
}

Result<Ends> cable(const std::string& path) {
  LKM_TRY(auto one, MemifWire::at(path, MemifWire::Role::kEither, "cable"));
  LKM_TRY(auto other, MemifWire::at(path, MemifWire::Role::kEither, "cable"));
  for (bool turn = false; !one->connected() || !other->connected(); turn = !turn) {
    MemifWire& wire = turn ? *one : *other;
    pollfd ready{.fd = wire.descriptor(), .events = POLLIN, .revents = 0};
    if (!wire.connected() && ::poll(&ready, 1, 0) > 0) wire.replug();
  }
  return Ends(std::move(one), std::move(other));
}

Result<Ends> socket_link() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail(errno, "socketpair");
  return Ends(std::make_unique<SocketWire>(UniqueFd(ends[0])), std::make_unique<SocketWire>(UniqueFd(ends[1])));
}

/// Of that size, a second.
Result<double> frames(const Ends& ends, std::size_t size, unsigned count) {
  std::vector<std::byte> buffer(65664);
  const pid_t receiver = ::fork();
  if (receiver < 0) return fail(errno, "fork");
  if (receiver == 0) {
    libos_frame_meta meta{};
    for (unsigned came = 0; came < count;) {
      const long n = ends.second->receive(meta, buffer);
      if (n < 0) ::_exit(1);
      if (n == 0) wait_for(*ends.second);
      came += n > 0;
    }
    ::_exit(0);
  }
  const auto begin = std::chrono::steady_clock::now();
  libos_frame_meta meta{};
  const libos_iov frame{buffer.data(), size};
  for (unsigned sent = 0; sent < count;) {
    const int error = ends.first->send(meta, {&frame, 1});
    if (error == 0) ++sent;
    if (error == -EAGAIN) {
      do {
        wait_for(*ends.first, true);
        if (ends.first->room()) (void)ends.first->receive(meta, buffer);  // takes note that it was woken
      } while (!ends.first->room().value_or(true));
    } else if (error != 0) {
      return fail(-error, "send a frame");
    }
  }
  int status = 0;
  ::waitpid(receiver, &status, 0);
  if (status != 0) return fail(EIO, "the receiver of the frames failed");
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
  return count / spent.count();
}

}  // namespace

Result<Rows> wires_part(const Options& options) {
  LKM_TRY(const TempDir folder, TempDir::make());
  Rows rows;
  for (const auto& [size, count] : {std::pair(std::size_t{60}, 300'000u), {std::size_t{1514}, 300'000u}, {std::size_t{65550}, 50'000u}}) {
    std::vector<double> mine, theirs;
    for (std::size_t round = 0; round < options.rounds; ++round) {
      LKM_TRY(const Ends shared, cable(folder.path() / "cable"));
      LKM_TRY(mine.emplace_back(), frames(shared, size, count));
      LKM_TRY(const Ends sockets, socket_link());
      LKM_TRY(theirs.emplace_back(), frames(sockets, size, count));
    }
    rows.push_back({.name = fmt::format("wires: frames of {} bytes through a cable", size), .unit = "a second", .ours = median(mine),
                    .peer = "the same through a SOCK_SEQPACKET socket", .theirs = median(theirs), .floor = {}});
  }
  return rows;
}

}  // namespace lkm::bench
