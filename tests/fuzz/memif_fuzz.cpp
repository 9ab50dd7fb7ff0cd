// SPDX-License-Identifier: GPL-2.0
//
// The other end of a memif says anything, or says what is right and then has anything in the memory: the wire carries
// frames or ends the connection, and takes the next.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>
#include <cstring>
#include <span>

#include "libos-runtime/host/memif_wire.hpp"
#include "toolkit/base/descriptor_message.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace {

using lkm::MemifWire;
using lkm::UniqueFd;
using lkm::memif::Message;
using lkm::memif::Type;

constexpr std::size_t kMemory = 8192;
constexpr std::uint32_t kSecondRing = 2048;
constexpr unsigned kLog2 = 3;

struct Input {
  const std::uint8_t* data;
  std::size_t size;
  std::size_t copy(void* to, std::size_t length) {
    const std::size_t n = std::min(length, size);
    std::memcpy(to, data, n);
    data += n;
    size -= n;
    return n;
  }
  std::uint8_t byte() {
    std::uint8_t value = 0;
    copy(&value, 1);
    return value;
  }
};

bool ready(MemifWire& wire) {
  pollfd all[3] = {{.fd = wire.descriptor(), .events = POLLIN, .revents = 0}};
  nfds_t n = 1;
  for (const int fd : wire.others()) all[n++] = {.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(all, n, 0) > 0;
}

void go_on(MemifWire& wire) {
  static std::vector<std::byte> frame(65664);
  // So often that all of a ring may pass; who is busy without an end is no use.
  for (int turn = 0; turn < 64 && ready(wire); ++turn) {
    if (wire.connected()) {
      libos_frame_meta meta{};
      const long n = wire.receive(meta, frame);
      if (n > long(frame.size())) std::abort();
      if (n >= 0) continue;
    }
    if (!wire.replug()) std::abort();
    (void)wire.news();
  }
}

void say(const UniqueFd& channel, const Message& message, int descriptor) {
  const std::span one(&descriptor, descriptor >= 0 ? 1 : 0);
  (void)lkm::send_message(channel.get(), std::as_bytes(std::span(&message, 1)), one, MSG_DONTWAIT);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto folder = lkm::TempDir::make();
  static const std::string path = folder->path() / "memif";
  static const auto wire = MemifWire::at(path, MemifWire::Role::kServer);
  if (!wire) std::abort();
  MemifWire& server = **wire;

  const UniqueFd memory(::memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const UniqueFd event(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)), other(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  if (::ftruncate(memory.get(), kMemory) != 0 || ::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) std::abort();
  auto* const bytes = static_cast<std::byte*>(::mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0));
  const auto set_cookies = [&] {
    for (const std::size_t at : {std::size_t{0}, std::size_t{kSecondRing}})
      std::memcpy(bytes + at, &lkm::memif::kCookie, sizeof(lkm::memif::kCookie));
  };

  UniqueFd channel(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (::connect(channel.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) std::abort();
  go_on(server);

  Input input{data, size};
  if (const std::uint8_t kind = input.byte(); kind % 4 == 0) {
    set_cookies();
    while (input.size > 0) {
      const std::uint8_t with = input.byte();
      Message message{};
      message.type = Type(input.byte() % 10);
      input.copy(message.room, std::min<std::size_t>(input.byte(), sizeof(message.room)));
      say(channel, message, with % 4 == 0 ? -1 : with % 4 == 1 ? memory.get() : event.get());
      go_on(server);
    }
  } else {
    input.copy(bytes, kMemory);
    set_cookies();
    Message message{};
    message.type = Type::kInit;
    message.init.version = lkm::memif::kVersion;
    std::strcpy(message.init.name, kind % 4 == 1 ? "lkm-run, memif 1" : "fuzz");
    say(channel, message, -1);
    go_on(server);
    message = {.type = Type::kAddRegion, .room = {}};
    message.add_region.size = kMemory;
    say(channel, message, memory.get());
    go_on(server);
    for (const bool to_server : {true, false}) {
      message = {.type = Type::kAddRing, .room = {}};
      message.add_ring.flags = to_server ? lkm::memif::kToServer : 0;
      message.add_ring.offset = to_server ? 0 : kSecondRing;
      message.add_ring.slots_log2 = kLog2;
      message.add_ring.private_header = kind % 4 == 1 ? sizeof(libos_frame_meta) : 0;
      say(channel, message, to_server ? event.get() : other.get());
      go_on(server);
    }
    say(channel, {.type = Type::kConnect, .room = {}}, -1);
    go_on(server);
    std::byte frame[3000]{};
    const libos_iov whole{frame, sizeof(frame)};
    for (int i = 0; i < 4; ++i) (void)server.send({}, {&whole, 1});
    go_on(server);
  }
  channel.reset();
  ::munmap(bytes, kMemory);
  for (int i = 0; server.connected() || server.connecting(); ++i) {
    if (i > 1000) std::abort();
    go_on(server);
  }
  return 0;
}
