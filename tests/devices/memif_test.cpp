// SPDX-License-Identifier: GPL-2.0
//
// MemifWire by itself, without a stack: two of them, and one against a peer that this file plays, message by message,
// which speaks memif as another program does, or lies.
#include "libos-runtime/host/memif_wire.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include "toolkit/base/descriptor_message.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm {
namespace {

/// What happens before the next read(2) of a descriptor: what another process may do between two steps of ours.
int g_read_descriptor = -1;
std::function<void()> g_before_read;

}  // namespace
}  // namespace lkm

/// Instead of the C library's.
extern "C" ssize_t read(int fd, void* to, std::size_t size) {
  if (fd == lkm::g_read_descriptor) {
    lkm::g_read_descriptor = -1;
    lkm::g_before_read();
  }
  return ::syscall(SYS_read, fd, to, size);
}

namespace lkm {
namespace {

using memif::Message;
using memif::Type;
using Role = MemifWire::Role;
using Bytes = std::vector<std::byte>;

constexpr int kPatience = 10'000;  // ms
constexpr unsigned kLog2 = 4;
constexpr std::uint32_t kBuffer = 2048;

bool readable(const std::vector<int>& descriptors, int timeout) {
  std::vector<pollfd> all;
  for (const int fd : descriptors) all.push_back({.fd = fd, .events = POLLIN, .revents = 0});
  return ::poll(all.data(), all.size(), timeout) > 0;
}

/// What Device does for a wire: waits for it, and lets it go on. Frames that come are kept.
class Plugged {
 public:
  explicit Plugged(const std::string& path, Role role, const char* what = "memif") {
    auto made = MemifWire::at(path, role, what);
    if (!made) {
      ADD_FAILURE() << made.error().message();
      return;
    }
    wire_ = std::move(*made);
  }
  MemifWire& operator*() { return *wire_; }
  MemifWire* operator->() { return wire_.get(); }

  /// Whether there was anything to do.
  bool turn(int timeout = 0) {
    auto descriptors = wire_->others();
    descriptors.push_back(wire_->descriptor());
    if (!readable(descriptors, timeout)) return false;
    if (wire_->connected()) {
      for (;;) {
        Bytes frame(65664);
        libos_frame_meta meta{};
        const long n = wire_->receive(meta, frame);
        if (n == 0) return true;
        if (n < 0) break;
        frame.resize(std::size_t(n));
        frames.push_back(std::move(frame));
        metas.push_back(meta);
      }
    }
    EXPECT_TRUE(wire_->replug());
    said += wire_->news() + "\n";
    return true;
  }
  int send(const Bytes& frame, const libos_frame_meta& meta = {}) {
    // In two pieces, as the kernel's are.
    const std::size_t head = std::min<std::size_t>(frame.size(), 100);
    auto* const data = const_cast<std::byte*>(frame.data());
    const libos_iov pieces[] = {{data, head}, {data + head, frame.size() - head}};
    return wire_->send(meta, pieces);
  }

  std::vector<Bytes> frames;
  std::vector<libos_frame_meta> metas;
  std::string said;

 private:
  std::unique_ptr<MemifWire> wire_;
};

bool until(const std::vector<Plugged*>& all, const std::function<bool()>& done) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatience);
  while (!done()) {
    bool busy = false;
    for (Plugged* one : all) busy = one->turn(busy ? 0 : 5) || busy;
    if (std::chrono::steady_clock::now() > deadline) return false;
  }
  return true;
}

Bytes frame_of(std::size_t length, unsigned seed) {
  Bytes frame(length);
  for (std::size_t i = 0; i < length; ++i) frame[i] = std::byte((i * 2654435761u + seed) >> 13);
  return frame;
}

class Memif : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = TempDir::make();
    ASSERT_TRUE(made);
    folder_ = std::move(*made);
    path_ = folder_->path() / "memif.sock";
  }
  std::optional<TempDir> folder_;
  std::string path_;
};

void expect_frames(Plugged& from, Plugged& to, std::size_t longest) {
  to.frames.clear();
  std::vector<Bytes> sent;
  for (unsigned i = 0; i < 200; ++i) {
    sent.push_back(frame_of(14 + (i * 977) % (longest - 13), i));
    ASSERT_TRUE(until({&from, &to}, [&] { return from.send(sent.back()) == 0; }));
  }
  ASSERT_TRUE(until({&from, &to}, [&] { return to.frames.size() == sent.size(); })) << to.frames.size();
  EXPECT_TRUE(to.frames == sent);
}

