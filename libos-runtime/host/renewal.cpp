// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/renewal.hpp"

#include <elf.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

namespace lkm {
namespace {

/// The kernel's own record of the module: the new code uses the running one's, and its words are the kernel's.
constexpr const char* kThisModule = ".gnu.linkonce.this_module";
constexpr std::size_t kJump = 5;  // e9 rel32
constexpr std::size_t kPage = 4096;
constexpr std::size_t kPacketRoom = 48;  // cb of struct sk_buff

std::byte* mapped(std::uintptr_t bias, std::uintptr_t at) {
  return reinterpret_cast<std::byte*>(bias + at);
}

std::vector<std::byte> copy(const std::byte* from, std::size_t size) { return {from, from + size}; }

bool fits(std::intptr_t distance) {
  return distance >= std::numeric_limits<std::int32_t>::min() &&
         distance <= std::numeric_limits<std::int32_t>::max();
}

/// Why the two builds cannot share one life, apart from their variables. Structures `reshaped` may differ.
std::vector<std::string> disagreements(const ModuleBody& body, const ReadBuild& next,
                                       const std::set<std::string>& reshaped) {
  auto reasons = layout_differences(body.layouts, next.layouts, reshaped);
  if (body.code.parameters != next.code.parameters) {
    reasons.emplace_back("it has other parameters than before");
  }
  if (body.code.exports != next.code.exports) {
    reasons.emplace_back("it exports other symbols than before");
  }
  if (body.code.state_version != next.code.state_version) {
    reasons.push_back(fmt::format("its state has version {}, and had {}", next.code.state_version, body.code.state_version));
  }
  if (body.code.init != next.code.init && next.code.registers_control) {
    reasons.emplace_back("its init is another one, and has to run");
  }
  return reasons;
}

/// The kinds of objects whose sizes lie in tables that both builds have, with the next build's.
std::vector<Reshape::Kind> kinds_of(const std::vector<libos_objects*>& kernel, const ModuleBody& body,
                                    const ReadBuild& next, std::uintptr_t bias, std::vector<std::string>& reasons) {
  std::vector<Reshape::Kind> kinds;
  const auto& variables = next.code.variables;
  for (libos_objects* kind : kernel) {
    const auto* at = static_cast<const std::byte*>(kind->size_at);
    const auto table = std::ranges::find_if(body.variables, [&](const auto& variable) {
      return at >= variable.second.at && at < variable.second.at + variable.second.initial.size();
    });
    const auto now = table == body.variables.end() ? variables.end() : variables.find(table->first);
    kinds.push_back({.kernel = kind, .next_size = kind->size, .structure = {}, .form = {}, .objects = {}});
    if (now == variables.end() || now->second.size != table->second.initial.size()) {
      reasons.push_back(fmt::format("the table that says how large a {} is has another name or shape", kind->one));
      continue;
    }
    kinds.back().next_size = 0;
    std::memcpy(&kinds.back().next_size, mapped(bias, now->second.at) + (at - table->second.at), kind->width);
  }
  return kinds;
}

/// Of the variables in a section the first that is, or has as elements, a structure that is rearranged.
std::string rearranged_in(const PluginVariable& section, const std::map<std::string, std::string>& types,
                          const std::set<std::string>& reshaped) {
  for (const auto& [name, type] : types) {
    const bool there = section.shape.starts_with(name + ":") || section.shape.find(";" + name + ":") != std::string::npos;
    if (there && reshaped.contains(type)) return fmt::format("variable '{}' has a value, and is {}, which has changed", name, type);
  }
  return {};
}

std::string shown_name(const std::string& section) {
  const auto dot = section.rfind('.');
  return dot == std::string::npos ? section : section.substr(dot + 1);
}

/// An rhashtable has a copy of its parameters, with the places of members in them.
bool uses_rhashtable(const PluginFile& file) {
  const auto bytes = file.bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return text.find("rhashtable_init") != text.npos || text.find("rhltable_init") != text.npos;
}

Failure refuse(const std::vector<std::string>& reasons) {
  std::string text = "cannot go on in place";
  for (const auto& reason : reasons) text += "\n  " + reason;
  return fail(EXDEV, "{}", text);
}

}  // namespace

Result<ReadBuild> read_build(const PluginFile& file) {
  ReadBuild build;
  LKM_TRY(build.code, CodeMap::read(file.bytes(), file.path().string()));
  LKM_TRY(build.layouts, read_layouts(file.bytes(), file.path().string()));
  LKM_TRY(build.structures_of_variables, read_variables(file.bytes(), file.path().string()));
  return build;
}

ModuleBody make_body(const PluginFile& file, ReadBuild build, const std::vector<std::byte>& pristine) {
  ModuleBody body{.variables = {},
                  .layouts = std::move(build.layouts),
                  .code = std::move(build.code),
                  .bias = file.bias()};
  const auto* low = file.writable().data();
  for (const auto& [name, variable] : body.code.variables) {
    auto* at = mapped(body.bias, variable.at);
    body.variables[name] = {at, variable.shape, copy(pristine.data() + (at - low), variable.size)};
  }
  return body;
}

Result<Renewal> Renewal::prepare(ModuleBody& body, const PluginFile& next, ReadBuild build,
                                 Objects objects) {
  Renewal renewal(body);
  renewal.build_ = std::move(build);
  renewal.bias_ = next.bias();
  renewal.init_changed_ = body.code.init != renewal.build_.code.init;
  std::vector<std::string> reasons;
  renewal.reshape_ = Reshape(kinds_of(objects.kinds, body, renewal.build_, renewal.bias_, reasons), objects.held,
                             std::move(objects.sites), body.layouts, renewal.build_.layouts, objects.hashed, reasons);
  std::ranges::copy(disagreements(body, renewal.build_, renewal.reshape_.structures()), std::back_inserter(reasons));
  for (const auto& structure : objects.in_packets) {
    const auto layout = body.layouts.find(structure);
    if (!renewal.reshape_.structures().contains(structure) || layout == body.layouts.end()) continue;
    if (layout->second[0].bytes > kPacketRoom) continue;
    reasons.push_back(fmt::format("{} has changed, and may lie in packets, too: a function gives that of a struct sk_buff", structure));
  }
  for (const auto& [structure, layouts] : body.layouts) {
    if (!structure.ends_with("_cb") || layouts[0].bytes > kPacketRoom) continue;
    const auto now = renewal.build_.layouts.find(structure);
    if (now == renewal.build_.layouts.end() || now->second == layouts) continue;
    reasons.push_back(fmt::format("{} has changed, and by its name it lies in packets (skb->cb), of which nothing tells where they "
                                  "all are: with --state reset sockets and qdiscs end, and their packets with them", structure));
  }
  if (renewal.reshape_.moves_members() && uses_rhashtable(next)) {
    reasons.emplace_back("members have other places than before, which its rhashtables know: add them at the end");
  }

  for (const auto& [name, variable] : renewal.build_.code.variables) {
    const auto* fresh = mapped(renewal.bias_, variable.at);
    const auto live = body.variables.find(name);
    if (live != body.variables.end() && live->second.shape == variable.shape &&
        live->second.initial.size() == variable.size) {
      renewal.bound_.push_back({&live->second, fresh, name != kThisModule});
      const auto& initial = live->second.initial;
      if (std::memcmp(live->second.at, initial.data(), initial.size()) == 0) continue;
      const auto reason = rearranged_in(variable, renewal.build_.structures_of_variables, renewal.reshape_.structures());
      if (!reason.empty()) reasons.push_back(reason);
      continue;
    }
    if (live != body.variables.end()) {
      const auto& initial = live->second.initial;
      if (std::memcmp(live->second.at, initial.data(), initial.size()) != 0) {
        reasons.push_back(fmt::format("variable '{}' has a value and another shape than before",
                                      shown_name(name)));
        continue;
      }
      renewal.dropped_.push_back(name);  // nobody has changed it: the new one does as well
    }
    renewal.added_[name] = {mapped(renewal.bias_, variable.at), variable.shape, {}};
  }
  if (!reasons.empty()) return refuse(reasons);
  LKM_CHECK(renewal.bind(next));
  return renewal;
}

/// Makes the new build's code and tables mean the running module's variables.
Result<void> Renewal::bind(const PluginFile& next) {
  const auto& code = build_.code;
  const auto live_address = [&](const std::string& name) -> std::byte* {
    if (added_.contains(name)) return nullptr;
    return body_->variables.at(name).at;
  };
  for (const auto& reference : code.references) {
    const auto* live = live_address(reference.variable);
    if (live == nullptr) continue;
    const auto* here = mapped(bias_, code.variables.at(reference.variable).at);
    if (!fits(live - here)) return refuse({"the new code lies too far from the module's variables"});
  }
  LKM_CHECK(open_code(next, true));
  for (const auto& reference : code.references) {
    const auto* live = live_address(reference.variable);
    if (live == nullptr) continue;
    const auto* here = mapped(bias_, code.variables.at(reference.variable).at);
    auto* place = mapped(bias_, reference.at);
    std::int32_t distance = 0;
    std::memcpy(&distance, place, sizeof(distance));
    distance += std::int32_t(live - here);
    std::memcpy(place, &distance, sizeof(distance));
  }
  for (const auto& pointer : code.pointers) {
    const auto* variable = code.variable_at(pointer.to);
    if (variable == nullptr) continue;
    auto* live = live_address(variable->first);
    if (live == nullptr) continue;
    auto* to = live + (pointer.to - variable->second.at);
    std::memcpy(mapped(bias_, pointer.at), &to, sizeof(to));
  }
  LKM_CHECK(open_code(next, false));
  for (auto& [name, variable] : added_) {
    variable.initial = copy(variable.at, code.variables.at(name).size);
  }
  return {};
}

void Renewal::commit(const std::vector<OldCode*>& old) {
  for (const auto& bound : bound_) {
    if (!bound.merge) continue;
    auto& initial = bound.live->initial;
    bool kept = false;
    for (std::size_t at = 0; at < initial.size();) {
      const std::size_t n = std::min<std::size_t>(sizeof(void*), initial.size() - at);
      const bool same = std::memcmp(bound.live->at + at, initial.data() + at, n) == 0;
      if (same && std::memcmp(initial.data() + at, bound.fresh + at, n) != 0) {
        std::memcpy(bound.live->at + at, bound.fresh + at, n);
      }
      kept |= !same;
      at += n;
    }
    kept_ += kept ? 1 : 0;
    std::memcpy(initial.data(), bound.fresh, initial.size());
  }
  for (const auto* code : old) {
    for (const auto& [name, function] : code->functions) {
      const auto now = build_.code.functions.find(name);
      // One that is shorter than a jump (it returns a constant, or nothing) serves on until the sweep.
      if (now == build_.code.functions.end() || function.room < kJump) continue;
      auto* place = mapped(code->bias, function.at);
      const auto* to = mapped(bias_, now->second.at);
      const auto distance = std::int32_t(to - (place + kJump));
      place[0] = std::byte{0xe9};
      std::memcpy(place + 1, &distance, sizeof(distance));
    }
  }
}

void Renewal::finish() {
  for (const auto& name : dropped_) body_->variables.erase(name);
  body_->variables.merge(added_);
  body_->layouts = std::move(build_.layouts);
  body_->code = std::move(build_.code);
  body_->bias = bias_;
}

Result<void> open_code(const PluginFile& file, bool writable) {
  for (const auto& segment : file.segments()) {
    if ((segment.flags & PF_W) != 0) continue;
    const int protection = PROT_READ | ((segment.flags & PF_X) != 0 ? PROT_EXEC : 0);
    const auto low = segment.at & ~(kPage - 1);
    if (::mprotect(reinterpret_cast<void*>(low), segment.at + segment.size - low,
                   protection | (writable ? PROT_WRITE : 0)) < 0) {
      return fail(errno, "make the code of '{}' {}", file.path().string(),
                  writable ? "writable" : "read-only");
    }
  }
  return writable ? open_variables(file) : Result<void>();
}

Result<void> open_variables(const PluginFile& file) {
  const auto range = file.writable();
  const auto low = reinterpret_cast<std::uintptr_t>(range.data()) & ~(kPage - 1);
  const auto high = reinterpret_cast<std::uintptr_t>(range.data() + range.size());
  if (::mprotect(reinterpret_cast<void*>(low), high - low, PROT_READ | PROT_WRITE) < 0) {
    return fail(errno, "make the variables of '{}' writable", file.path().string());
  }
  return {};
}

}  // namespace lkm
