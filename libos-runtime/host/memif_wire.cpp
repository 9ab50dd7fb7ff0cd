// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/memif_wire.hpp"

#include <linux/if_ether.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "toolkit/base/descriptor_message.hpp"

namespace lkm {

using memif::Message;
using memif::Type;

namespace {

/// What we are called; of another program that is called so, we expect what this version of ours does.
constexpr char kName[32] = "lkm-run, memif 1";
constexpr std::size_t kHeader = sizeof(libos_frame_meta);

/// Of the rings that we make. A slot has room for a frame of the usual MTU, and for what DPDK writes into one without looking
/// at its length, 2 KiB. The distance of two is a multiple of the cache line that is not one of the page, or the begins of all frames
/// would share a few lines of the cache.
constexpr unsigned kSlotsLog2 = 10;
constexpr std::uint32_t kSlotLength = 2048;
constexpr std::uint32_t kStride = kSlotLength + 64;
/// Pieces of one frame: 64 KiB in slots of ours, and room for those of others.
constexpr std::size_t kMostPieces = 128;

constexpr long kSecond = 1'000'000'000;
constexpr long kPatience = 5 * kSecond;    ///< with a handshake
constexpr long kBeforeRetry = kSecond / 10;
constexpr long kBeforeRoom = kSecond / 10'000;  ///< of another program, which does not say when there is some

std::size_t aligned(std::size_t size) { return (size + 63) & ~std::size_t{63}; }

template <std::size_t N>
std::string text_of(const char (&text)[N]) {
  std::string shown(text, ::strnlen(text, N));
  for (char& c : shown) {
    if (c < ' ' || c > '~') c = '?';
  }
  return shown;
}

/// A descriptor that another process made: nothing else of its would be read and written without ever waiting.
bool is_eventfd(int fd) {
  char kind[64];
  const ssize_t n = ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), kind, sizeof(kind));
  return std::string_view(kind, std::size_t(std::max<ssize_t>(n, 0))) == "anon_inode:[eventfd]" &&
         ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}

void ring_bell(const UniqueFd& event) {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(event.get(), &one, sizeof(one));  // one that is full rings already
}

bool was_rung(const UniqueFd& event) {
  std::uint64_t count = 0;
  return ::read(event.get(), &count, sizeof(count)) == sizeof(count);
}

Message message_of(Type type) {
  Message message{};
  message.type = type;
  return message;
}

}  // namespace

Result<std::unique_ptr<MemifWire>> MemifWire::at(const std::string& path, Role role, std::string what) {
  auto wire = std::unique_ptr<MemifWire>(new MemifWire(MeetingPoint(path, role), std::move(what)));
  wire->timer_ = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!wire->timer_) return fail(errno, "timerfd_create");
  LKM_TRY(auto channel, wire->point_.meet());
  if (channel) {
    wire->begin(std::move(channel), true);
  } else {
    wire->wait_for_the_other_end();
  }
  return wire;
}

MemifWire::~MemifWire() {
  if (channel_) refuse("the device is removed");
  part();
}

std::string MemifWire::describe() const {
  std::string text = what_ + " " + point_.path();
  if (connected() && !is_stack_) text += fmt::format(", to '{}'", peer_);
  return text;
}

int MemifWire::descriptor() const {
  if (state_ == State::kConnected) return receive_event_.get();
  if (channel_) return channel_.get();
  return point_.listener() >= 0 ? point_.listener() : timer_.get();
}

std::vector<int> MemifWire::others() const {
  if (state_ == State::kConnected) return {channel_.get(), timer_.get()};
  if (channel_ || point_.listener() >= 0) return {timer_.get()};
  return {};
}

// -- making a connection -------------------------------------------------------------------------------------

void MemifWire::look_soon(long after_ns) const {
  const itimerspec when{.it_interval = {}, .it_value = {.tv_sec = after_ns / kSecond, .tv_nsec = after_ns % kSecond}};
  ::timerfd_settime(timer_.get(), 0, &when, nullptr);
}

bool MemifWire::timer_rang() const { return was_rung(timer_); }

void MemifWire::wait_for_the_other_end() {
  if (point_.listener() < 0) look_soon(kBeforeRetry);
}

void MemifWire::seek() {
  if (point_.listener() >= 0) {
    if (auto channel = point_.accept()) begin(std::move(channel), false);
    return;
  }
  auto channel = point_.meet();
  if (channel && *channel) return begin(std::move(*channel), true);
  wait_for_the_other_end();  // also when the path cannot be used now: it may be another time
}

