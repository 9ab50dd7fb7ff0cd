// SPDX-License-Identifier: GPL-2.0
//
// A walk over DWARF with elfutils: what the readers of debug information share.
#pragma once

#include <dwarf.h>
#include <elfutils/libdw.h>

#include <cerrno>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "libos-runtime/host/elfutils.hpp"
#include "toolkit/base/result.hpp"

namespace lkm::debug_info {

inline Dwarf_Word number(Dwarf_Die& die, unsigned attribute, Dwarf_Word otherwise = 0) {
  Dwarf_Attribute found;
  Dwarf_Word value = otherwise;
  if (::dwarf_attr_integrate(&die, attribute, &found) != nullptr) ::dwarf_formudata(&found, &value);
  return value;
}

inline bool type_of(Dwarf_Die& die, Dwarf_Die& type) {
  Dwarf_Attribute found;
  return ::dwarf_attr_integrate(&die, DW_AT_type, &found) != nullptr &&
         ::dwarf_formref_die(&found, &type) != nullptr;
}

inline std::string name_of(Dwarf_Die& die) {
  const char* name = ::dwarf_diename(&die);
  return name == nullptr ? std::string() : name;
}

/// The word in front of a type's name in C; nullptr for a type that needs none.
inline const char* keyword(int tag) {
  switch (tag) {
    case DW_TAG_structure_type:
      return "struct";
    case DW_TAG_union_type:
      return "union";
    case DW_TAG_enumeration_type:
      return "enum";
    default:
      return nullptr;
  }
}

template <typename Visit>
void for_each_child(Dwarf_Die& parent, Visit visit) {
  Dwarf_Die child;
  if (::dwarf_child(&parent, &child) != 0) return;
  do {
    visit(child);
  } while (::dwarf_siblingof(&child, &child) == 0);
}

/// The folders of one compilation, which tell the module's own headers from the kernel's. A kernel's types
/// are the same in all of its modules.
struct Folders {
  explicit Folders(Dwarf_Die& unit) : own(folder_of(name_of(unit))) {
    Dwarf_Attribute found;
    const char* text = ::dwarf_formstring(::dwarf_attr(&unit, DW_AT_comp_dir, &found));
    kernel = folder_of(text == nullptr ? "" : text);
  }

  [[nodiscard]] bool is_own(const char* file) const {
    if (file == nullptr || std::string_view(file).starts_with(own)) return true;
    return file[0] == '/' && !std::string_view(file).starts_with(kernel);
  }

  static std::string_view folder_of(std::string_view path) { return path.substr(0, path.rfind('/') + 1); }

  std::string own, kernel;
};

/// Errors: ENOEXEC, when it is no ELF file; ENODATA without debug information.
template <typename Visit>
Result<void> for_each_unit(std::span<const std::byte> file, const std::string& shown, Visit visit) {
  ::elf_version(EV_CURRENT);
  // libelf takes no const, and does not write.
  auto* bytes = const_cast<char*>(reinterpret_cast<const char*>(file.data()));
  const std::unique_ptr<Elf, EndElf> elf(::elf_memory(bytes, file.size()));
  if (!elf) return fail_hint(ENOEXEC, "build it again", "'{}': {}", shown, ::elf_errmsg(-1));
  const std::unique_ptr<Dwarf, EndDwarf> dwarf(::dwarf_begin_elf(elf.get(), DWARF_C_READ, nullptr));
  if (!dwarf) {
    return fail_hint(ENODATA, "lkm-run build makes it with debug information",
                     "'{}' has no debug information", shown);
  }
  Dwarf_Off offset = 0, next = 0;
  std::size_t header = 0;
  while (::dwarf_nextcu(dwarf.get(), offset, &next, &header, nullptr, nullptr, nullptr) == 0) {
    Dwarf_Die unit;
    if (::dwarf_offdie(dwarf.get(), offset + header, &unit) != nullptr) visit(unit);
    offset = next;
  }
  return {};
}

}  // namespace lkm::debug_info