TEST_F(Memif, CarriesFramesOf64KiBWithTheirMetadataBetweenTwoStacks) {
  Plugged first(path_, Role::kEither), second(path_, Role::kEither);
  ASSERT_TRUE(until({&first, &second}, [&] { return first->connected() && second->connected(); }));
  EXPECT_NE(::access(path_.c_str(), F_OK), 0);  // nobody else is waited for
  EXPECT_TRUE(first->has_metadata() && second->has_metadata());
  expect_frames(first, second, 65550);
  expect_frames(second, first, 65550);

  libos_frame_meta meta{};
  meta.gso_type = 1;
  meta.gso_size = 1448;
  ASSERT_EQ(first.send(frame_of(60, 1), meta), 0);
  ASSERT_TRUE(until({&second}, [&] { return second.frames.size() == 201; }));
  EXPECT_EQ(std::memcmp(&second.metas.back(), &meta, sizeof(meta)), 0);
}

TEST_F(Memif, FullRingIsSaidAndItsRoomToo) {
  Plugged server(path_, Role::kServer), client(path_, Role::kClient);
  ASSERT_TRUE(until({&server, &client}, [&] { return server->connected() && client->connected(); }));
  for (auto [from, to] : {std::pair(&server, &client), {&client, &server}}) {
    const Bytes frame = frame_of(5000, 7);
    unsigned sent = 0;
    while ((*from).send(frame) == 0) ASSERT_LT(++sent, 100'000u);
    EXPECT_EQ((*from).send(frame), -EAGAIN);
    EXPECT_EQ((**from).room(), false);
    while (from->turn()) {
    }
    EXPECT_EQ((**from).room(), false);  // and it is not told so either, or it would be busy
    ASSERT_TRUE(until({to}, [&] { return to->frames.size() == sent; }));
    ASSERT_TRUE(until({from}, [&] { return (**from).room() == true; }));
    EXPECT_EQ((*from).send(frame), 0);
    ASSERT_TRUE(until({to}, [&] { return to->frames.size() == sent + 1; }));
    while (from->turn() || to->turn()) {
    }
    to->frames.clear();
  }
}

TEST_F(Memif, SenderWakesAReceiverThatHasTakenAllOnly) {
  Plugged server(path_, Role::kServer), client(path_, Role::kClient);
  ASSERT_TRUE(until({&server, &client}, [&] { return server->connected() && client->connected(); }));
  while (server.turn() || client.turn()) {
  }
  for (unsigned i = 0; i < 10; ++i) ASSERT_EQ(client.send(frame_of(60, i)), 0);
  std::uint64_t rung = 0;
  ASSERT_EQ(::read(server->descriptor(), &rung, sizeof(rung)), ssize_t(sizeof(rung)));
  EXPECT_EQ(rung, 1u);
}

/// Who takes so many frames and goes on with something else is called again by the descriptor only.
TEST_F(Memif, ItsDescriptorIsReadableWhileThereIsAFrameAlsoIfThatCameWhileItWasLookedAt) {
  Plugged server(path_, Role::kServer), client(path_, Role::kClient);
  ASSERT_TRUE(until({&server, &client}, [&] { return server->connected() && client->connected(); }));
  while (server.turn() || client.turn()) {
  }
  for (auto [from, to] : {std::pair(&client, &server), {&server, &client}}) {
    g_before_read = [&from = from] {
      for (unsigned i = 0; i < 3; ++i) EXPECT_EQ(from->send(frame_of(60, i)), 0);
    };
    const int descriptor = (**to).descriptor();
    g_read_descriptor = descriptor;
    Bytes frame(65664);
    libos_frame_meta meta{};
    for (unsigned i = 0; i < 3; ++i) {
      EXPECT_EQ((**to).receive(meta, frame), 60);
      EXPECT_TRUE(readable({descriptor}, 0) || i == 2) << "after frame " << i;
    }
    while (to->turn()) {
    }
    EXPECT_TRUE(to->frames.empty());
    EXPECT_FALSE(readable({descriptor}, 0));
  }
}

TEST_F(Memif, ComesBackWhenTheOtherEndDoes) {
  for (const Role survivor : {Role::kServer, Role::kClient, Role::kEither}) {
    const Role other = survivor == Role::kServer   ? Role::kClient
                       : survivor == Role::kClient ? Role::kServer
                                                   : Role::kEither;
    Plugged one(path_, survivor);
    for (int i = 0; i < 3; ++i) {
      Plugged two(path_, other);
      ASSERT_TRUE(until({&one, &two}, [&] { return one->connected() && two->connected(); }));
      expect_frames(one, two, 1514);
      expect_frames(two, one, 1514);
      if (i == 2) break;
      // It ends, and says so.
    }
    ASSERT_TRUE(until({&one}, [&] { return !one->connected(); }));
    EXPECT_NE(one.said.find("disconnected: the other end says 'the device is removed'"), std::string::npos) << one.said;
  }
}

TEST_F(Memif, SocketThatAKilledProcessLeftBehindIsTakenOver) {
  for (const Role role : {Role::kServer, Role::kEither}) {
    const pid_t killed = ::fork();
    if (killed == 0) {
      const auto wire = MemifWire::at(path_, role);
      ::kill(::getpid(), wire ? SIGKILL : SIGTERM);
    }
    int status = 0;
    ::waitpid(killed, &status, 0);
    ASSERT_EQ(WTERMSIG(status), SIGKILL);
    ASSERT_EQ(::access(path_.c_str(), F_OK), 0);
    Plugged first(path_, role), second(path_, role == Role::kServer ? Role::kClient : role);
    ASSERT_TRUE(until({&first, &second}, [&] { return first->connected() && second->connected(); }));
  }
}

TEST_F(Memif, PathsThatCannotBeUsedAreRefused) {
  { const auto file = UniqueFd::open(folder_->path() / "notes.txt", O_WRONLY | O_CREAT, 0600); }
  for (const Role role : {Role::kServer, Role::kClient, Role::kEither}) {
    const auto wire = MemifWire::at(folder_->path() / "notes.txt", role);
    ASSERT_FALSE(wire);
    EXPECT_EQ(wire.error().errno_value(), ENOTSOCK);
    EXPECT_EQ(::access((folder_->path() / "notes.txt").c_str(), F_OK), 0);
    EXPECT_FALSE(MemifWire::at(folder_->path() / std::string(200, 'x'), role));
    EXPECT_FALSE(MemifWire::at("", role));
  }
  EXPECT_FALSE(MemifWire::at(folder_->path() / "no" / "folder", Role::kServer));
  Plugged server(path_, Role::kServer);
  const auto second = MemifWire::at(path_, Role::kServer);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().errno_value(), EADDRINUSE);
}

