// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/private_state.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>

namespace lkm {
namespace {

using Kind = MemberLayout::Kind;

libos_member move(const MemberLayout& from, const MemberLayout& to) {
  return {.from_bit = std::uint16_t(from.bit),
          .from_bits = std::uint16_t(from.bits),
          .to_bit = std::uint16_t(to.bit),
          .to_bits = std::uint16_t(to.bits),
          .is_signed = std::uint8_t(from.kind == Kind::kSigned)};
}

}  // namespace

PrivateState pair_members(const std::string& structure, const TypeLayout& before, const TypeLayout& after) {
  PrivateState state{.structure = structure, .members = {}, .remarks = {}};
  const auto remark = [&](const std::string& text) {
    state.remarks.push_back(fmt::format("{}: {}", structure, text));
  };
  for (const auto& now : after.members) {
    const auto was = std::ranges::find(before.members, now.name, &MemberLayout::name);
    if (now.name.empty() || was == before.members.end()) {
      remark(now.name.empty() ? "a member without a name is initialised"
                              : fmt::format("'{}' is new, and initialised", now.name));
    } else if (was->type == now.type && was->bits == now.bits) {
      state.members.push_back(move(*was, now));
    } else if (was->kind != Kind::kOther && now.kind != Kind::kOther) {
      state.members.push_back(move(*was, now));
      remark(fmt::format("'{}' is {} with {} bits, was {} with {}: converted", now.name, now.type, now.bits,
                         was->type, was->bits));
    } else {
      remark(fmt::format("'{}' is {}, was {}: initialised", now.name, now.type, was->type));
    }
  }
  for (const auto& was : before.members) {
    if (was.name.empty() || std::ranges::find(after.members, was.name, &MemberLayout::name) !=
                                after.members.end()) {
      continue;
    }
    remark(fmt::format("'{}' is gone, with its value", was.name));
  }
  return state;
}

namespace {

/// Of those that functions use beside a socket, the one that can be its private state in all of the builds.
Result<std::string> private_structure(const std::vector<std::string>& used, const std::vector<const Layouts*>& builds) {
  const auto fits = [&](const std::string& name) {
    return std::ranges::all_of(builds, [&](const Layouts* types) {
      const auto found = types->find(name);
      // Two of a name: of several files.
      return found != types->end() && found->second.size() == 1 && found->second[0].bytes <= PrivateState::kRoom;
    });
  };
  std::vector<std::string> candidates;
  std::ranges::copy_if(used, std::back_inserter(candidates), fits);
  if (candidates.size() == 1) return candidates[0];
  return fail(ENODATA, "which structure is its private state cannot be told{}{}", candidates.empty() ? "" : ": ",
              fmt::join(candidates, ", "));
}

}  // namespace

Result<PrivateState> private_state(const PluginFile& before, const PluginFile& after) {
  const auto shown = after.path().string();
  LKM_TRY(const auto old_types, read_layouts(before.bytes(), before.path().string()));
  LKM_TRY(const auto new_types, read_layouts(after.bytes(), shown));
  LKM_TRY(const auto used, socket_structures(after.bytes(), shown));
  LKM_TRY(const auto name, private_structure(used, {&old_types, &new_types}));
  return pair_members(name, old_types.at(name)[0], new_types.at(name)[0]);
}

Result<PrivateLayout> private_layout(std::span<const std::byte> file, const std::string& shown) {
  LKM_TRY(const auto types, read_layouts(file, shown));
  LKM_TRY(const auto used, socket_structures(file, shown));
  PrivateLayout layout;
  LKM_TRY(layout.structure, private_structure(used, {&types}));
  for (const MemberLayout& member : types.at(layout.structure)[0].members) {
    const bool number = member.kind != Kind::kOther || member.type.starts_with("enum ");
    if (number && !member.name.empty() && member.bits <= 64) layout.members.push_back(member);
  }
  const auto offset_of = [&](const char* structure, const char* member, std::size_t& bytes) -> Result<void> {
    LKM_TRY(const TypeLayout of, read_structure(file, shown, structure));
    const auto found = std::ranges::find(of.members, member, &MemberLayout::name);
    if (found == of.members.end()) return fail(ENODATA, "'{}': {} has no '{}'", shown, structure, member);
    bytes = found->bit / 8;
    return {};
  };
  LKM_CHECK(offset_of("struct inet_connection_sock", "icsk_ca_priv", layout.state));
  LKM_CHECK(offset_of("struct inet_connection_sock", "icsk_ca_ops", layout.ops));
  LKM_CHECK(offset_of("struct tcp_congestion_ops", "owner", layout.owner));
  LKM_CHECK(offset_of("struct module", "name", layout.name));
  return layout;
}

}  // namespace lkm
