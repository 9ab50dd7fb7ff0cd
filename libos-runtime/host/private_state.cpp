// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/private_state.hpp"

#include <algorithm>
#include <cerrno>

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

Result<PrivateState> private_state(const PluginFile& before, const PluginFile& after) {
  const auto shown = after.path().string();
  LKM_TRY(const auto old_types, read_layouts(before.bytes(), before.path().string()));
  LKM_TRY(const auto new_types, read_layouts(after.bytes(), shown));
  LKM_TRY(const auto used, socket_structures(after.bytes(), shown));
  std::vector<std::string> candidates;
  for (const auto& name : used) {
    const auto was = old_types.find(name);
    const auto now = new_types.find(name);
    if (was == old_types.end() || now == new_types.end()) continue;
    if (was->second.size() != 1 || now->second.size() != 1) continue;  // of several files
    if (now->second[0].bytes <= PrivateState::kRoom && was->second[0].bytes <= PrivateState::kRoom) {
      candidates.push_back(name);
    }
  }
  if (candidates.size() != 1) {
    std::string names;
    for (const auto& name : candidates) names += (names.empty() ? ": " : ", ") + name;
    return fail(ENODATA, "which structure is its private state cannot be told{}", names);
  }
  return pair_members(candidates[0], old_types.at(candidates[0])[0],
                      new_types.at(candidates[0])[0]);
}

}  // namespace lkm
