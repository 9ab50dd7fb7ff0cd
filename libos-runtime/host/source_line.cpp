// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/source_line.hpp"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <gelf.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "libos-runtime/host/elfutils.hpp"

namespace lkm {
namespace {

struct Free {
  void operator()(Dwarf_Die* scopes) const { std::free(scopes); }
};
using Scopes = std::unique_ptr<Dwarf_Die[], Free>;

std::string text(const char* from) { return from == nullptr ? std::string() : from; }

Dwarf_Word number(Dwarf_Die& die, unsigned attribute) {
  Dwarf_Attribute found;
  Dwarf_Word value = 0;
  if (::dwarf_attr(&die, attribute, &found) != nullptr) ::dwarf_formudata(&found, &value);
  return value;
}

std::string call_file(Dwarf_Die& unit, Dwarf_Die& inlined) {
  Dwarf_Files* files = nullptr;
  std::size_t n = 0;
  if (::dwarf_getsrcfiles(&unit, &files, &n) != 0) return {};
  return text(::dwarf_filesrc(files, number(inlined, DW_AT_call_file), nullptr, nullptr));
}

/// The unit whose code has the address. Not by .debug_aranges, which clang does not write.
bool find_unit(Dwarf* dwarf, std::uintptr_t address, Dwarf_Die& unit) {
  Dwarf_Off offset = 0, next = 0;
  std::size_t header = 0;
  for (; ::dwarf_nextcu(dwarf, offset, &next, &header, nullptr, nullptr, nullptr) == 0; offset = next) {
    if (::dwarf_offdie(dwarf, offset + header, &unit) != nullptr && ::dwarf_haspc(&unit, address) == 1) return true;
  }
  return false;
}

std::vector<SourceLine> from_dwarf(Dwarf* dwarf, std::uintptr_t address) {
  std::vector<SourceLine> frames;
  Dwarf_Die unit;
  if (!find_unit(dwarf, address, unit)) return frames;
  Dwarf_Line* line = ::dwarf_getsrc_die(&unit, address);
  SourceLine frame;
  if (line != nullptr) {
    frame.file = text(::dwarf_linesrc(line, nullptr, nullptr));
    ::dwarf_lineno(line, &frame.line);
  }
  // The scopes around the address name the definition of what was inlined; those around the innermost one
  // are where it was put.
  Dwarf_Die* found = nullptr;
  const int inner = ::dwarf_getscopes(&unit, address, &found);
  const Scopes innermost(found);
  if (inner <= 0) return frames;
  found = nullptr;
  const int n = ::dwarf_getscopes_die(&innermost[0], &found);
  const Scopes scopes(found);
  for (int i = 0; i < n; ++i) {
    const int tag = ::dwarf_tag(&scopes[i]);
    if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram) continue;
    frame.function = text(::dwarf_diename(&scopes[i]));
    frames.push_back(frame);
    if (tag == DW_TAG_subprogram) break;
    frame.file = call_file(unit, scopes[i]);
    frame.line = int(number(scopes[i], DW_AT_call_line));
  }
  return frames;
}

std::optional<SourceLine> from_symbols(Elf* elf, std::uintptr_t address) {
  for (Elf_Scn* section = nullptr; (section = ::elf_nextscn(elf, section)) != nullptr;) {
    GElf_Shdr header;
    if (::gelf_getshdr(section, &header) == nullptr || header.sh_type != SHT_SYMTAB) continue;
    Elf_Data* data = ::elf_getdata(section, nullptr);
    GElf_Sym symbol;
    for (int i = 0; ::gelf_getsym(data, i, &symbol) != nullptr; ++i) {
      if (GELF_ST_TYPE(symbol.st_info) != STT_FUNC || address - symbol.st_value >= symbol.st_size) continue;
      return SourceLine{.function = text(::elf_strptr(elf, header.sh_link, symbol.st_name)),
                        .file = {},
                        .line = 0,
                        .offset = address - symbol.st_value};
    }
  }
  return std::nullopt;
}

}  // namespace

std::string SourceLine::place() const {
  if (line == 0) return fmt::format("{}+{:#x}", function, offset);
  return fmt::format("{}:{}", std::string_view(file).substr(file.rfind('/') + 1), line);
}

struct SourceLines::Debug {
  std::unique_ptr<Elf, EndElf> elf;
  std::unique_ptr<Dwarf, EndDwarf> dwarf;  ///< nullptr: no debug information
};

SourceLines::SourceLines(std::unique_ptr<Debug> debug) : debug_(std::move(debug)) {}
SourceLines::SourceLines(SourceLines&&) noexcept = default;
SourceLines::~SourceLines() = default;

Result<SourceLines> SourceLines::open(std::span<const std::byte> file, const std::string& shown) {
  ::elf_version(EV_CURRENT);
  auto debug = std::make_unique<Debug>();
  // libelf takes no const, and does not write.
  auto* bytes = const_cast<char*>(reinterpret_cast<const char*>(file.data()));
  debug->elf.reset(::elf_memory(bytes, file.size()));
  if (!debug->elf || ::elf_kind(debug->elf.get()) != ELF_K_ELF) {
    return fail_hint(ENOEXEC, "build it again", "'{}': {}", shown, ::elf_errmsg(-1));
  }
  debug->dwarf.reset(::dwarf_begin_elf(debug->elf.get(), DWARF_C_READ, nullptr));
  return SourceLines(std::move(debug));
}

std::vector<SourceLine> SourceLines::at(std::uintptr_t address) const {
  if (debug_->dwarf) {
    if (auto frames = from_dwarf(debug_->dwarf.get(), address); !frames.empty()) return frames;
  }
  const auto symbol = from_symbols(debug_->elf.get(), address);
  return symbol ? std::vector{*symbol} : std::vector<SourceLine>();
}

}  // namespace lkm