// -- another program, which this test plays ------------------------------------------------------------------

constexpr auto at_name = [](const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
};

/// The other end of the socket.
class Peer {
 public:
  Message message(Type type) {
    Message made{};
    made.type = type;
    return made;
  }
  void send(const Message& message, int descriptor = -1, std::size_t length = sizeof(Message), int copies = 1) {
    const std::vector<int> descriptors(descriptor >= 0 ? std::size_t(copies) : 0, descriptor);
    ASSERT_TRUE(send_message(channel_.get(), std::as_bytes(std::span(&message, 1)).first(length), descriptors));
  }
  /// Lets the wire go on until it says something, or nothing more; its type, or 0.
  unsigned next(Plugged& wire) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatience);
    while (!readable({channel_.get()}, 0)) {
      wire.turn(5);
      if (std::chrono::steady_clock::now() > deadline) return 0;
    }
    last_ = {};
    auto received = receive_message(channel_.get(), std::as_writable_bytes(std::span(&last_, 1)));
    if (!received || received->size == 0) return 0;
    if (!received->descriptors.empty()) got_ = std::move(received->descriptors.front());
    return unsigned(last_.type);
  }
  UniqueFd channel_;
  Message last_{};
  UniqueFd got_;
};
constexpr unsigned kAck = unsigned(Type::kAck);