void MemifWire::begin(UniqueFd channel, bool as_client) {
  channel_ = std::move(channel);
  is_client_ = as_client;
  state_ = State::kGreeting;
  look_soon(kPatience);
  if (is_client_) return;
  Message message = message_of(Type::kHello);
  memif::Hello& hello = message.hello;
  std::memcpy(hello.name, kName, sizeof(kName));
  hello.least_version = hello.most_version = memif::kVersion;
  hello.last_region = memif::Regions::kMost - 1;
  hello.most_slots_log2 = memif::kMostSlotsLog2;
  say(message);  // if that fails, so does the next message
}

bool MemifWire::replug() {
  if (state_ == State::kApart) {
    (void)timer_rang();
    seek();
    return true;
  }
  if (state_ != State::kConnected && step()) return true;
  const bool liar = std::exchange(complained_, false) || state_ != State::kConnected;
  part();
  if (liar && point_.role() != Role::kServer) {
    look_soon(kBeforeRetry);  // or we would be at it all the time
  } else {
    seek();
  }
  return true;
}

bool MemifWire::settle() {
  state_ = State::kConnected;
  look_soon();
  news_ = fmt::format("{} {}: connected to '{}'", what_, point_.path(), peer_);
  return true;
}

/// The connection ends, for the reason that was found.
void MemifWire::part() {
  if (state_ != State::kApart) news_ = fmt::format("{}: disconnected: {}", what_ + " " + point_.path(), reason_);
  // A snapshot of this process has the socket too, so that to close it would not be noticed.
  if (channel_) ::shutdown(channel_.get(), SHUT_RDWR);
  channel_.reset();
  send_event_.reset();
  receive_event_.reset();
  memory_.reset();
  outgoing_.clear();
  offers_ = {};
  sender_ = {};
  receiver_ = {};
  regions_.clear();
  is_stack_ = false;
  peer_.clear();
  reason_.clear();
  state_ = State::kApart;
  const itimerspec never{};
  ::timerfd_settime(timer_.get(), 0, &never, nullptr);
}

/// Tells the other end.
bool MemifWire::refuse(std::string why) {
  Message message = message_of(Type::kDisconnect);
  message.disconnect.code = 1;
  why.copy(message.disconnect.why, sizeof(message.disconnect.why) - 1);
  (void)say(message);
  reason_ = std::move(why);
  complained_ = true;
  return false;
}

bool MemifWire::say(const Message& message, int descriptor) {
  const std::span one(&descriptor, descriptor >= 0 ? 1 : 0);
  const auto sent = send_message(channel_.get(), std::as_bytes(std::span(&message, 1)), one, MSG_DONTWAIT);
  if (!sent) reason_ = sent.error().message();
  return bool(sent);
}

/// False with an empty reason_: there is none.
bool MemifWire::hear(Incoming& incoming) {
  incoming.message = {};
  auto received = receive_message(channel_.get(), std::as_writable_bytes(std::span(&incoming.message, 1)), MSG_DONTWAIT);
  if (!received && received.error().errno_value() == EAGAIN) return false;
  if (!received || received->size == 0) {
    reason_ = "the other end is gone";
    return false;
  }
  auto& came = received->descriptors;
  if (received->size != sizeof(Message) || !received->whole || came.size() > 1) return refuse("a message of the wrong size");
  if (!came.empty()) incoming.descriptor = std::move(came.front());
  return true;
}

bool MemifWire::step() {
  if (timer_rang()) return refuse("no answer");
  Incoming incoming;
  if (!hear(incoming)) return reason_.empty();
  if (incoming.message.type == Type::kDisconnect) {
    reason_ = fmt::format("the other end says '{}'", text_of(incoming.message.disconnect.why));
    return false;
  }
  return is_client_ ? go_on(incoming) : answer(incoming);
}

// -- the server's side of it

