// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/allocations.hpp"

#include <elf.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <set>

#include "libos-runtime/host/debug_info.hpp"

namespace lkm {
namespace {

using debug_info::Folders;
using debug_info::for_each_child;
using debug_info::for_each_unit;
using debug_info::keyword;
using debug_info::name_of;
using debug_info::type_of;

using Hint = AllocationHints::Hint;

struct Free {
  void operator()(Dwarf_Die* scopes) const { std::free(scopes); }
};
using Scopes = std::unique_ptr<Dwarf_Die[], Free>;

constexpr const char* kVoid = "void";
/// How far behind a call a variable can be the first that its result is in, if no other call comes before that.
constexpr std::uintptr_t kNearTheCall = 64;
/// DWARF's numbers of the registers that x86-64 numbers from 0.
constexpr std::array<unsigned, 16> kDwarfRegisters = {0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15};
constexpr unsigned kFramePointer = 6;

bool is_pointer(Dwarf_Die& owner, Dwarf_Die& pointer) {
  Dwarf_Die type;
  return type_of(owner, type) && ::dwarf_peel_type(&type, &pointer) == 0 &&
         ::dwarf_tag(&pointer) == DW_TAG_pointer_type;
}

/// What a variable or a member points to; false for anything but a pointer, and for one to void.
bool target_of(Dwarf_Die& owner, Dwarf_Die& target) {
  Dwarf_Die pointer;
  return is_pointer(owner, pointer) && type_of(pointer, target);
}

/// By a typedef's name what has no other.
std::string spell(Dwarf_Die type) {
  for (std::string by_typedef;;) {
    const int tag = ::dwarf_tag(&type);
    const auto name = name_of(type);
    if (const char* word = keyword(tag)) return name.empty() ? by_typedef : fmt::format("{} {}", word, name);
    if (tag == DW_TAG_typedef) {
      by_typedef = name;
    } else if (tag != DW_TAG_const_type && tag != DW_TAG_volatile_type) {
      return tag == DW_TAG_pointer_type ? "a pointer" : name;
    }
    if (!type_of(type, type)) return by_typedef;
  }
}

Hint hint_of(Dwarf_Die& target) {
  Dwarf_Word bytes = 0;
  if (::dwarf_aggregate_size(&target, &bytes) != 0) bytes = 0;
  return {.type = spell(target), .bytes = bytes};
}

template <typename Visit>
void for_each_location(Dwarf_Die& variable, Visit visit) {
  Dwarf_Attribute location;
  if (::dwarf_attr(&variable, DW_AT_location, &location) == nullptr) return;
  Dwarf_Addr base = 0, begin = 0, end = 0;
  Dwarf_Op* expression = nullptr;
  std::size_t n = 0;
  for (std::ptrdiff_t at = 0;
       (at = ::dwarf_getlocations(&location, at, &base, &begin, &end, &expression, &n)) > 0;) {
    if (n == 1) visit(begin, end, *expression);
  }
}

/// Where the instruction behind a call, or behind the test for NULL, puts the result: MOV %rax to memory.
struct Store {
  std::uintptr_t at = 0;               ///< of the instruction
  std::optional<std::uintptr_t> to;    ///< a variable
  std::optional<unsigned> base;        ///< DWARF's number of the register that has a structure's address
  std::int32_t offset = 0;             ///< in the structure
};

/// An instruction with a ModRM byte and no immediate: REX, opcode, ModRM and a displacement.
struct Instruction {
  unsigned rex = 0, opcode = 0, mode = 0, reg = 0, rm = 0;
  std::int32_t offset = 0;
  std::size_t size = 0;
  bool relative = false;  ///< to the end of the instruction
};

Instruction decode(std::span<const std::byte> code) {
  const auto byte = [&](std::size_t i) { return i < code.size() ? std::to_integer<unsigned>(code[i]) : 0; };
  Instruction found;
  std::size_t i = 0;
  if (byte(0) >> 4 == 4) found.rex = byte(i++);
  found.opcode = byte(i);
  const unsigned modrm = byte(i + 1);
  found.mode = modrm >> 6;
  found.reg = (modrm >> 3 & 7u) + ((found.rex & 4u) << 1);
  found.rm = (modrm & 7u) + ((found.rex & 1u) << 3);
  i += 2;
  if (found.mode != 3 && (modrm & 7u) == 4) ++i;  // with an index register
  found.relative = found.mode == 0 && (modrm & 7u) == 5;
  if (found.mode == 1) found.offset = static_cast<std::int8_t>(byte(i++));
  if (found.mode == 2 || found.relative) {
    if (i + 4 <= code.size()) std::memcpy(&found.offset, code.data() + i, 4);
    i += 4;
  }
  found.size = std::min(i, code.size());
  return found;
}

/// Reads the few instructions that a compiler puts between a call and the store of its result.
std::optional<Store> store_behind(std::span<const std::byte> code, std::uintptr_t at) {
  for (int n = 0; n < 8 && !code.empty(); ++n) {
    const auto first = std::to_integer<unsigned>(code[0]);
    std::size_t size = 0;
    if (first > 0xb8 && first <= 0xbf) {  // MOV $imm, not to %eax
      size = 5;
    } else if (first > 0x58 && first <= 0x5f) {  // POP, not of %rax
      size = 1;
    } else {
      const auto it = decode(code);
      const bool wide = (it.rex & 8u) != 0, memory = it.mode != 3;
      if (it.opcode == 0x89 && wide && memory && it.reg == 0) {
        if (it.relative) return Store{.at = at, .to = at + it.size + std::uintptr_t(std::intptr_t(it.offset)), .base = {}};
        const unsigned base = kDwarfRegisters[it.rm];
        if ((it.rm & 7u) == 4 || base == kFramePointer) return {};
        return Store{.at = at, .to = {}, .base = base, .offset = it.offset};
      }
      const bool loads = (it.opcode == 0x8b || it.opcode == 0x8d) && it.reg != 0;
      const bool stores = it.opcode == 0x89 && (memory || it.rm != 0);
      const bool clears = it.opcode == 0x31 && !memory && it.rm != 0;
      const bool compares = it.opcode == 0x85 || it.opcode == 0x39 || it.opcode == 0x3b;
      const bool compares_number = it.opcode == 0x83 && (it.reg & 7u) == 7;
      if (!loads && !stores && !clears && !compares && !compares_number) return {};
      size = it.size + (compares_number ? 1 : 0);
    }
    code = code.subspan(std::min(size, code.size()));
    at += size;
  }
  return {};
}

/// What the pointer in a structure, or in one of its members, at this offset points to.
std::optional<Hint> member_at(Dwarf_Die& structure, std::int64_t offset) {
  std::optional<Hint> found;
  for_each_child(structure, [&](Dwarf_Die& member) {
    if (found || ::dwarf_tag(&member) != DW_TAG_member) return;
    const auto at = std::int64_t(debug_info::number(member, DW_AT_data_member_location));
    Dwarf_Die type, base, target;
    Dwarf_Word bytes = 0;
    if (!type_of(member, type) || ::dwarf_peel_type(&type, &base) != 0 || ::dwarf_aggregate_size(&base, &bytes) != 0) return;
    if (offset < at || offset >= at + std::int64_t(bytes)) return;
    if (::dwarf_tag(&base) == DW_TAG_structure_type) found = member_at(base, offset - at);
    if (offset == at && target_of(member, target)) found = hint_of(target);
  });
  return found;
}

class Reader {
 public:
  Reader(const Folders& folders, std::uintptr_t call, std::uintptr_t next_call, std::optional<Store> store)
      : folders_(folders), returns_to_(call + 1), nearest_(std::min(kNearTheCall, next_call - returns_to_)), store_(store) {}

