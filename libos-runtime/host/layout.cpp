// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/layout.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <set>
#include <string_view>

#include "libos-runtime/host/debug_info.hpp"

namespace lkm {
namespace {

using debug_info::Folders;
using debug_info::for_each_child;
using debug_info::for_each_unit;
using debug_info::keyword;
using debug_info::name_of;
using debug_info::number;
using debug_info::type_of;

TypeLayout layout_of(Dwarf_Die& die);

/// As C writes it. Types that have a name are named, so a pointer leads nowhere.
std::string spell(Dwarf_Die& owner) {
  Dwarf_Die type;
  if (!type_of(owner, type)) return "void";
  const int tag = ::dwarf_tag(&type);
  const std::string name = name_of(type);
  if (const char* word = keyword(tag)) {
    if (!name.empty()) return fmt::format("{} {}", word, name);
    std::string text = fmt::format("{} {{", word);
    for (const auto& member : layout_of(type).members) {
      text += fmt::format("{} {}@{};", member.type, member.name, member.bit);
    }
    return text + "}";
  }
  switch (tag) {
    case DW_TAG_pointer_type:
      return spell(type) + " *";
    case DW_TAG_const_type:
      return "const " + spell(type);
    case DW_TAG_volatile_type:
      return "volatile " + spell(type);
    case DW_TAG_array_type: {
      std::string text = spell(type);
      for_each_child(type, [&](Dwarf_Die& range) {
        const auto count = number(range, DW_AT_count, number(range, DW_AT_upper_bound, Dwarf_Word(-1)) + 1);
        text += fmt::format("[{}]", count);
      });
      return text;
    }
    case DW_TAG_subroutine_type: {
      std::string text = spell(type) + " (";
      for_each_child(type, [&](Dwarf_Die& parameter) { text += spell(parameter) + ", "; });
      return text + ")";
    }
    default:
      return name;
  }
}

MemberLayout::Kind kind_of(Dwarf_Die& type) {
  Dwarf_Die base;
  if (::dwarf_peel_type(&type, &base) != 0 || ::dwarf_tag(&base) != DW_TAG_base_type) {
    return MemberLayout::Kind::kOther;
  }
  switch (number(base, DW_AT_encoding)) {
    case DW_ATE_unsigned:
    case DW_ATE_unsigned_char:
    case DW_ATE_boolean:
      return MemberLayout::Kind::kUnsigned;
    case DW_ATE_signed:
    case DW_ATE_signed_char:
      return MemberLayout::Kind::kSigned;
    default:
      return MemberLayout::Kind::kOther;
  }
}

/// Structures of the kernel's that have pointers, and that are valid, and empty, when they are zero.
constexpr auto kEmptyWhenZero = std::to_array<std::string_view>(
    {"rb_root", "rb_root_cached", "hlist_head", "hlist_node", "llist_head", "callback_head"});

/// Not so for a structure with a pointer in it: it may lead to the structure itself, or to an initialiser's choice.
bool is_zeroable(Dwarf_Die& type, bool in_structure) {
  Dwarf_Die base;
  if (::dwarf_peel_type(&type, &base) != 0) return true;
  switch (::dwarf_tag(&base)) {
    case DW_TAG_pointer_type:
      return !in_structure;
    case DW_TAG_array_type: {
      Dwarf_Die element;
      return !type_of(base, element) || is_zeroable(element, in_structure);
    }
    case DW_TAG_structure_type:
    case DW_TAG_union_type: {
      if (std::ranges::find(kEmptyWhenZero, name_of(base)) != kEmptyWhenZero.end()) return true;
      bool all = true;
      for_each_child(base, [&](Dwarf_Die& child) {
        Dwarf_Die member;
        if (all && ::dwarf_tag(&child) == DW_TAG_member && type_of(child, member)) all = is_zeroable(member, true);
      });
      return all;
    }
    default:
      return true;
  }
}

/// The structure without a name that a member is, or has as elements. One by a typedef has that name.
bool unnamed_structure(Dwarf_Die& member, Dwarf_Die& structure) {
  if (!type_of(member, structure)) return false;
  for (;;) {
    const int tag = ::dwarf_tag(&structure);
    if (tag == DW_TAG_structure_type) return name_of(structure).empty();
    if (tag != DW_TAG_array_type && tag != DW_TAG_const_type && tag != DW_TAG_volatile_type) return false;
    if (!type_of(structure, structure)) return false;
  }
}

TypeLayout layout_of(Dwarf_Die& die) {
  TypeLayout layout{.bytes = number(die, DW_AT_byte_size), .members = {}};
  for_each_child(die, [&](Dwarf_Die& child) {
    if (::dwarf_tag(&child) == DW_TAG_enumerator) {
      layout.members.push_back(
          {name_of(child), "", number(child, DW_AT_const_value), 0, MemberLayout::Kind::kOther});
    }
    if (::dwarf_tag(&child) != DW_TAG_member) return;
    const auto bit = number(child, DW_AT_data_bit_offset, number(child, DW_AT_data_member_location) * 8);
    Dwarf_Die type;
    Dwarf_Word bytes = 0;
    auto kind = MemberLayout::Kind::kOther;
    bool zeroable = true;
    if (type_of(child, type)) {
      ::dwarf_aggregate_size(&type, &bytes);
      kind = kind_of(type);
      zeroable = is_zeroable(type, false);
    }
    layout.members.push_back(
        {name_of(child), spell(child), bit, number(child, DW_AT_bit_size, bytes * 8), kind, zeroable});
    if (Dwarf_Die inner; unnamed_structure(child, inner)) layout.members.back().parts = layout_of(inner).members;
  });
  return layout;
}

void read_unit(Dwarf_Die& unit, Layouts& layouts) {
  const Folders folders(unit);
  for_each_child(unit, [&](Dwarf_Die& die) {
    const std::string name = name_of(die);
    if (name.empty() || !folders.is_own(::dwarf_decl_file(&die))) return;
    TypeLayout layout;
    std::string key;
    Dwarf_Die type;
    if (const char* word = keyword(::dwarf_tag(&die))) {
      if (::dwarf_hasattr(&die, DW_AT_declaration) != 0) return;
      key = fmt::format("{} {}", word, name);
      layout = layout_of(die);
    } else if (::dwarf_tag(&die) == DW_TAG_typedef && type_of(die, type) &&
               keyword(::dwarf_tag(&type)) != nullptr && name_of(type).empty()) {
      key = name;
      layout = layout_of(type);
    } else {
      return;
    }
    auto& all = layouts[key];
    if (std::ranges::find(all, layout) == all.end()) all.push_back(std::move(layout));
  });
}

std::string place(const MemberLayout& member) {
  return member.bit % 8 == 0 ? fmt::format("at byte {}", member.bit / 8)
                             : fmt::format("at bit {}", member.bit);
}

void compare(const std::string& name, const TypeLayout& before, const TypeLayout& after,
             std::vector<std::string>& differences) {
  const std::size_t found = differences.size();
  const auto is_enumerator = [](const MemberLayout& member) { return member.type.empty(); };
  const bool enumeration = !before.members.empty() && std::ranges::all_of(before.members, is_enumerator);
  const auto same_name = [](const TypeLayout& in, const MemberLayout& member) {
    return std::ranges::find(in.members, member.name, &MemberLayout::name);
  };
  for (const auto& member : before.members) {
    if (member.name.empty()) continue;
    const auto now = same_name(after, member);
    if (now == after.members.end()) {
      differences.push_back(fmt::format("{}: '{}' is gone", name, member.name));
    } else if (now->type != member.type) {
      differences.push_back(fmt::format("{}: '{}' is {}, was {}", name, member.name, now->type, member.type));
    } else if (now->bit != member.bit && enumeration) {
      differences.push_back(
          fmt::format("{}: '{}' is {}, was {}", name, member.name, now->bit, member.bit));
    } else if (now->bit != member.bit) {
      differences.push_back(
          fmt::format("{}: '{}' is {}, was {}", name, member.name, place(*now), place(member)));
    }
  }
  for (const auto& member : after.members) {
    if (member.name.empty() || same_name(before, member) != before.members.end()) continue;
    // A new enumerator changes no object that exists.
    if (!enumeration) differences.push_back(fmt::format("{}: '{}' is new", name, member.name));
  }
  if (differences.size() == found && !enumeration && before != after) {
    differences.push_back(
        fmt::format("{}: has {} bytes, had {}", name, after.bytes, before.bytes));
  }
}

/// The name of the structure that a variable or parameter points to; empty for anything else.
std::string points_to(Dwarf_Die& variable) {
  Dwarf_Die type, base, target, structure;
  if (!type_of(variable, type) || ::dwarf_peel_type(&type, &base) != 0) return {};
  if (::dwarf_tag(&base) != DW_TAG_pointer_type || !type_of(base, target)) return {};
  if (::dwarf_peel_type(&target, &structure) != 0) return {};
  return ::dwarf_tag(&structure) == DW_TAG_structure_type ? name_of(structure) : std::string();
}

void collect_pointers(Dwarf_Die& scope, std::set<std::string>& names) {
  for_each_child(scope, [&](Dwarf_Die& die) {
    const int tag = ::dwarf_tag(&die);
    if (tag == DW_TAG_variable || tag == DW_TAG_formal_parameter) {
      if (const auto name = points_to(die); !name.empty()) names.insert("struct " + name);
    } else if (tag == DW_TAG_lexical_block) {
      collect_pointers(die, names);
    }
  });
}

/// Functions of the kernel's that make a number of an object's bytes.
constexpr auto kHashes = std::to_array<std::string_view>({"jhash", "siphash", "xxh", "crc32", "full_name_hash", "rhashtable"});

bool calls_a_hash(Dwarf_Die& scope) {
  bool found = false;
  for_each_child(scope, [&](Dwarf_Die& die) {
    const int tag = ::dwarf_tag(&die);
    if (tag == DW_TAG_inlined_subroutine || tag == DW_TAG_call_site || tag == DW_TAG_GNU_call_site) {
      Dwarf_Attribute origin;
      Dwarf_Die function;
      const unsigned name = tag == DW_TAG_call_site ? DW_AT_call_origin : DW_AT_abstract_origin;
      if (::dwarf_attr(&die, name, &origin) != nullptr && ::dwarf_formref_die(&origin, &function) != nullptr) {
        found |= std::ranges::any_of(kHashes, [&, called = name_of(function)](auto hash) { return called.find(hash) != called.npos; });
      }
    }
    if (!found && (tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block)) found = calls_a_hash(die);
  });
  return found;
}

/// Of all variables and parameters, those of inlined functions too.
void collect_structures(Dwarf_Die& scope, std::set<std::string>& names) {
  for_each_child(scope, [&](Dwarf_Die& die) {
    const int tag = ::dwarf_tag(&die);
    if (tag == DW_TAG_variable || tag == DW_TAG_formal_parameter) {
      if (const auto name = points_to(die); !name.empty()) names.insert("struct " + name);
      names.insert(element_of(spell(die)));
    } else if (tag == DW_TAG_lexical_block || tag == DW_TAG_inlined_subroutine) {
      collect_structures(die, names);
    }
  });
}

/// It has one place in the mapping, as all but what lies on the call stack or in registers.
bool is_static(Dwarf_Die& variable) {
  Dwarf_Attribute location;
  Dwarf_Op* expression = nullptr;
  std::size_t n = 0;
  return ::dwarf_attr(&variable, DW_AT_location, &location) != nullptr &&
         ::dwarf_getlocation(&location, &expression, &n) == 0 && n == 1 && expression->atom == DW_OP_addr;
}

void collect_variables(Dwarf_Die& scope, const Folders& folders, std::map<std::string, std::string>& types) {
  for_each_child(scope, [&](Dwarf_Die& die) {
    const int tag = ::dwarf_tag(&die);
    if (tag == DW_TAG_subprogram || tag == DW_TAG_lexical_block) return collect_variables(die, folders, types);
    if (tag != DW_TAG_variable || !is_static(die)) return;
    Dwarf_Die declared;
    Dwarf_Attribute specification;
    const bool elsewhere = ::dwarf_attr(&die, DW_AT_specification, &specification) != nullptr &&
                           ::dwarf_formref_die(&specification, &declared) != nullptr;
    Dwarf_Die& named = elsewhere ? declared : die;
    const auto type = element_of(spell(named));
    if (type.starts_with("struct ") && !type.ends_with('*')) types[name_of(named)] = type;
  });
}

}  // namespace

Result<Layouts> read_layouts(std::span<const std::byte> file, const std::string& shown) {
  Layouts layouts;
  LKM_CHECK(for_each_unit(file, shown, [&](Dwarf_Die& unit) { read_unit(unit, layouts); }));
  return layouts;
}

std::string element_of(const std::string& type) {
  if (type.ends_with('*')) return type;
  // A bracket may be within a structure without a name.
  return type.substr(0, type.find('[', type.rfind('}') == std::string::npos ? 0 : type.rfind('}')));
}

std::uint64_t elements_in(const std::string& type) {
  std::uint64_t n = 1;
  for (auto at = element_of(type).size(); at < type.size(); at = type.find('[', at + 1)) {
    n *= std::strtoull(type.c_str() + at + 1, nullptr, 10);
  }
  return n;
}

Result<std::map<std::string, std::string>> read_variables(std::span<const std::byte> file, const std::string& shown) {
  std::map<std::string, std::string> types;
  LKM_CHECK(for_each_unit(file, shown, [&](Dwarf_Die& unit) { collect_variables(unit, Folders(unit), types); }));
  return types;
}

Result<std::set<std::string>> hashed_structures(std::span<const std::byte> file, const std::string& shown) {
  std::set<std::string> names;
  LKM_CHECK(for_each_unit(file, shown, [&](Dwarf_Die& unit) {
    for_each_child(unit, [&](Dwarf_Die& function) {
      if (::dwarf_tag(&function) == DW_TAG_subprogram && calls_a_hash(function)) collect_structures(function, names);
    });
  }));
  return names;
}

Result<TypeLayout> read_structure(std::span<const std::byte> file, const std::string& shown, const std::string& name) {
  std::optional<TypeLayout> layout;
  LKM_CHECK(for_each_unit(file, shown, [&](Dwarf_Die& unit) {
    for_each_child(unit, [&](Dwarf_Die& die) {
      if (layout || ::dwarf_tag(&die) != DW_TAG_structure_type || ::dwarf_hasattr(&die, DW_AT_declaration) != 0) return;
      if ("struct " + name_of(die) == name) layout = layout_of(die);
    });
  }));
  if (!layout) return fail(ENODATA, "'{}': {} is not in its debug information", shown, name);
  return std::move(*layout);
}

Result<std::vector<std::string>> socket_structures(std::span<const std::byte> file,
                                                   const std::string& shown) {
  std::set<std::string> names;
  LKM_CHECK(for_each_unit(file, shown, [&](Dwarf_Die& unit) {
    for_each_child(unit, [&](Dwarf_Die& function) {
      if (::dwarf_tag(&function) != DW_TAG_subprogram) return;
      std::set<std::string> used;
      collect_pointers(function, used);
      if (used.contains("struct sock")) names.merge(used);
    });
  }));
  return std::vector<std::string>(names.begin(), names.end());
}

std::vector<std::string> layout_differences(const Layouts& before, const Layouts& after,
                                            const std::set<std::string>& except) {
  const auto without = [](const std::vector<TypeLayout>& all, const std::vector<TypeLayout>& others) {
    std::vector<TypeLayout> rest;
    for (const auto& layout : all) {
      if (std::ranges::find(others, layout) == others.end()) rest.push_back(layout);
    }
    return rest;
  };
  std::vector<std::string> differences;
  for (const auto& [name, layouts] : before) {
    const auto now = after.find(name);
    if (now == after.end() || except.contains(name)) continue;
    const auto gone = without(layouts, now->second), come = without(now->second, layouts);
    for (std::size_t i = 0; i < std::min(gone.size(), come.size()); ++i) {
      compare(name, gone[i], come[i], differences);
    }
  }
  return differences;
}

}  // namespace lkm
