// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/reshape.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <list>
#include <optional>

namespace lkm {
namespace {

using Kind = MemberLayout::Kind;

/// A member of a structure, or of a structure that is a member and is rearranged with it.
struct Node {
  std::string path;   ///< "telex.srtt_us", "slots[3].list"
  std::string shown;  ///< "slots[].list"
  MemberLayout member;  ///< its bit counts from the beginning of the whole
  const Node* parent = nullptr;  ///< nullptr: the whole
  bool structure = false;        ///< its members are nodes, too
  std::string array = {};        ///< of an element: "slots"
  std::uint64_t index = 0;
};

class Nodes {
 public:
  Nodes(const std::string& structure, const Layouts& types, const std::set<std::string>& reshaped)
      : types_(types), reshaped_(reshaped) {
    collect(types.at(structure)[0].members, nullptr, "", "", 0);
  }

  [[nodiscard]] const std::list<Node>& all() const { return nodes_; }
  [[nodiscard]] const Node* find(const std::string& path) const {
    const auto found = by_path_.find(path);
    return found == by_path_.end() ? nullptr : found->second;
  }
  /// By path: how many elements it has.
  [[nodiscard]] const std::map<std::string, std::uint64_t>& arrays() const { return arrays_; }
  /// It is, or is in, an element that the array in `others` does not have.
  static bool is_beyond(const Node* node, const Nodes& others) {
    for (; node != nullptr; node = node->parent) {
      const auto array = node->array.empty() ? others.arrays_.end() : others.arrays_.find(node->array);
      if (array != others.arrays_.end() && node->index >= array->second) return true;
    }
    return false;
  }

 private:
  void collect(const std::vector<MemberLayout>& members, const Node* parent, const std::string& prefix,
               const std::string& shown, std::uint64_t bit) {
    for (MemberLayout member : members) {
      member.bit += bit;
      const auto element = element_of(member.type);
      const bool array = element != member.type;
      if (member.parts.empty() && !reshaped_.contains(element)) {
        // Without a name a member is what it consists of.
        const auto& name = member.name.empty() ? member.type : member.name;
        add({.path = prefix + name, .shown = shown + name, .member = std::move(member), .parent = parent});
        continue;
      }
      const auto& parts = member.parts.empty() ? types_.at(element)[0].members : member.parts;
      if (member.name.empty()) {  // its members' names are the structure's own
        collect(parts, parent, prefix, shown, member.bit);
        continue;
      }
      const auto n = elements_in(member.type);
      if (array) arrays_[prefix + member.name] = n;
      for (std::uint64_t i = 0; i < n; ++i) {
        MemberLayout one = member;
        one.type = element;
        one.bits = member.bits / n;
        one.bit = member.bit + i * one.bits;
        const auto path = prefix + member.name + (array ? fmt::format("[{}]", i) : "");
        const auto in_text = shown + member.name + (array ? "[]" : "");
        const auto* node = add({.path = path, .shown = in_text, .member = one, .parent = parent, .structure = true,
                                .array = array ? prefix + member.name : "", .index = i});
        collect(parts, node, path + ".", in_text + ".", one.bit);
      }
    }
  }
  const Node* add(Node node) {
    nodes_.push_back(std::move(node));
    by_path_[nodes_.back().path] = &nodes_.back();
    return &nodes_.back();
  }