  /// Of a scope's own variables and parameters.
  void read(Dwarf_Die& scope) {
    for_each_child(scope, [&](Dwarf_Die& die) {
      const int tag = ::dwarf_tag(&die);
      if (tag == DW_TAG_variable || tag == DW_TAG_formal_parameter) take(die);
    });
  }
  /// One of them, or of the unit.
  void take(Dwarf_Die& variable) {
    Dwarf_Die pointer, target, structure;
    // That of the kernel's alloc_hooks().
    if (!is_pointer(variable, pointer) || name_of(variable) == "_res") return;
    const bool typed = type_of(pointer, target);
    const Hint hint = typed ? hint_of(target) : Hint{.type = kVoid};
    hints_.variables.push_back(hint);
    const bool to_structure = typed && ::dwarf_peel_type(&target, &structure) == 0 &&
                              ::dwarf_tag(&structure) == DW_TAG_structure_type;
    for_each_location(variable, [&](std::uintptr_t begin, std::uintptr_t end, const Dwarf_Op& where) {
      if (where.atom == DW_OP_reg0 && begin < end && begin - returns_to_ < nearest_) {
        nearest_ = begin - returns_to_;
        hints_.results = {hint};
      } else if (where.atom == DW_OP_reg0 && begin < end && begin - returns_to_ == nearest_ && !hints_.results.empty()) {
        hints_.results.push_back(hint);
      }
      if (!store_) return;
      if (where.atom == DW_OP_addr && store_->to == where.number) stored_.push_back(hint);
      if (to_structure && store_->base && where.atom == DW_OP_reg0 + *store_->base && store_->at >= begin && store_->at < end) {
        if (const auto member = member_at(structure, store_->offset)) stored_.push_back(*member);
      }
    });
    if (!to_structure || !folders_.is_own(::dwarf_decl_file(&structure))) return;
    for_each_child(structure, [&](Dwarf_Die& member) {
      Dwarf_Die to;
      if (::dwarf_tag(&member) == DW_TAG_member && target_of(member, to)) hints_.variables.push_back(hint_of(to));
    });
  }
  AllocationHints finish() {
    if (hints_.results.empty() || hints_.results.front().type == kVoid) {
      hints_.results.insert(hints_.results.end(), stored_.begin(), stored_.end());
    }
    return std::move(hints_);
  }

