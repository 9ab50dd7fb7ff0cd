// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/reshape.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

namespace lkm {
namespace {

using Kind = MemberLayout::Kind;

/// A member of the structure, or one of a member that is rearranged with it.
struct Leaf {
  std::string path;  ///< "telex.srtt_us"
  MemberLayout member;  ///< its bit counts from the beginning of the whole
};

void collect(const std::string& structure, const Layouts& types, const std::set<std::string>& reshaped,
             const std::string& prefix, std::uint64_t bit, std::vector<Leaf>& leaves) {
  for (MemberLayout member : types.at(structure)[0].members) {
    member.bit += bit;
    if (reshaped.contains(member.type)) {
      collect(member.type, types, reshaped, prefix + member.name + ".", member.bit, leaves);
      continue;
    }
    // Without a name a member is what it consists of.
    std::string path = prefix + (member.name.empty() ? member.type : member.name);
    leaves.push_back({std::move(path), std::move(member)});
  }
}

std::vector<Leaf> leaves_of(const std::string& structure, const Layouts& types, const std::set<std::string>& reshaped) {
  std::vector<Leaf> leaves;
  collect(structure, types, reshaped, "", 0, leaves);
  return leaves;
}

/// "u32" of "u32[8]"; empty for what is no array.
std::string element_of(const std::string& type) {
  const auto bracket = type.find('[');
  return bracket == std::string::npos ? std::string() : type.substr(0, bracket);
}

/// A number or a pointer: nobody points to one.
bool is_scalar(const MemberLayout& member) {
  return member.kind != Kind::kOther || member.type.ends_with('*') || member.type.starts_with("enum ");
}

std::uint64_t read_bits(const std::byte* from, std::uint64_t bit, std::uint64_t bits) {
  std::uint64_t value = 0;
  for (std::uint64_t i = 0; i < bits; ++i) {
    const auto at = bit + i;
    value |= std::uint64_t(std::to_integer<unsigned>(from[at / 8] >> (at % 8)) & 1u) << i;
  }
  return value;
}

void write_bits(std::byte* to, std::uint64_t bit, std::uint64_t bits, std::uint64_t value) {
  for (std::uint64_t i = 0; i < bits; ++i) {
    const auto at = bit + i;
    const auto mask = std::byte(1u << (at % 8));
    to[at / 8] = (value >> i & 1) != 0 ? to[at / 8] | mask : to[at / 8] & ~mask;
  }
}

bool whole_bytes(const MovedMember& member) {
  return member.from_bit % 8 == 0 && member.to_bit % 8 == 0 && member.from_bits % 8 == 0 &&
         member.from_bits == member.to_bits;
}

void set_size(const libos_objects& kind, std::uint64_t size) { std::memcpy(kind.size_at, &size, kind.width); }

/// The one structure of the module's that has this size; empty: none, or which it is cannot be told.
std::string structure_of(std::uint64_t size, std::uint64_t next_size, const Layouts& before, const Layouts& after) {
  std::string found;
  for (const auto& [name, layouts] : before) {
    if (!std::ranges::any_of(layouts, [&](const TypeLayout& layout) { return layout.bytes == size; })) continue;
    if (!found.empty()) return {};
    found = name;
  }
  const auto now = after.find(found);
  const bool same = now != after.end() && before.at(found).size() == 1 && now->second.size() == 1 &&
                    now->second[0].bytes == next_size;
  return same ? found : std::string();
}

/// A structure of which there is just one of the name in each build, and they differ.
bool changes_alone(const std::string& structure, const Layouts& before, const Layouts& after) {
  const auto was = before.find(structure), now = after.find(structure);
  return was != before.end() && now != after.end() && was->second.size() == 1 && now->second.size() == 1 &&
         was->second != now->second;
}

}  // namespace

void Form::apply(const std::byte* object, std::byte* to) const {
  std::vector<std::byte> image(to_bytes);
  for (const MovedMember& member : members) {
    if (whole_bytes(member)) {
      std::memcpy(image.data() + member.to_bit / 8, object + member.from_bit / 8, member.from_bits / 8);
      continue;
    }
    auto value = read_bits(object, member.from_bit, member.from_bits);
    const bool negative = member.is_signed && (value >> (member.from_bits - 1) & 1) != 0;
    if (negative && member.from_bits < 64) value |= ~std::uint64_t(0) << member.from_bits;
    write_bits(image.data(), member.to_bit, member.to_bits, value);
  }
  std::memcpy(to, image.data(), image.size());
}

std::vector<Relocation::Range> Form::moves(const std::byte* object) const {
  std::vector<Relocation::Range> ranges;
  for (const MovedMember& member : members) {
    // A lock, on one CPU, is a member without bytes. What points to the first member points to the object.
    if (!whole_bytes(member) || member.from_bit == member.to_bit || member.from_bits == 0 || member.from_bit == 0) continue;
    ranges.push_back({.at = reinterpret_cast<std::uintptr_t>(object) + member.from_bit / 8,
                      .size = member.from_bits / 8,
                      .distance = std::intptr_t(member.to_bit / 8) - std::intptr_t(member.from_bit / 8)});
  }
  return ranges;
}

std::vector<Relocation::Range> Form::moves(const std::byte* object, const std::byte* to, std::size_t size) const {
  auto inner = moves(object);
  std::ranges::sort(inner, {}, &Relocation::Range::at);
  const auto begin = reinterpret_cast<std::uintptr_t>(object), end = begin + size;
  const auto distance = std::intptr_t(to - object);
  std::vector<Relocation::Range> ranges;
  auto at = begin;
  const auto up_to = [&](std::uintptr_t limit) {
    if (limit > at) ranges.push_back({.at = at, .size = limit - at, .distance = distance});
  };
  for (const auto& range : inner) {
    up_to(range.at);
    ranges.push_back({.at = range.at, .size = range.size, .distance = range.distance + distance});
    at = range.at + range.size;
  }
  up_to(end);
  return ranges;
}

Result<Form> make_form(const std::string& structure, const Layouts& before, const Layouts& after,
                       const std::set<std::string>& reshaped) {
  Form form{.structure = structure,
            .from_bytes = before.at(structure)[0].bytes,
            .to_bytes = after.at(structure)[0].bytes,
            .members = {},
            .remarks = {}};
  std::vector<std::string> reasons;
  const auto say = [&](std::vector<std::string>& where, const std::string& text) {
    where.push_back(fmt::format("{}: {}", structure, text));
  };
  const auto old_leaves = leaves_of(structure, before, reshaped), new_leaves = leaves_of(structure, after, reshaped);
  for (const auto& [path, now] : new_leaves) {
    const auto found = std::ranges::find(old_leaves, path, &Leaf::path);
    if (found == old_leaves.end()) {
      if (now.zeroable) {
        say(form.remarks, fmt::format("'{}' is new, and zero", path));
      } else {
        say(reasons, fmt::format("'{}' is new, and {} has to be initialised", path, now.type));
      }
      continue;
    }
    const MemberLayout& was = found->member;
    MovedMember member{.from_bit = was.bit, .from_bits = was.bits, .to_bit = now.bit, .to_bits = now.bits,
                       .is_signed = was.kind == Kind::kSigned};
    if (was.bit == 0 && now.bit != 0 && was.bits > 0 && !is_scalar(was)) {
      say(reasons, fmt::format("'{}' has the address of the whole, and must stay in front", path));
    } else if (was.type == now.type && was.bits == now.bits) {
      form.members.push_back(member);
    } else if (was.kind != Kind::kOther && now.kind != Kind::kOther) {
      form.members.push_back(member);
      say(form.remarks, fmt::format("'{}' is {} with {} bits, was {} with {}: converted", path, now.type, now.bits,
                                    was.type, was.bits));
    } else if (now.zeroable && !element_of(now.type).empty() && element_of(now.type) == element_of(was.type)) {
      member.from_bits = member.to_bits = std::min(was.bits, now.bits);
      form.members.push_back(member);
      say(form.remarks, fmt::format("'{}' is {}, was {}: what both have is kept", path, now.type, was.type));
    } else {
      say(reasons, fmt::format("'{}' is {}, was {}", path, now.type, was.type));
    }
  }
  for (const auto& [path, was] : old_leaves) {
    if (std::ranges::find(new_leaves, path, &Leaf::path) != new_leaves.end()) continue;
    if (was.zeroable) {
      say(form.remarks, fmt::format("'{}' is gone, with its value", path));
    } else {
      say(reasons, fmt::format("'{}' is gone, and others may point to {}", path, was.type));
    }
  }
  if (!reasons.empty()) return fail(EXDEV, "{}", fmt::join(reasons, "\n"));
  return form;
}

Reshape::Reshape(std::vector<Kind> kinds, const std::vector<HeldBlock>& held, AllocationSites sites,
                 const Layouts& before, const Layouts& after, std::vector<std::string>& reasons)
    : kinds_(std::move(kinds)), sites_(std::move(sites)) {
  for (Kind& kind : kinds_) {
    const libos_objects& now = *kind.kernel;
    const auto name = structure_of(now.size, kind.next_size, before, after);
    if (name.empty() && now.size != kind.next_size) {
      reasons.push_back(fmt::format("each {} has {} bytes, had {}, and which structure that is cannot be told", now.one,
                                    kind.next_size, now.size));
    }
    if (name.empty() || before.at(name) == after.at(name)) continue;
    if (kind.next_size > now.room) {
      reasons.push_back(fmt::format("{}: needs {} bytes, and each {} has room for {}", name, kind.next_size, now.one,
                                    now.room));
      continue;
    }
    kind.structure = name;
    structures_.insert(name);
  }
  // Those that some call is known to allocate; one that none is may be in places that nobody knows.
  std::set<std::string> in_blocks;
  for (const auto& block : held) {
    const auto type = type_of(block).type;
    if (changes_alone(type, before, after)) in_blocks.insert(type);
  }
  structures_.insert(in_blocks.begin(), in_blocks.end());
  // Where one of them lies in something else than these objects, that would have to be rearranged as well.
  for (const auto& [name, layouts] : before) {
    for (const auto& layout : layouts) {
      for (const auto& member : layout.members) {
        const auto element = element_of(member.type);
        const auto& type = element.empty() ? member.type : element;
        if (!structures_.contains(type) || (element.empty() && structures_.contains(name))) continue;
        reasons.push_back(fmt::format("{} has changed, and {} has one in it: '{}'", type, name, member.name));
      }
    }
  }
  for (Kind& kind : kinds_) {
    if (kind.structure.empty()) continue;
    auto form = make_form(kind.structure, before, after, structures_);
    if (form) {
      kind.form = std::move(*form);
    } else {
      reasons.emplace_back(form.error().what());
    }
  }
  for (const auto& structure : in_blocks) {
    auto form = make_form(structure, before, after, structures_);
    if (form) {
      forms_.emplace(structure, std::move(*form));
    } else {
      reasons.emplace_back(form.error().what());
    }
  }
  for (const auto& name : structures_) sizes_[name] = before.at(name)[0].bytes;
  if (const auto problem = begin_blocks(held); !problem.empty()) reasons.push_back(problem);
}

AllocationHints::Answer Reshape::type_of(const HeldBlock& block) const {
  const auto site = sites_.find({block.build, block.place});
  if (site == sites_.end()) return {.type = {}, .why = "the code that asked for it is gone"};
  return site->second.hints.type_of(block.size);
}

/// Of a block whose type cannot be told: it may be, or have in it, such a structure.
bool Reshape::may_have(const HeldBlock& block, const std::string& structure, std::uint64_t bytes) const {
  const auto site = sites_.find({block.build, block.place});
  return block.size >= bytes && (block.size % bytes == 0 || site == sites_.end() || site->second.hints.knows(structure));
}

std::string Reshape::line_of(const HeldBlock& block) const {
  const auto site = sites_.find({block.build, block.place});
  return site == sites_.end() ? std::string("a former build") : site->second.line;
}

std::string Reshape::begin_blocks(const std::vector<HeldBlock>& held) {
  blocks_.clear();
  for (const auto& block : held) {
    if (auto problem = add(block); !problem.empty()) return problem;
  }
  return {};
}

/// The reason why not, or an empty text.
std::string Reshape::add(const HeldBlock& block) {
  if (block.at == nullptr) return {};
  const auto answer = type_of(block);
  for (const auto& [structure, bytes] : sizes_) {
    if (!answer.type.empty() || !may_have(block, structure, bytes)) continue;
    return fmt::format("{} has changed, and a {} by {} may be one, or have some: {}", structure, block.kind, line_of(block),
                       answer.why);
  }
  const auto form = forms_.find(answer.type);
  if (form == forms_.end()) return {};
  const auto& [name, how] = *form;
  if (block.size != how.from_bytes) {
    return fmt::format("{} has {} bytes, and a {} by {} has {}: it is an array, or has something behind it", name,
                       how.from_bytes, block.kind, line_of(block), block.size);
  }
  if (block.room == 0) {
    return fmt::format("{} has changed, and the {}s by {} stay as they are: {}", name, block.kind, line_of(block), block.why);
  }
  if (how.to_bytes > block.room && !block.movable) {
    return fmt::format("{}: needs {} bytes, and each {} by {} has room for {}", name, how.to_bytes, block.kind,
                       line_of(block), block.room);
  }
  blocks_.push_back({.at = block.at,
                     .to = how.to_bytes > block.room ? nullptr : block.at,
                     .size = block.size,
                     .form = &how});
  return {};
}

bool Reshape::moves_members() const {
  const auto moves = [](const Form& form) { return !form.moves(nullptr).empty(); };
  return std::ranges::any_of(kinds_, moves, &Kind::form) ||
         std::ranges::any_of(forms_, [&](const auto& form) { return moves(form.second); });
}

void Reshape::show_sizes() const {
  for (const Kind& kind : kinds_) set_size(*kind.kernel, kind.kernel->size);
}

void Reshape::show_rooms() const {
  for (const Kind& kind : kinds_) {
    kind.kernel->size = kind.next_size;
    set_size(*kind.kernel, kind.kernel->room);
  }
}

Relocation Reshape::apply() const {
  std::vector<Relocation::Range> ranges;
  for (const Kind& kind : kinds_) {
    if (kind.structure.empty()) continue;
    for (std::byte* object : kind.objects) {
      std::ranges::copy(kind.form.moves(object), std::back_inserter(ranges));
      kind.form.apply(object);
    }
  }
  for (const Block& block : blocks_) {
    std::ranges::copy(block.to == block.at ? block.form->moves(block.at)
                                           : block.form->moves(block.at, block.to, block.size),
                      std::back_inserter(ranges));
    block.form->apply(block.at, block.to);
  }
  return Relocation(std::move(ranges));
}

std::vector<std::string> Reshape::remarks() const {
  std::vector<std::string> lines;
  for (const Kind& kind : kinds_) {
    if (kind.structure.empty()) continue;
    lines.push_back(fmt::format("{}: {} {}{} rearranged in place", kind.structure, kind.objects.size(), kind.kernel->one,
                                kind.objects.size() == 1 ? "" : "s"));
    std::ranges::copy(kind.form.remarks, std::back_inserter(lines));
  }
  for (const auto& [name, form] : forms_) {
    std::size_t all = 0, moved = 0;
    for (const Block& block : blocks_) {
      all += block.form == &form ? 1 : 0;
      moved += block.form == &form && block.to != block.at ? 1 : 0;
    }
    lines.push_back(fmt::format("{}: {} block{} rearranged {}", name, all, all == 1 ? "" : "s",
                                moved == 0 ? "in place" : fmt::format("({} in a new place)", moved)));
    std::ranges::copy(form.remarks, std::back_inserter(lines));
  }
  return lines;
}

}  // namespace lkm
