// SPDX-License-Identifier: GPL-2.0
//
// Socket: a socket of the stack that programs have.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "toolkit/exec/limits.hpp"
#include "toolkit/exec/message_carrier.hpp"
#include "toolkit/exec/packet_ring.hpp"
#include "toolkit/exec/placeholder.hpp"
#include "toolkit/exec/process.hpp"
#include "toolkit/exec/stream.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::exec {

/// What its descriptor stands for.
enum class Use {
  kMessages,  ///< each call is made in the stack, while its number is one where they are caught:
              ///< datagrams, netlink, packets, and streams of other protocols
  kUnconnected,  ///< TCP, before connect() or listen()
  kConnecting,   ///< TCP, in a connect() that the program does not wait for
  kListening,    ///< TCP
  kConnection,   ///< TCP: the descriptor carries the data
  kBroken,       ///< a connection that ended with an error, and its program was told
};

struct Socket {
  Socket() = default;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (account) --account->sockets;
  }

  StackFd fd;
  Placeholder placeholder;
  Use use = Use::kMessages;
  unsigned followed = 0;     ///< events of epoll_ctl(2) that mirror() hears of
  bool nonblocking = false;  ///< as its file in the stack is set
  unsigned receiving = 0;    ///< calls under way that wait for input themselves
  unsigned sending = 0;
  bool closing = false;    ///< its program's end is closed everywhere, and not all that was written is out
  bool edge_due = false;   ///< input was left; an EPOLLET watcher waits for more
  std::uint32_t uses = 0;  ///< calls that programs made, or turns that carried bytes
  std::size_t tally = 0;   ///< place of the same in Programs::tally_
  std::vector<std::pair<std::weak_ptr<Process>, int>> places;  ///< numbers that it was given
  std::shared_ptr<Account> account;  ///< of whose program it is

  /// Protocol of a netlink socket.
  std::optional<int> netlink;

  // Of a packet socket.
  std::shared_ptr<PacketRing> ring;  ///< to be held by who fills it
  unsigned reserve = 0;  ///< PACKET_RESERVE

  /// Of a socket with Use::kMessages that may be under numbers where its calls are not caught.
  std::optional<MessageCarrier> carrier;

  // Of a connection.
  std::optional<Stream> stream;
  bool written_early = false;    ///< something lies in the pair that was written, or put there, before it carried
  bool room_awaited = false;     ///< the pair is watched for it
  bool shut_by_program = false;  ///< a hang-up need not mean that it was closed
  /// SOL_SOCKET options that hold for reads and writes, so that the pair, and connections accepted
  /// from here, have them.
  std::vector<std::pair<int, std::vector<char>>> own_options;
};

/// Whether a process still has it where it was put. It may have it elsewhere too, or have given it
/// on.
bool has_its_place(const Socket& socket);

}  // namespace lkm::exec
