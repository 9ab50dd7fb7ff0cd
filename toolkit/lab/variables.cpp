// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/variables.hpp"

#include <sys/stat.h>

#include <cstring>
#include <sstream>

#include "toolkit/base/mapping.hpp"

namespace lkm::lab {
namespace {

const std::byte* pointer_at(const std::byte* place) {
  const std::byte* pointer = nullptr;
  std::memcpy(&pointer, place, sizeof pointer);
  return pointer;
}

/// A member that may begin and end within a byte.
double value_of(const MemberLayout& member, const std::byte* state) {
  unsigned __int128 bits = 0;
  const std::uint64_t first = member.bit / 8, last = (member.bit + member.bits + 7) / 8;
  std::memcpy(&bits, state + first, last - first);  // of 8 bytes and a begun one at most
  bits >>= member.bit % 8;
  const unsigned unused = 64 - unsigned(member.bits);
  const auto value = std::uint64_t(bits) << unused;
  return member.kind == MemberLayout::Kind::kSigned ? double(std::int64_t(value) >> unused) : double(value >> unused);
}

/// The socket of that inode, out of /proc/net/tcp (net/ipv4/tcp_ipv4.c, get_tcp4_sock()), or /proc/net/tcp6, which has the
/// same columns.
const std::byte* find_socket(const std::string& table, unsigned long inode) {
  constexpr int kInode = 9, kPointer = 11;
  std::istringstream lines(table);
  std::string line, word;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    bool same = false;
    for (int i = 0; words >> word; ++i) {
      if (i == kInode) same = word == std::to_string(inode);
      if (i == kPointer && same) return reinterpret_cast<const std::byte*>(std::stoul(word, nullptr, 16));
    }
  }
  return nullptr;
}

}  // namespace

Result<void> Variables::learn() {
  LKM_TRY(const auto modules, stack_.modules());
  for (const ModuleInfo& module : modules) {
    LKM_TRY(const auto file, Mapping::file(module.path));
    // Most modules are no control, and those of the kernel's tree have no debug information.
    if (auto layout = private_layout(file.bytes(), module.path)) layouts_.insert_or_assign(module.name, *layout);
  }
  return {};
}

const std::byte* Variables::address_of(const LiveFlow& flow) {
  struct stat about {};
  if (flow.socket.call(SYS_fstat, &about) < 0) return nullptr;
  Socket& socket = sockets_[&flow];
  if (socket.inode == about.st_ino) return socket.address;
  const auto found = inside(stack_, flow.spec->from, [&]() -> Result<void> {
    LKM_TRY(const std::string table, stack_.read_file(flow.spec->ip == IpFamily::kV6 ? "/proc/net/tcp6" : "/proc/net/tcp"));
    socket = {about.st_ino, find_socket(table, about.st_ino)};
    return {};
  });
  return found ? socket.address : nullptr;
}

std::vector<Variables::Value> Variables::read(const LiveFlow& flow) {
  if (layouts_.empty() || !flow.socket) return {};
  const std::byte* socket = address_of(flow);
  if (socket == nullptr) return {};
  // The kernel's structures are the same in all layouts.
  const PrivateLayout& any = layouts_.begin()->second;
  const std::byte* owner = pointer_at(pointer_at(socket + any.ops) + any.owner);
  if (owner == nullptr) return {};  // built in
  const auto layout = layouts_.find(reinterpret_cast<const char*>(owner + any.name));
  if (layout == layouts_.end()) return {};
  const std::string structure = layout->second.structure.substr(std::strlen("struct "));
  std::vector<Value> values;
  for (const MemberLayout& member : layout->second.members)
    values.push_back({structure + "." + member.name, value_of(member, socket + layout->second.state)});
  return values;
}

}  // namespace lkm::lab