bool MemifWire::answer(Incoming& incoming) {
  const Message& message = incoming.message;
  if ((message.type == Type::kInit) != (state_ == State::kGreeting)) return refuse("a message out of turn");
  switch (message.type) {
    case Type::kInit:
      if (message.init.version != memif::kVersion) return refuse(fmt::format("memif version {:#x}, not 2.0", +message.init.version));
      if (message.init.mode != memif::kEthernet) return refuse("a mode that is not Ethernet");
      peer_ = text_of(message.init.name);
      state_ = State::kMaking;
      break;
    case Type::kAddRegion:
      if (!take_region(incoming)) return false;
      break;
    case Type::kAddRing:
      if (!take_ring(incoming)) return false;
      break;
    case Type::kConnect: {
      if (!use_rings()) return false;
      Message connected = message_of(Type::kConnected);
      what_.copy(connected.connect.interface, sizeof(connected.connect.interface) - 1);
      if (!say(connected)) return false;
      return settle();
    }
    default:
      return refuse("a message that is not for a server");
  }
  return say(message_of(Type::kAck));
}

bool MemifWire::take_region(const Incoming& incoming) {
  const memif::AddRegion& region = incoming.message.add_region;
  if (region.index != regions_.count() || region.index >= memif::Regions::kMost) return refuse("a region of the wrong number");
  if (!incoming.descriptor) return refuse("a region without a descriptor");
  const auto added = regions_.add(incoming.descriptor, region.size);
  return added || refuse(added.error().message());
}

bool MemifWire::take_ring(Incoming& incoming) {
  const memif::AddRing& ring = incoming.message.add_ring;
  Offer& offer = offers_[ring.flags & memif::kToServer];
  if (ring.index != 0 || offer.event) return refuse("a ring of the wrong number");
  if (!incoming.descriptor || !is_eventfd(incoming.descriptor.get())) return refuse("a ring without an eventfd");
  if (ring.slots_log2 > memif::kMostSlotsLog2) return refuse(fmt::format("a ring of 2^{} slots", ring.slots_log2));
  if (ring.private_header != 0 && (ring.private_header != kHeader || peer_ != kName))
    return refuse(fmt::format("private headers of {} bytes", +ring.private_header));
  if (ring.offset % alignof(memif::RingHeader) != 0 ||
      regions_.at(ring.region, ring.offset, memif::Ring::bytes(ring.slots_log2)) == nullptr)
    return refuse("a ring out of its region");
  offer = {ring, std::move(incoming.descriptor)};
  return true;
}

bool MemifWire::use_rings() {
  const auto header_of = [&](const Offer& offer) {
    return reinterpret_cast<memif::RingHeader*>(
        regions_.at(offer.ring.region, offer.ring.offset, memif::Ring::bytes(offer.ring.slots_log2)));
  };
  Offer& to_client = offers_[0];
  Offer& to_server = offers_[memif::kToServer];
  if (!to_client.event || !to_server.event) return refuse("no ring in each direction");
  if (to_client.ring.private_header != to_server.ring.private_header) return refuse("private headers in one direction only");
  is_stack_ = to_server.ring.private_header != 0;
  sender_ = memif::Sender(regions_, header_of(to_client), to_client.ring.slots_log2, {});
  receiver_ = memif::Receiver(regions_, header_of(to_server), to_server.ring.slots_log2, {});
  if (!sender_.cookie_is_right() || !receiver_.cookie_is_right()) return refuse("a ring without memif's cookie");
  send_event_ = std::move(to_client.event);
  receive_event_ = std::move(to_server.event);
  __atomic_store_n(&receiver_.header().flags, std::uint16_t{0}, __ATOMIC_RELAXED);  // we want to be told
  return true;
}

// -- the client's side of it

bool MemifWire::go_on(const Incoming& incoming) {
  const Message& message = incoming.message;
  const auto out_of_turn = [&] { return refuse("a message out of turn"); };
  switch (message.type) {
    case Type::kHello:
      if (state_ != State::kGreeting) return out_of_turn();
      if (!offer_memory(message.hello)) return false;
      state_ = State::kMaking;
      break;
    case Type::kAck:
      if (state_ != State::kMaking || outgoing_.empty()) return out_of_turn();
      break;
    case Type::kConnected:
      if (state_ != State::kMaking || !outgoing_.empty()) return out_of_turn();
      // Only now: a server may set the indexes to 0 when it takes the rings (DPDK's does).
      receiver_.begin();
      tell_room();
      memory_.reset();
      return settle();
    default:
      return refuse("a message that is not for a client");
  }
  const Outgoing next = outgoing_.front();
  outgoing_.pop_front();
  return say(next.message, next.descriptor);
}