  const Layouts& types_;
  const std::set<std::string>& reshaped_;
  std::list<Node> nodes_;  // which stay where they are
  std::map<std::string, const Node*> by_path_;
  std::map<std::string, std::uint64_t> arrays_;
};

bool is_array(const MemberLayout& member) { return element_of(member.type) != member.type; }

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

/// The types of which a member has one in it, and whether that is plain: the member is one, or an array of them. In a
/// union nobody can tell which of its members is in use.
void for_each_type_in(const MemberLayout& member, const std::set<std::string>& wanted,
                      const std::function<void(const std::string&, bool plain)>& visit) {
  for (const auto& part : member.parts) for_each_type_in(part, wanted, visit);
  if (!member.parts.empty()) return;
  const auto element = element_of(member.type);
  if (wanted.contains(element)) return visit(element, true);
  if (!element.ends_with('}')) return;
  for (const auto& type : wanted) {
    for (auto at = element.find(type); at != std::string::npos; at = element.find(type, at + 1)) {
      const char before = at == 0 ? ' ' : element[at - 1];
      const auto behind = element.substr(at + type.size(), 2);
      if ((before != '{' && before != ';') || behind == " *" || (behind[0] != ' ' && behind[0] != '[')) continue;
      visit(type, false);
      break;
    }
  }
}

/// All members by value of structures and unions, and what each is in.
void for_each_member(const Layouts& types, const std::function<void(const std::string& in, const MemberLayout&)>& visit) {
  for (const auto& [name, layouts] : types) {
    for (const auto& layout : layouts) {
      for (const auto& member : layout.members) visit(name, member);
    }
  }
}

/// What the two builds do not agree on, and what has such a structure in it.
std::set<std::string> changed_structures(const Layouts& before, const Layouts& after) {
  std::set<std::string> changed;
  for (const auto& [name, layouts] : before) {
    const auto now = after.find(name);
    if (now != after.end() && now->second != layouts) changed.insert(name);
  }
  for (std::size_t n = 0; n != changed.size();) {
    n = changed.size();
    for_each_member(before, [&](const std::string& in, const MemberLayout& member) {
      bool has = false;
      for_each_type_in(member, changed, [&](const std::string&, bool) { has = true; });
      if (has && after.contains(in)) changed.insert(in);
    });
  }
  return changed;
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

/// There is just one of the name in each build.
bool is_alone(const std::string& structure, const Layouts& before, const Layouts& after) {
  const auto was = before.find(structure), now = after.find(structure);
  return was != before.end() && now != after.end() && was->second.size() == 1 && now->second.size() == 1;
}

/// Where else than in what is rearranged a structure lies, a line each.
struct OtherPlaces {
  std::vector<std::string> outside;
  std::vector<std::string> in_unions;  ///< of what is rearranged
  bool inside = false;  ///< it is a member of what is rearranged
};

OtherPlaces other_places(const std::string& structure, const Layouts& before, const std::set<std::string>& reshaped) {
  OtherPlaces places;
  for_each_member(before, [&](const std::string& in, const MemberLayout& member) {
    for_each_type_in(member, {structure}, [&](const std::string&, bool plain) {
      if (!reshaped.contains(in)) {
        places.outside.push_back(fmt::format("{} has changed, and {} has one in it: '{}'", structure, in, member.name));
      } else if (plain) {
        places.inside = true;
      } else {
        places.in_unions.push_back(
            fmt::format("{} has changed, and {} has one in a union: nothing tells whether it is in use there", structure, in));
      }
    });
  });
  return places;
}

/// What points into the old structure, as ranges within it: a pointer to a member goes with the member, one to a
/// structure within with that. To the first member and to the structure that it begins leads the same address: what is
/// no more than a number there is not pointed to, and all else stays in front.
std::vector<Relocation::Range> ranges_of(const std::vector<MovedMember>& members, const std::vector<MovedMember>& inner) {
  std::map<std::uintptr_t, Relocation::Range> ranges;
  std::set<std::uint64_t> begins = {0};
  for (const auto& structure : inner) begins.insert(structure.from_bit);
  const auto add = [&](const MovedMember& moved, std::size_t size) {
    if (moved.from_bit == 0 || moved.from_bit == moved.to_bit) return;
    ranges[moved.from_bit / 8] = {.at = moved.from_bit / 8,
                                  .size = size,
                                  .distance = std::intptr_t(moved.to_bit / 8) - std::intptr_t(moved.from_bit / 8)};
  };
  // A lock, on one CPU, is a member without bytes.
  for (const auto& member : members) {
    if (!whole_bytes(member) || member.from_bits == 0 || (begins.contains(member.from_bit) && member.is_scalar)) continue;
    add(member, member.from_bits / 8);
  }
  for (const auto& structure : inner) {
    if (!ranges.contains(structure.from_bit / 8)) add(structure, 1);
  }
  std::vector<Relocation::Range> all;
  for (const auto& [at, range] : ranges) all.push_back(range);
  return all;
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
  auto moved = ranges;
  for (auto& range : moved) range.at += reinterpret_cast<std::uintptr_t>(object);
  return moved;
}

std::vector<Relocation::Range> Form::moves(const std::byte* object, const std::byte* to, std::size_t size) const {
  const auto inner = moves(object);
  const auto begin = reinterpret_cast<std::uintptr_t>(object), end = begin + size;
  const auto distance = std::intptr_t(to - object);
  std::vector<Relocation::Range> all;
  auto at = begin;
  const auto up_to = [&](std::uintptr_t limit) {
    if (limit > at) all.push_back({.at = at, .size = limit - at, .distance = distance});
  };
  for (const auto& range : inner) {
    up_to(range.at);
    all.push_back({.at = range.at, .size = range.size, .distance = range.distance + distance});
    at = range.at + range.size;
  }
  up_to(end);
  return all;
}

Result<Form> make_form(const std::string& structure, const Layouts& before, const Layouts& after,
                       const std::set<std::string>& reshaped) {
  Form form{.structure = structure,
            .from_bytes = before.at(structure)[0].bytes,
            .to_bytes = after.at(structure)[0].bytes,
            .members = {},
            .ranges = {},
            .remarks = {}};
  std::vector<std::string> reasons;
  const auto say = [&](std::vector<std::string>& where, const std::string& text) {
    auto line = fmt::format("{}: {}", structure, text);
    if (std::ranges::find(where, line) == where.end()) where.push_back(std::move(line));  // once for an array
  };
  const Nodes old_nodes(structure, before, reshaped), new_nodes(structure, after, reshaped);
  std::vector<MovedMember> inner;
  for (const auto& [path, n] : new_nodes.arrays()) {
    const auto had = old_nodes.arrays().find(path);
    if (had == old_nodes.arrays().end() || had->second == n) continue;
    say(form.remarks, fmt::format("'{}' has {} elements, had {}: what both have is kept", path, n, had->second));
  }
  for (const Node& node : new_nodes.all()) {
    const MemberLayout& now = node.member;
    const Node* found = old_nodes.find(node.path);
    if (found == nullptr) {
      if (node.structure) continue;  // that depends on its members
      if (!now.zeroable) {
        say(reasons, fmt::format("'{}' is new, and {} has to be initialised", node.shown, now.type));
      } else if (!Nodes::is_beyond(&node, old_nodes)) {
        say(form.remarks, fmt::format("'{}' is new, and zero", node.shown));
      }
      continue;
    }
    const MemberLayout& was = found->member;
    const bool scalar = !found->structure && is_scalar(was);
    const MovedMember member{.from_bit = was.bit, .from_bits = was.bits, .to_bit = now.bit, .to_bits = now.bits,
                             .is_signed = was.kind == Kind::kSigned, .is_scalar = scalar};
    const auto was_in = found->parent == nullptr ? 0 : found->parent->member.bit;
    const auto now_in = node.parent == nullptr ? 0 : node.parent->member.bit;
    if (was.bit == was_in && now.bit != now_in && was.bits > 0 && !scalar) {
      const auto whole = found->parent == nullptr ? std::string("the whole") : fmt::format("'{}'", found->parent->shown);
      say(reasons, fmt::format("'{}' has the address of {}, and must stay in front", node.shown, whole));
    } else if (node.structure && found->structure) {
      inner.push_back(member);
    } else if (node.structure || found->structure) {
      say(reasons, fmt::format("'{}' is {}, was {}", node.shown, now.type, was.type));
    } else if (was.type == now.type && was.bits == now.bits) {
      form.members.push_back(member);
    } else if (was.type == now.type) {
      say(reasons, fmt::format("'{}' is {}, which has another size", node.shown, now.type));
    } else if (was.kind != Kind::kOther && now.kind != Kind::kOther) {
      form.members.push_back(member);
      say(form.remarks, fmt::format("'{}' is {} with {} bits, was {} with {}: converted", node.shown, now.type, now.bits,
                                    was.type, was.bits));
    } else if (now.zeroable && is_array(now) && is_array(was) && element_of(now.type) == element_of(was.type)) {
      auto both = member;
      both.from_bits = both.to_bits = std::min(was.bits, now.bits);
      form.members.push_back(both);
      say(form.remarks, fmt::format("'{}' is {}, was {}: what both have is kept", node.shown, now.type, was.type));
    } else {
      say(reasons, fmt::format("'{}' is {}, was {}", node.shown, now.type, was.type));
    }
  }
  for (const Node& node : old_nodes.all()) {
    if (node.structure || new_nodes.find(node.path) != nullptr) continue;
    if (!node.member.zeroable) {
      say(reasons, fmt::format("'{}' is gone, and others may point to {}", node.shown, node.member.type));
    } else if (!Nodes::is_beyond(&node, new_nodes)) {
      say(form.remarks, fmt::format("'{}' is gone, with its value", node.shown));
    }
  }
  if (!reasons.empty()) return fail(EXDEV, "{}", fmt::join(reasons, "\n"));
  form.ranges = ranges_of(form.members, inner);
  return form;
}

Reshape::Reshape(std::vector<Kind> kinds, const std::vector<HeldBlock>& held, AllocationSites sites,
                 const Layouts& before, const Layouts& after, const std::set<std::string>& hashed,
                 std::vector<std::string>& reasons)
    : kinds_(std::move(kinds)), sites_(std::move(sites)) {
  const auto changed = changed_structures(before, after);
  for (Kind& kind : kinds_) {
    const libos_objects& now = *kind.kernel;
    const auto name = structure_of(now.size, kind.next_size, before, after);
    if (name.empty() && now.size != kind.next_size) {
      reasons.push_back(fmt::format("each {} has {} bytes, had {}, and which structure that is cannot be told", now.one,
                                    kind.next_size, now.size));
    }
    if (name.empty() || !changed.contains(name)) continue;
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
    if (changed.contains(type) && is_alone(type, before, after)) in_blocks.insert(type);
  }
  structures_.insert(in_blocks.begin(), in_blocks.end());
  // And those that are but members of these: where the whole is, they are.
  for (std::size_t n = 0; n != structures_.size();) {
    n = structures_.size();
    for (const auto& structure : changed) {
      if (!structure.starts_with("struct ") || !is_alone(structure, before, after)) continue;
      const auto places = other_places(structure, before, structures_);
      if (!places.inside || !places.outside.empty() || !places.in_unions.empty()) continue;
      if (!hashed.contains(structure)) structures_.insert(structure);
    }
  }
  // Where one of them lies in something else, that would have to be rearranged as well.
  for (const auto& structure : changed) {
    auto places = other_places(structure, before, structures_);
    if (places.inside || structures_.contains(structure)) std::ranges::move(places.outside, std::back_inserter(reasons));
    std::ranges::move(places.in_unions, std::back_inserter(reasons));
    if (places.inside && hashed.contains(structure) && !structures_.contains(structure)) {
      reasons.push_back(fmt::format("{} has changed, and where the module hashes something it has one: its tables would not find it",
                                    structure));
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