 private:
  const Folders& folders_;
  std::uintptr_t returns_to_, nearest_;
  std::optional<Store> store_;
  AllocationHints hints_;
  std::vector<Hint> stored_;
};

/// Where the next call behind this one returns to, of those in the function: what comes first has its result in %rax.
std::uintptr_t next_call(Dwarf_Die& scope, std::uintptr_t call) {
  auto next = std::numeric_limits<std::uintptr_t>::max();
  for_each_child(scope, [&](Dwarf_Die& die) {
    const int tag = ::dwarf_tag(&die);
    if (tag == DW_TAG_lexical_block || tag == DW_TAG_inlined_subroutine) next = std::min(next, next_call(die, call));
    if (tag != DW_TAG_call_site && tag != DW_TAG_GNU_call_site) return;
    Dwarf_Attribute found;
    Dwarf_Addr to = 0;
    for (const unsigned name : {DW_AT_call_return_pc, DW_AT_low_pc}) {
      if (::dwarf_attr(&die, name, &found) != nullptr && ::dwarf_formaddr(&found, &to) == 0 && to > call + 1) {
        next = std::min<std::uintptr_t>(next, to);
      }
    }
  });
  return next;
}

/// The file's bytes from an address on.
std::span<const std::byte> code_at(std::span<const std::byte> file, std::uintptr_t address) {
  Elf64_Ehdr header;
  if (file.size() < sizeof(header)) return {};
  std::memcpy(&header, file.data(), sizeof(header));
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    const auto at = header.e_phoff + i * sizeof(segment);
    if (at + sizeof(segment) > file.size()) return {};
    std::memcpy(&segment, file.data() + at, sizeof(segment));
    if (segment.p_type != PT_LOAD || address < segment.p_vaddr || address - segment.p_vaddr >= segment.p_filesz) continue;
    const auto from = segment.p_offset + (address - segment.p_vaddr);
    return from < file.size() ? file.subspan(from) : std::span<const std::byte>();
  }
  return {};
}

/// Not those of the kernel's inline functions, which name no type of the module's.
AllocationHints hints_at(Dwarf_Die& unit, std::uintptr_t call, std::span<const std::byte> file) {
  const Folders folders(unit);
  Dwarf_Die* found = nullptr;
  const int inner = ::dwarf_getscopes(&unit, call, &found);
  const Scopes innermost(found);
  if (inner <= 0) return {};
  found = nullptr;
  const int n = ::dwarf_getscopes_die(&innermost[0], &found);
  const Scopes scopes(found);
  const auto is_function = [](Dwarf_Die& die) {
    return ::dwarf_tag(&die) == DW_TAG_inlined_subroutine || ::dwarf_tag(&die) == DW_TAG_subprogram;
  };
  auto next = std::numeric_limits<std::uintptr_t>::max();
  for (int i = 0; i < n; ++i) {
    if (::dwarf_tag(&scopes[i]) == DW_TAG_subprogram) next = next_call(scopes[i], call);
  }
  Reader reader(folders, call, next, store_behind(code_at(file, call + 1), call + 1));
  for (int i = 0; i < n; ++i) {
    if (!is_function(scopes[i]) && ::dwarf_tag(&scopes[i]) != DW_TAG_lexical_block) continue;
    int function = i;
    while (function + 1 < n && !is_function(scopes[function])) ++function;
    if (folders.is_own(::dwarf_decl_file(&scopes[function]))) reader.read(scopes[i]);
    if (::dwarf_tag(&scopes[i]) == DW_TAG_subprogram) break;
  }
  for_each_child(unit, [&](Dwarf_Die& die) {
    if (::dwarf_tag(&die) == DW_TAG_variable && folders.is_own(::dwarf_decl_file(&die))) reader.take(die);
  });
  return reader.finish();
}

}  // namespace