/// A client that is no stack: plain memif, with `bend` to make a lie of it.
class Client : public Peer {
 public:
  explicit Client(const std::string& path) {
    channel_ = UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const auto address = at_name(path);
    EXPECT_EQ(::connect(channel_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  /// All of it. Ends early if the wire does.
  void connect(Plugged& wire, const std::function<void(Client&)>& bend = [](Client&) {}) {
    init_ = message(Type::kInit);
    init_.init.version = memif::kVersion;
    std::strcpy(init_.init.name, "a test");
    memory_ = UniqueFd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(::ftruncate(memory_.get(), kSize), 0);
    seals_ = F_SEAL_SHRINK;
    map_ = static_cast<std::byte*>(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, memory_.get(), 0));
    region_ = message(Type::kAddRegion);
    region_.add_region.size = kSize;
    for (unsigned i = 0; i < 2; ++i) {
      events_[i] = UniqueFd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
      rings_[i] = message(Type::kAddRing);
      rings_[i].add_ring.flags = i == 0 ? memif::kToServer : 0;
      rings_[i].add_ring.offset = std::uint32_t(i * kRing);
      rings_[i].add_ring.slots_log2 = kLog2;
      ring(i).cookie = memif::kCookie;
      for (unsigned s = 0; s < 1u << kLog2; ++s)
        slot(i, s) = {.flags = 0, .region = 0, .length = kBuffer, .offset = buffer(i, s), .metadata = 0};
    }
    ring(1).head = 1 << kLog2;
    bend(*this);
    ASSERT_TRUE(seals_ == 0 || ::fcntl(memory_.get(), F_ADD_SEALS, seals_) == 0);
    ASSERT_EQ(next(wire), unsigned(Type::kHello));
    EXPECT_EQ(last_.hello.most_version, memif::kVersion);
    send(init_);
    if (next(wire) != kAck) return;
    send(region_, region_descriptor_ == -2 ? memory_.get() : region_descriptor_);
    if (next(wire) != kAck) return;
    for (unsigned i = 0; i < 2 && !skip_rings_; ++i) {
      send(rings_[i], events_[i].get());
      if (next(wire) != kAck) return;
    }
    send(message(Type::kConnect));
    next(wire);
  }
  ~Client() {
    if (map_ != nullptr) ::munmap(map_, kSize);
  }
  static constexpr std::size_t kRing = 4096;
  static constexpr std::size_t kSize = 2 * kRing + 2 * (kBuffer << kLog2);
  static std::uint32_t buffer(unsigned ring, unsigned slot) {
    return std::uint32_t(2 * kRing + (ring << kLog2) * kBuffer + (slot % (1u << kLog2)) * kBuffer);
  }
  memif::RingHeader& ring(unsigned i) { return *reinterpret_cast<memif::RingHeader*>(map_ + i * kRing); }
  memif::Slot& slot(unsigned i, unsigned s) { return reinterpret_cast<memif::Slot*>(&ring(i) + 1)[s % (1u << kLog2)]; }
  /// Frames for the wire, of `pieces` slots each.
  void give(const Bytes& frame, unsigned pieces = 1) {
    const std::size_t each = (frame.size() + pieces - 1) / pieces;
    std::uint16_t head = ring(0).head;
    for (std::size_t at = 0; at < frame.size(); at += each, ++head) {
      const std::size_t n = std::min(each, frame.size() - at);
      std::memcpy(map_ + buffer(0, head), frame.data() + at, n);
      slot(0, head) = {.flags = std::uint16_t(at + n < frame.size() ? memif::kMore : 0), .region = 0,
                       .length = std::uint32_t(n), .offset = buffer(0, head), .metadata = 0};
    }
    __atomic_store_n(&ring(0).head, head, __ATOMIC_RELEASE);
    ring_bell();
  }
  void ring_bell() {
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(events_[0].get(), &one, sizeof(one)), ssize_t(sizeof(one)));
  }
  /// What the wire has sent: the next frame.
  Bytes take() {
    Bytes frame;
    for (bool more = true; more;) {
      const memif::Slot& from = slot(1, taken_);
      frame.insert(frame.end(), map_ + from.offset, map_ + from.offset + from.length);
      more = (from.flags & memif::kMore) != 0;
      slot(1, taken_++) = {.flags = 0, .region = 0, .length = kBuffer, .offset = from.offset, .metadata = 0};
      __atomic_store_n(&ring(1).head, std::uint16_t(ring(1).head + 1), __ATOMIC_RELEASE);
    }
    return frame;
  }
  std::uint64_t rung() {
    std::uint64_t count = 0;
    return ::read(events_[1].get(), &count, sizeof(count)) < 0 ? 0 : count;
  }

  Message init_{}, region_{}, rings_[2]{};
  UniqueFd memory_, events_[2];
  int seals_ = 0;
  int region_descriptor_ = -2;
  bool skip_rings_ = false;
  std::byte* map_ = nullptr;
  std::uint16_t taken_ = 0;
};

TEST_F(Memif, GivesAnotherProgramPlainFramesInChainsAndAnInterruptForEach) {
  Plugged wire(path_, Role::kServer);
  Client client(path_);
  client.connect(wire);
  ASSERT_TRUE(until({&wire}, [&] { return wire->connected(); })) << wire.said;
  EXPECT_NE(wire.said.find("connected to 'a test'"), std::string::npos) << wire.said;
  EXPECT_FALSE(wire->has_metadata());

  const Bytes frame = frame_of(1514, 1), jumbo = frame_of(9014, 2);
  ASSERT_EQ(wire.send(frame), 0);
  ASSERT_EQ(wire.send(jumbo), 0);
  EXPECT_EQ(client.rung(), 2u);
  EXPECT_EQ(client.take(), frame);
  EXPECT_EQ(client.take(), jumbo);
  client.ring(1).flags = memif::kNoInterrupts;
  ASSERT_EQ(wire.send(frame), 0);
  EXPECT_EQ(client.rung(), 0u);
  EXPECT_EQ(client.take(), frame);

  client.give(frame);
  client.give(jumbo, 6);
  ASSERT_TRUE(until({&wire}, [&] { return wire.frames.size() == 2; }));
  EXPECT_EQ(wire.frames[0], frame);
  EXPECT_EQ(wire.frames[1], jumbo);

  // A full ring: nobody says when there is room, so it is looked at again.
  unsigned sent = 0;
  while (wire.send(frame) == 0) ++sent;
  EXPECT_EQ(sent, 1u << kLog2);
  EXPECT_EQ(wire->room(), false);
  for (int looks = 0; looks < 3; ++looks) {  // as often as it takes
    EXPECT_TRUE(wire.turn(kPatience));
    EXPECT_EQ(wire->room(), false);
  }
  while (sent-- > 0) EXPECT_EQ(client.take(), frame);
  EXPECT_TRUE(wire.turn(kPatience));
  EXPECT_EQ(wire->room(), true);
  // One that never fits is dropped.
  EXPECT_EQ(wire.send(frame_of((kBuffer << kLog2) + 1, 3)), -EMSGSIZE);
}

TEST_F(Memif, WhatIsNoFrameIsSkipped) {
  Plugged wire(path_, Role::kServer);
  Client client(path_);
  client.connect(wire);
  client.give(frame_of(13, 1));
  client.give(frame_of(60, 2));
  ASSERT_TRUE(until({&wire}, [&] { return !wire.frames.empty(); }));
  EXPECT_EQ(wire.frames[0], frame_of(60, 2));
  EXPECT_EQ(client.ring(0).tail, 2);
}

/// Lies while the connection is made: what the wire says of them.
TEST_F(Memif, EndsAConnectionWithAClientThatLies) {
  struct Lie {
    std::string said;
    std::function<void(Client&)> bend;
  };
  const UniqueFd pipe_end = [] {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    ::close(ends[1]);
    return UniqueFd(ends[0]);
  }();
  const std::vector<Lie> lies = {
      {"memif version 0x100, not 2.0", [](Client& c) { c.init_.init.version = 0x100; }},
      {"a mode that is not Ethernet", [](Client& c) { c.init_.init.mode = 1; }},
      {"a message out of turn", [](Client& c) { c.init_.type = Type::kConnect; }},
      {"a message out of turn", [](Client& c) { c.region_.type = Type::kInit; }},
      {"a message that is not for a server", [](Client& c) { c.region_.type = Type(77); }},
      {"a region without a descriptor", [](Client& c) { c.region_descriptor_ = -1; }},
      {"a region of the wrong number", [](Client& c) { c.region_.add_region.index = 1; }},
      {"not sealed against shrinking", [](Client& c) { c.seals_ = 0; }},
      {"not sealed against shrinking", [](Client& c) { c.region_.add_region.size = 1, c.memory_ = *UniqueFd::open("/proc/self/exe", O_RDONLY), c.seals_ = 0; }},
      {"in memory of", [](Client& c) { c.region_.add_region.size = 2 * Client::kSize; }},
      {"a region of 18446744073709551615 bytes", [](Client& c) { c.region_.add_region.size = ~0ull; }},
      {"a region of 0 bytes", [](Client& c) { c.region_.add_region.size = 0; }},
      {"shared memory", [](Client& c) { ::munmap(std::exchange(c.map_, nullptr), Client::kSize), c.seals_ = F_SEAL_SHRINK | F_SEAL_WRITE; }},
      {"a ring of the wrong number", [](Client& c) { c.rings_[0].add_ring.index = 1; }},
      {"a ring of the wrong number", [](Client& c) { c.rings_[1].add_ring.flags = memif::kToServer; }},
      {"a ring of 2^15 slots", [](Client& c) { c.rings_[0].add_ring.slots_log2 = 15; }},
      {"a ring of 2^255 slots", [](Client& c) { c.rings_[0].add_ring.slots_log2 = 255; }},
      {"a ring out of its region", [](Client& c) { c.rings_[0].add_ring.slots_log2 = 14; }},
      {"a ring out of its region", [](Client& c) { c.rings_[0].add_ring.offset = Client::kSize - 64; }},
      {"a ring out of its region", [](Client& c) { c.rings_[0].add_ring.offset = 0xffffffc0; }},
      {"a ring out of its region", [](Client& c) { c.rings_[0].add_ring.offset = 1; }},
      {"a ring out of its region", [](Client& c) { c.rings_[0].add_ring.region = 1; }},
      {"private headers of 12 bytes", [](Client& c) { c.rings_[0].add_ring.private_header = 12; }},
      {"private headers of 10 bytes", [](Client& c) { c.rings_[0].add_ring.private_header = 10; }},
      {"a ring without an eventfd", [](Client& c) { c.events_[0] = UniqueFd(::dup(0)); }},
      {"a ring without an eventfd", [&](Client& c) { c.events_[1] = UniqueFd(::dup(pipe_end.get())); }},
      {"no ring in each direction", [](Client& c) { c.skip_rings_ = true; }},
      {"without memif's cookie", [](Client& c) { c.ring(0).cookie = 1; }},
      {"without memif's cookie", [](Client& c) { c.ring(1).cookie = 1; }},
  };
  Plugged wire(path_, Role::kServer);
  for (const Lie& lie : lies) {
    SCOPED_TRACE(lie.said);
    Client client(path_);
    client.connect(wire, lie.bend);
    EXPECT_EQ(client.last_.type, Type::kDisconnect);
    ASSERT_TRUE(until({&wire}, [&] { return wire.said.find(lie.said) != std::string::npos; })) << wire.said;
    EXPECT_FALSE(wire->connected());
    EXPECT_EQ(::access(path_.c_str(), F_OK), 0);  // and waits for the next
    wire.said.clear();
  }
  // Which is an honest one.
  Client client(path_);
  client.connect(wire);
  EXPECT_TRUE(until({&wire}, [&] { return wire->connected(); })) << wire.said;
}

/// Lies of one that is connected.
TEST_F(Memif, EndsAConnectionWhoseRingsCannotBe) {
  struct Lie {
    std::string said;
    std::function<void(Client&)> bend;
    bool at_send = false;
  };
  const std::vector<Lie> lies = {
      {"indexes of the ring from it cannot be", [](Client& c) { c.ring(0).head = 17; }},
      {"indexes of the ring from it cannot be", [](Client& c) { c.ring(0).tail = 5; }},
      {"a frame out of its region", [](Client& c) { c.slot(0, 0).offset = Client::kSize, c.ring(0).head = 1; }},
      {"a frame out of its region", [](Client& c) { c.slot(0, 0).offset = 0xffffffff, c.ring(0).head = 1; }},
      {"a frame out of its region", [](Client& c) { c.slot(0, 0).length = 0xffffffff, c.ring(0).head = 1; }},
      {"a frame out of its region", [](Client& c) { c.slot(0, 0).region = 1, c.ring(0).head = 1; }},
      {"a frame that is too long", [](Client& c) { c.slot(0, 0).length = 65665, c.slot(0, 0).offset = 0, c.ring(0).head = 1; }},
      {"a frame without an end",
       [](Client& c) {
         for (unsigned i = 0; i < 16; ++i) c.slot(0, i).flags = memif::kMore, c.slot(0, i).length = 1;
         c.ring(0).head = 16;
       }},
      {"indexes of the ring to it cannot be", [](Client& c) { c.ring(1).head = 17; }, true},
      {"indexes of the ring to it cannot be", [](Client& c) { c.ring(1).tail = 40; }, true},
      {"a free slot out of its region", [](Client& c) { c.slot(1, 0).offset = Client::kSize - 1; }, true},
      {"a free slot out of its region", [](Client& c) { c.slot(1, 0).length = 0; }, true},
      {"a message out of turn", [](Client& c) { c.send(c.message(Type::kAck)); }},
      {"a message of the wrong size", [](Client& c) { c.send(c.message(Type::kAck), -1, 5); }},
      {"a message of the wrong size", [](Client& c) { c.send(c.message(Type::kAck), c.memory_.get(), sizeof(Message), 3); }},
      {"the other end says 'enough?'",
       [](Client& c) {
         Message message = c.message(Type::kDisconnect);
         std::strcpy(message.disconnect.why, "enough\n");
         c.send(message);
       }},
      {"the other end is gone", [](Client& c) { c.channel_.reset(); }},
  };
  Plugged wire(path_, Role::kServer);
  for (const Lie& lie : lies) {
    SCOPED_TRACE(lie.said);
    Client client(path_);
    client.connect(wire);
    ASSERT_TRUE(until({&wire}, [&] { return wire->connected(); })) << wire.said;
    lie.bend(client);
    EXPECT_EQ(lie.at_send ? wire.send(frame_of(60, 0)) : -EPROTO, -EPROTO);
    client.ring_bell();
    ASSERT_TRUE(until({&wire}, [&] { return wire.said.find(lie.said) != std::string::npos; })) << wire.said;
    EXPECT_FALSE(wire->connected());
    wire.said.clear();
  }
}

TEST_F(Memif, MemoryThatIsTakenAwayIsNoneToBeginWith) {
  Plugged wire(path_, Role::kServer);
  Client client(path_);
  client.connect(wire);
  EXPECT_NE(::ftruncate(client.memory_.get(), 0), 0);  // that is what the seal is for
  ASSERT_TRUE(until({&wire}, [&] { return wire->connected(); }));
  Plugged other(path_ + "2", Role::kServer), mate(path_ + "2", Role::kClient);
  ASSERT_TRUE(until({&other, &mate}, [&] { return other->connected() && mate->connected(); }));
}

TEST_F(Memif, AClientWhoSaysNothingIsNotWaitedForForEver) {
  Plugged wire(path_, Role::kServer);
  const Client silent(path_);
  ASSERT_TRUE(until({&wire}, [&] { return ::access(path_.c_str(), F_OK) != 0; }));
  ASSERT_TRUE(until({&wire}, [&] { return wire.said.find("no answer") != std::string::npos; }));
  Client next(path_);
  next.connect(wire);
  EXPECT_TRUE(until({&wire}, [&] { return wire->connected(); }));
}

/// A server that is no stack.
class Server : public Peer {
 public:
  explicit Server(const std::string& path) {
    listener_ = UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const auto address = at_name(path);
    ::unlink(path.c_str());
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
  }
  void accept(Plugged& wire) {
    EXPECT_TRUE(until({&wire}, [&] { return readable({listener_.get()}, 0); }));
    channel_ = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    hello_ = message(Type::kHello);
    std::strcpy(hello_.hello.name, "a test");
    hello_.hello.least_version = hello_.hello.most_version = memif::kVersion;
    hello_.hello.most_slots_log2 = 14;
  }
  /// Until it has all that the client offers. As DPDK's, it begins with indexes of 0.
  void connect(Plugged& wire) {
    send(hello_);
    for (unsigned type = next(wire); type != unsigned(Type::kConnect); type = next(wire)) {
      if (type == unsigned(Type::kDisconnect) || type == 0) return;
      if (type == unsigned(Type::kAddRegion)) {
        size_ = last_.add_region.size;
        map_ = static_cast<std::byte*>(::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, got_.get(), 0));
        EXPECT_NE(::ftruncate(got_.get(), 0), 0);
      }
      if (type == unsigned(Type::kAddRing)) {
        rings_[last_.add_ring.flags & memif::kToServer] = last_.add_ring;
        events_[last_.add_ring.flags & memif::kToServer] = std::move(got_);
      }
      send(message(Type::kAck));
    }
    for (unsigned i = 0; i < 2; ++i) ring(i).head = ring(i).tail = 0;
    send(message(Type::kConnected));
    ASSERT_TRUE(until({&wire}, [&] { return wire->connected(); })) << wire.said;
  }
  ~Server() {
    if (map_ != nullptr) ::munmap(map_, size_);
  }
  memif::RingHeader& ring(unsigned i) { return *reinterpret_cast<memif::RingHeader*>(map_ + rings_[i].offset); }
  memif::Slot& slot(unsigned i, unsigned s) {
    return reinterpret_cast<memif::Slot*>(&ring(i) + 1)[s % (1u << rings_[i].slots_log2)];
  }