bool MemifWire::offer_memory(const memif::Hello& hello) {
  if (hello.least_version > memif::kVersion || hello.most_version < memif::kVersion)
    return refuse(fmt::format("memif versions {:#x} to {:#x}, not 2.0", +hello.least_version, +hello.most_version));
  peer_ = text_of(hello.name);
  is_stack_ = peer_ == kName;
  const unsigned slots_log2 = std::min<unsigned>(kSlotsLog2, hello.most_slots_log2);
  const std::size_t ring = aligned(memif::Ring::bytes(slots_log2));
  const std::size_t buffers = std::size_t{kStride} << slots_log2;
  auto memory = regions_.make(2 * (ring + buffers));
  if (!memory) return refuse(memory.error().message());
  memory_ = std::move(*memory);
  send_event_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  receive_event_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!send_event_ || !receive_event_) return refuse("no eventfd can be had");

  Message init = message_of(Type::kInit);
  init.init.version = memif::kVersion;
  init.init.mode = memif::kEthernet;
  std::memcpy(init.init.name, kName, sizeof(kName));
  outgoing_.push_back({init, -1});
  Message region = message_of(Type::kAddRegion);
  region.add_region.size = 2 * (ring + buffers);
  outgoing_.push_back({region, memory_.get()});
  for (const bool to_server : {true, false}) {
    const std::size_t number = to_server ? 0 : 1;
    auto* const header = reinterpret_cast<memif::RingHeader*>(regions_.at(0, number * ring, ring));
    header->cookie = memif::kCookie;
    const memif::Ring::Buffers place{.offset = std::uint32_t(2 * ring + number * buffers), .length = kSlotLength, .stride = kStride};
    if (to_server) {
      sender_ = memif::Sender(regions_, header, slots_log2, place);
    } else {
      receiver_ = memif::Receiver(regions_, header, slots_log2, place);
    }
    Message message = message_of(Type::kAddRing);
    message.add_ring.flags = to_server ? memif::kToServer : 0;
    message.add_ring.offset = std::uint32_t(number * ring);
    message.add_ring.slots_log2 = std::uint8_t(slots_log2);
    message.add_ring.private_header = is_stack_ ? kHeader : 0;
    outgoing_.push_back({message, to_server ? send_event_.get() : receive_event_.get()});
  }
  Message connect = message_of(Type::kConnect);
  what_.copy(connect.connect.interface, sizeof(connect.connect.interface) - 1);
  outgoing_.push_back({connect, -1});
  return true;
}

// -- a connection that stands ----------------------------------------------------------------------------------

/// replug() will find the reason; the timer sees to that it is called.
int MemifWire::distrust(std::string why) {
  reason_ = std::move(why);
  look_soon();
  return -EPROTO;
}

/// If there is none, somebody will see to that it is asked again: the other end of a stack, else the timer. Also in a copy that
/// goes on, to whom the other end has said it when it was not there.
std::optional<bool> MemifWire::room() {
  if (!connected()) return false;
  const auto enough = [&] {
    const auto free = sender_.room();
    return free && *free >= sender_.size() / 4;
  };
  if (enough()) return true;
  if (!is_stack_) {
    look_soon(kBeforeRoom);
    return false;
  }
  __atomic_store_n(&sender_.header().wants_room, 1u, __ATOMIC_RELAXED);
  // As in publish(): either the receiver sees that, or we see what it has freed before.
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  return enough();
}

int MemifWire::no_room(unsigned needed) {
  if (needed > sender_.size()) return -EMSGSIZE;
  if (!is_stack_) {
    look_soon(kBeforeRoom);  // a quarter of its ring may not be enough for this frame
  } else if (room().value_or(false)) {
    look_soon();
  }
  return -EAGAIN;
}

/// After slots were released: who waits for some is told once there is a good deal. It listens where its frames come in.
void MemifWire::tell_room() const {
  if (!is_stack_) return;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  std::uint32_t& wants = receiver_.header().wants_room;
  if (__atomic_load_n(&wants, __ATOMIC_RELAXED) == 0) return;
  const auto left = receiver_.waiting();
  if (left && *left > receiver_.size() / 2) return;
  __atomic_store_n(&wants, 0u, __ATOMIC_RELAXED);
  ring_bell(send_event_);
}