AllocationHints::Answer AllocationHints::type_of(std::uint64_t bytes) const {
  std::set<std::string> types;
  for (const auto& hint : results) types.insert(hint.type);
  types.erase(kVoid);
  if (types.size() == 1) return {.type = *types.begin(), .why = {}};
  for (const auto& hint : variables) {
    if (types.empty() && hint.bytes == bytes && bytes != 0) return {.type = {}, .why = "nothing says what its result is"};
  }
  if (types.empty()) return {.type = {}, .why = "no variable there has a type of that size"};
  return {.type = {}, .why = fmt::format("it may be {}", fmt::join(types, " or "))};
}

bool AllocationHints::knows(const std::string& type) const {
  return std::ranges::find(variables, type, &Hint::type) != variables.end();
}

Result<std::map<std::uintptr_t, AllocationHints>> read_allocations(std::span<const std::byte> file,
                                                                   const std::string& shown,
                                                                   const std::vector<std::uintptr_t>& calls) {
  std::map<std::uintptr_t, AllocationHints> found;
  LKM_CHECK(for_each_unit(file, shown, [&](Dwarf_Die& unit) {
    for (const auto call : calls) {
      if (!found.contains(call) && ::dwarf_haspc(&unit, call) == 1) found[call] = hints_at(unit, call, file);
    }
  }));
  return found;
}

Result<std::vector<std::string>> packet_structures(std::span<const std::byte> file, const std::string& shown) {
  std::set<std::string> types;
  LKM_CHECK(for_each_unit(file, shown, [&](Dwarf_Die& unit) {
    const Folders folders(unit);
    for_each_child(unit, [&](Dwarf_Die& function) {
      Dwarf_Die target;
      if (::dwarf_tag(&function) != DW_TAG_subprogram || !folders.is_own(::dwarf_decl_file(&function)) ||
          !target_of(function, target)) {
        return;
      }
      bool takes_a_packet = false;
      for_each_child(function, [&](Dwarf_Die& parameter) {
        Dwarf_Die to;
        takes_a_packet |= ::dwarf_tag(&parameter) == DW_TAG_formal_parameter && target_of(parameter, to) &&
                          spell(to) == "struct sk_buff";
      });
      if (takes_a_packet) types.insert(spell(target));
    });
  }));
  return std::vector<std::string>(types.begin(), types.end());
}

}  // namespace lkm