  Message hello_{};
  UniqueFd listener_, events_[2];
  memif::AddRing rings_[2]{};
  std::byte* map_ = nullptr;
  std::size_t size_ = 0;
};

TEST_F(Memif, IsAClientOfAnotherProgram) {
  Plugged wire(path_, Role::kClient);
  EXPECT_FALSE(wire->connected());  // nobody is there yet
  Server server(path_);
  server.accept(wire);
  server.hello_.hello.most_slots_log2 = 5;
  server.connect(wire);
  EXPECT_FALSE(wire->has_metadata());
  EXPECT_EQ(server.rings_[0].private_header, 0);
  EXPECT_EQ(server.rings_[0].slots_log2, 5);
  EXPECT_EQ(server.ring(0).head, 32);  // all slots are the server's to fill

  const Bytes frame = frame_of(1514, 4);
  for (unsigned i = 0; i < 100; ++i) {
    ASSERT_EQ(wire.send(frame), 0);
    const memif::Slot& slot = server.slot(1, i);
    ASSERT_EQ(slot.length, frame.size());
    ASSERT_EQ(std::memcmp(server.map_ + slot.offset, frame.data(), frame.size()), 0);
    server.ring(1).tail = std::uint16_t(i + 1);

    memif::Slot& free = server.slot(0, i);
    ASSERT_GE(free.length, 2048u);
    std::memcpy(server.map_ + free.offset, frame.data(), frame.size());
    free.length = std::uint32_t(frame.size());
    server.ring(0).tail = std::uint16_t(i + 1);
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(server.events_[0].get(), &one, sizeof(one)), ssize_t(sizeof(one)));
    ASSERT_TRUE(until({&wire}, [&] { return wire.frames.size() == i + 1; }));
    ASSERT_EQ(wire.frames.back(), frame);
  }
  // It goes, and comes again.
  server.channel_.reset();
  server.listener_.reset();
  ASSERT_TRUE(until({&wire}, [&] { return !wire->connected(); }));
  Server again(path_);
  again.accept(wire);
  again.connect(wire);
  EXPECT_TRUE(wire->connected());
}