int MemifWire::send(const libos_frame_meta& meta, std::span<const libos_iov> frame) {
  if (!connected()) return -ENOTCONN;
  const auto room = sender_.room();
  if (!room) return distrust("the indexes of the ring to it cannot be");
  std::span<std::byte> space;
  std::size_t length = 0;  // of the slot that is being filled
  unsigned used = 0;       // slots before that
  bool open = false;
  const auto add = [&](const std::byte* from, std::size_t bytes) -> int {
    while (bytes > 0) {
      if (!open || length == space.size()) {
        if (open) sender_.fill(used++, length, true);
        if (used == *room) return no_room(used + 1);
        space = sender_.free_slot(used);
        if (space.empty()) return distrust("a free slot out of its region");
        open = true;
        length = 0;
      }
      const std::size_t n = std::min(bytes, space.size() - length);
      std::memcpy(space.data() + length, from, n);
      length += n;
      from += n;
      bytes -= n;
    }
    return 0;
  };
  int error = is_stack_ ? add(reinterpret_cast<const std::byte*>(&meta), sizeof(meta)) : 0;
  for (const libos_iov& piece : frame) {
    if (error == 0) error = add(static_cast<const std::byte*>(piece.base), piece.len);
  }
  if (error != 0 || !open) return error;
  sender_.fill(used++, length, false);
  const bool may_wait = sender_.publish(used);
  const bool masked = (__atomic_load_n(&sender_.header().flags, __ATOMIC_RELAXED) & memif::kNoInterrupts) != 0;
  if (!masked && (may_wait || !is_stack_)) ring_bell(send_event_);
  return 0;
}

/// When there are no frames: what else may have happened. False: the connection ends.
bool MemifWire::look_around() {
  (void)timer_rang();
  Incoming incoming;
  if (!hear(incoming)) return reason_.empty();
  if (incoming.message.type != Type::kDisconnect) return refuse("a message out of turn");
  reason_ = fmt::format("the other end says '{}'", text_of(incoming.message.disconnect.why));
  return false;
}

long MemifWire::hand_over(std::span<std::byte> buffer, const Taker& taker) {
  if (!reason_.empty()) {  // of distrust(), whom the other end has not been told of
    refuse(reason_);
    return -EPROTO;
  }
  const auto lie = [&](std::string why) -> long {
    refuse(std::move(why));
    return -EPROTO;
  };
  auto waiting = receiver_.waiting();
  if (waiting && *waiting == 0) {
    // The event is there as long as a frame is, which holds for a snapshot too: it is taken only if the ring is empty.
    const bool rung = was_rung(receive_event_);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);  // as in publish()
    waiting = receiver_.waiting();
    if (waiting && *waiting == 0) return rung || look_around() ? 0 : -EPIPE;
    // That was for these, which the caller may leave for later.
    if (rung) ring_bell(receive_event_);
  }
  if (!waiting) return lie("the indexes of the ring from it cannot be");

  std::array<libos_iov, kMostPieces> pieces;
  unsigned n = 0;
  std::size_t length = 0;
  for (bool more = true; more; ++n) {
    if (n == *waiting || n == pieces.size()) return lie("a frame without an end");
    const auto piece = receiver_.piece(n);
    if (piece.bytes.data() == nullptr) return lie("a frame out of its region");
    pieces[n] = {piece.bytes.data(), piece.bytes.size()};
    length += piece.bytes.size();
    if (length > buffer.size()) return lie("a frame that is too long");
    more = piece.more;
  }
  libos_frame_meta meta{};
  const std::size_t header = is_stack_ ? kHeader : 0;
  if (pieces[0].len >= header && length >= header + ETH_HLEN) {  // what is no frame is skipped
    std::memcpy(&meta, pieces[0].base, header);
    pieces[0] = {static_cast<std::byte*>(pieces[0].base) + header, pieces[0].len - header};
    taker(meta, {pieces.data(), n}, length - header);
  }
  receiver_.release(n);
  tell_room();
  return long(std::max<std::size_t>(length, 1));
}

long MemifWire::receive(libos_frame_meta& meta, std::span<std::byte> frame) {
  for (;;) {
    std::size_t length = 0;
    const long n = hand_over(frame, [&](const libos_frame_meta& its_meta, std::span<const libos_iov> pieces, std::size_t) {
      meta = its_meta;
      for (const libos_iov& piece : pieces) {
        std::memcpy(frame.data() + length, piece.base, piece.len);
        length += piece.len;
      }
    });
    if (n <= 0 || length > 0) return n <= 0 ? n : long(length);
  }
}

}  // namespace lkm
