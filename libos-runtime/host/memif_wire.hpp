// SPDX-License-Identifier: GPL-2.0
//
// MemifWire: a cable whose frames pass through memory that both ends share (memif.hpp), to another stack or to any program
// that speaks memif: VPP, DPDK (net_memif).
//
//   LKM_TRY(auto wire, MemifWire::at("/run/vpp/memif.sock", MemifWire::Role::kClient));
//   LKM_CHECK(stack.add_device("eth0", std::move(wire), {}));
#pragma once

#include <array>
#include <deque>
#include <memory>

#include "libos-runtime/host/meeting_point.hpp"
#include "libos-runtime/host/memif_ring.hpp"
#include "libos-runtime/host/wire.hpp"

namespace lkm {

/// Two stacks know each other by the names that they give in HELLO and INIT. Then the client asks for a private header, which
/// is the metadata (ADD_RING has a field for its size), so that frames of 64 KiB pass whole; a sender wakes the receiver only
/// if that has taken all before; and who has no room is told when there is some. With others it is memif and no more: plain
/// frames, an interrupt for each unless the receiver masks them, and a full ring is looked at again by time.
///
/// The other end is not trusted: what cannot be ends the connection, with a line in the log. A new one is made as soon as the
/// other end is there again.
class MemifWire final : public Wire {
 public:
  using Role = MeetingPoint::Role;
  /// The wire of that path. Errors: as MeetingPoint::meet(), and as timerfd_create(2).
  static Result<std::unique_ptr<MemifWire>> at(const std::string& path, Role role, std::string what = "memif");
  ~MemifWire() override;

  int send(const libos_frame_meta& meta, std::span<const libos_iov> frame) override;
  [[nodiscard]] int descriptor() const override;
  [[nodiscard]] std::vector<int> others() const override;
  long receive(libos_frame_meta& meta, std::span<std::byte> frame) override;
  long hand_over(std::span<std::byte> buffer, const Taker& taker) override;
  [[nodiscard]] bool has_metadata() const override { return is_stack_; }
  [[nodiscard]] std::string describe() const override;
  [[nodiscard]] bool connected() const override { return state_ == State::kConnected; }
  [[nodiscard]] bool connecting() const override { return channel_ && !connected(); }
  bool replug() override;
  [[nodiscard]] std::optional<bool> room() override;
  void resumed() override { look_soon(); }
  std::string news() override { return std::exchange(news_, {}); }

 private:
  enum class State { kApart, kGreeting, kMaking, kConnected };
  struct Outgoing {
    memif::Message message;
    int descriptor;  ///< of what the wire keeps; -1: none
  };
  struct Incoming {
    memif::Message message;
    UniqueFd descriptor;
  };
  /// A ring as the client has offered it.
  struct Offer {
    memif::AddRing ring{};
    UniqueFd event;
  };

  MemifWire(MeetingPoint point, std::string what) : point_(std::move(point)), what_(std::move(what)) {}

  // Making a connection. False: reason_ says why there will be none.
  void seek();
  void wait_for_the_other_end();
  void begin(UniqueFd channel, bool as_client);
  bool step();
  bool hear(Incoming& incoming);
  bool say(const memif::Message& message, int descriptor = -1);
  bool answer(Incoming& incoming);           ///< of a server, to the client
  bool go_on(const Incoming& incoming);      ///< of a client
  bool offer_memory(const memif::Hello& hello);
  bool take_region(const Incoming& incoming);
  bool take_ring(Incoming& incoming);
  bool use_rings();
  bool refuse(std::string why);
  bool settle();
  void part();

  // A connection that stands.
  int no_room(unsigned needed);
  int distrust(std::string why);
  bool look_around();
  void tell_room() const;
  void look_soon(long after_ns = 1) const;
  [[nodiscard]] bool timer_rang() const;

  MeetingPoint point_;
  std::string what_;
  UniqueFd timer_;    ///< of a handshake: its deadline; else when to look again
  UniqueFd channel_;  ///< the socket for messages
  State state_ = State::kApart;
  bool is_client_ = false;
  bool is_stack_ = false;  ///< the other end is one of ours
  std::string peer_;       ///< the name that it gives itself
  std::string reason_;     ///< why the connection ends
  bool complained_ = false;  ///< it is us who end it
  std::string news_;
  std::deque<Outgoing> outgoing_;  ///< of a client: one goes with each ACK
  UniqueFd memory_;                ///< of a client, until the other end has it
  std::array<Offer, 2> offers_;    ///< of a server, by AddRing::flags
  memif::Regions regions_;
  memif::Sender sender_;
  memif::Receiver receiver_;
  UniqueFd send_event_, receive_event_;
};

}  // namespace lkm