TEST_F(Memif, EndsAConnectionWithAServerThatLies) {
  struct Lie {
    std::string said;
    std::function<void(Server&, Plugged&)> tell;
  };
  const auto connected = [](const std::function<void(Server&)>& then) {
    return [then](Server& server, Plugged& wire) {
      server.connect(wire);
      then(server);
      const std::uint64_t one = 1;
      ASSERT_EQ(::write(server.events_[0].get(), &one, sizeof(one)), ssize_t(sizeof(one)));
    };
  };
  const std::vector<Lie> lies = {
      {"memif versions 0x300 to 0x400",
       [](Server& s, Plugged&) { s.hello_.hello.least_version = 0x300, s.hello_.hello.most_version = 0x400, s.send(s.hello_); }},
      {"a message out of turn", [](Server& s, Plugged&) { s.send(s.message(Type::kAck)); }},
      {"a message out of turn", [](Server& s, Plugged& w) { s.send(s.hello_), s.next(w), s.send(s.hello_); }},
      {"a message out of turn", [](Server& s, Plugged& w) { s.send(s.hello_), s.next(w), s.send(s.message(Type::kConnected)); }},
      {"a message that is not for a client", [](Server& s, Plugged&) { s.send(s.message(Type::kInit)); }},
      {"the other end is gone", [](Server& s, Plugged& w) { s.send(s.hello_), s.next(w), s.channel_.reset(); }},
      {"indexes of the ring from it cannot be", connected([](Server& s) { s.ring(0).tail = 2000; })},
      {"indexes of the ring from it cannot be", connected([](Server& s) { s.ring(0).head = 2000; })},
      {"a frame out of its region", connected([](Server& s) { s.slot(0, 0).length = 2049, s.ring(0).tail = 1; })},
      {"a frame that is too long", connected([](Server& s) {
         for (unsigned i = 0; i < 100; ++i) s.slot(0, i).flags = memif::kMore;
         s.ring(0).tail = 100;
       })},
  };
  Server server(path_);
  Plugged wire(path_, Role::kClient);
  for (const Lie& lie : lies) {
    SCOPED_TRACE(lie.said);
    server.accept(wire);
    lie.tell(server, wire);
    ASSERT_TRUE(until({&wire}, [&] { return wire.said.find(lie.said) != std::string::npos; })) << wire.said;
    EXPECT_FALSE(wire->connected());
    wire.said.clear();
  }
}

}  // namespace
}  // namespace lkm
