// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/code_map.hpp"

#include <elf.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace lkm {
namespace {

/// Sections that belong to the code and not to the state of a module: each build has its own.
bool belongs_to_code(std::string_view section) {
  for (const std::string_view name :
       {".data.once", "__bug_table", "__ex_table", "__dyndbg", "__param", ".dynamic", ".got",
        ".got.plt", ".init.data", ".exit.data", ".printk_index", "__ksymtab", "__ksymtab_gpl"}) {
    if (section == name) return true;
  }
  return section.starts_with(".init.data.") || section.starts_with(".exit.data.");
}

/// A function of the ledger's (arch/lib's plugin/ledger_table.h) that gives memory.
bool asks_for_memory(std::string_view function) {
  for (const std::string_view name : {"__wrap___kmalloc", "__wrap___kvmalloc", "__wrap_kmem_cache_alloc", "__wrap_vmalloc",
                                      "__wrap_vzalloc", "__wrap_kmemdup"}) {
    if (function.starts_with(name)) return true;
  }
  return false;
}

/// "counter.12" → "counter"
std::string_view without_number(std::string_view name) {
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos || dot + 1 == name.size()) return name;
  const auto digits = name.substr(dot + 1);
  const bool all = std::ranges::all_of(digits, [](unsigned char c) { return std::isdigit(c) != 0; });
  return all ? name.substr(0, dot) : name;
}

/// Bytes of an ELF file whose section table has been checked by parse_plugin(); offsets in tables have not.
class Reader {
 public:
  Reader(std::span<const std::byte> file, const std::string& shown) : file_(file), shown_(shown) {
    std::memcpy(&header_, file.data(), sizeof(header_));
    sections_.resize(header_.e_shnum);
    std::memcpy(sections_.data(), file.data() + header_.e_shoff,
                sections_.size() * sizeof(Elf64_Shdr));
  }

  Result<void> read() {
    const auto* table = find(".symtab");
    if (table == nullptr || table->sh_link >= sections_.size()) return damaged("no symbols");
    symbols_ = entries<Elf64_Sym>(*table);
    strings_ = text(sections_[table->sh_link]);
    for (const auto& symbol : symbols_) {
      if (symbol.st_shndx < SHN_LORESERVE && symbol.st_shndx >= sections_.size()) {
        return damaged("a symbol of no section");
      }
    }
    return {};
  }

  [[nodiscard]] Failure damaged(std::string_view why) const {
    return fail_hint(ENOEXEC, "build it again", "'{}': {}", shown_, why);
  }

  template <typename Entry>
  [[nodiscard]] std::vector<Entry> entries(const Elf64_Shdr& section) const {
    std::vector<Entry> all(section.sh_size / sizeof(Entry));
    std::memcpy(all.data(), file_.data() + section.sh_offset, all.size() * sizeof(Entry));
    return all;
  }
  [[nodiscard]] std::string_view text(const Elf64_Shdr& section) const {
    if (section.sh_type == SHT_NOBITS) return {};
    return {reinterpret_cast<const char*>(file_.data()) + section.sh_offset, section.sh_size};
  }
  static std::string_view string(std::string_view table, std::size_t at) {
    if (at >= table.size()) return {};
    return table.substr(at, table.find('\0', at) - at);
  }

  [[nodiscard]] const std::vector<Elf64_Shdr>& sections() const { return sections_; }
  [[nodiscard]] std::string_view name(const Elf64_Shdr& section) const {
    return string(text(sections_[header_.e_shstrndx]), section.sh_name);
  }
  [[nodiscard]] const Elf64_Shdr* find(std::string_view wanted) const {
    const auto it = std::ranges::find_if(sections_, [&](const auto& s) { return name(s) == wanted; });
    return it == sections_.end() ? nullptr : &*it;
  }
  [[nodiscard]] const std::vector<Elf64_Sym>& symbols() const { return symbols_; }
  [[nodiscard]] std::string_view name(const Elf64_Sym& symbol) const {
    return string(strings_, symbol.st_name);
  }
  [[nodiscard]] bool has_section(const Elf64_Sym& symbol) const {
    return symbol.st_shndx != SHN_UNDEF && symbol.st_shndx < SHN_LORESERVE;
  }
  [[nodiscard]] const Elf64_Shdr& section(const Elf64_Sym& symbol) const {
    return sections_[symbol.st_shndx];
  }

 private:
  std::span<const std::byte> file_;
  const std::string& shown_;
  Elf64_Ehdr header_{};
  std::vector<Elf64_Shdr> sections_;
  std::vector<Elf64_Sym> symbols_;
  std::string_view strings_;
};

/// What a relocation of the init function means: the function or the kind of data that it names, and not
/// where that lies.
std::string meaning(const Reader& elf, const Elf64_Sym& symbol, std::int64_t addend) {
  if (!elf.has_section(symbol)) return std::string(elf.name(symbol));
  const auto& section = elf.section(symbol);
  if (ELF64_ST_TYPE(symbol.st_info) == STT_SECTION && (section.sh_flags & SHF_EXECINSTR) != 0) {
    // A call is relative to the end of its four bytes, an address in a table is not.
    for (const auto& function : elf.symbols()) {
      if (ELF64_ST_TYPE(function.st_info) != STT_FUNC || function.st_shndx != symbol.st_shndx) continue;
      const auto offset = std::int64_t(function.st_value - section.sh_addr);
      if (offset == addend || offset == addend + 4) return std::string(elf.name(function));
    }
  }
  if (ELF64_ST_TYPE(symbol.st_info) == STT_SECTION) {
    return std::string(without_number(elf.name(section)));
  }
  return std::string(without_number(elf.name(symbol)));
}

}  // namespace

const std::pair<const std::string, PluginVariable>* CodeMap::variable_at(std::uintptr_t address) const {
  auto it = by_address_.upper_bound(address);
  if (it == by_address_.begin()) return nullptr;
  const auto* variable = (--it)->second;
  const bool inside = address < variable->second.at + std::max<std::size_t>(variable->second.size, 1);
  return inside ? variable : nullptr;
}

Result<CodeMap> CodeMap::read(std::span<const std::byte> file, const std::string& shown) {
  Reader elf(file, shown);
  LKM_CHECK(elf.read());
  CodeMap map;

  // Variables: which section is which.
  std::map<std::size_t, std::string> shapes;  // by section index
  for (const auto& symbol : elf.symbols()) {
    if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT || !elf.has_section(symbol)) continue;
    shapes[symbol.st_shndx] += fmt::format("{}:{}:{};", without_number(elf.name(symbol)),
                                           symbol.st_value - elf.section(symbol).sh_addr, symbol.st_size);
  }
  std::map<std::size_t, std::string> keys;  // by section index
  for (std::size_t i = 1; i < elf.sections().size(); ++i) {
    const auto& section = elf.sections()[i];
    const auto name = elf.name(section);
    if (name == ".lkm_migrate" && elf.text(section).size() >= sizeof(map.state_version))
      std::memcpy(&map.state_version, elf.text(section).data(), sizeof(map.state_version));
    if ((section.sh_flags & (SHF_ALLOC | SHF_WRITE)) != (SHF_ALLOC | SHF_WRITE)) continue;
    if (section.sh_size == 0 || belongs_to_code(name)) continue;
    std::string key(without_number(name));
    for (int n = 2; map.variables.contains(key); ++n) key = fmt::format("{}#{}", without_number(name), n);
    map.variables[key] = PluginVariable{section.sh_addr, section.sh_size, shapes[i]};
    keys[i] = key;
  }
  for (const auto& variable : map.variables) map.by_address_[variable.second.at] = &variable;

  // Functions.
  std::map<std::uintptr_t, std::uintptr_t> ends;  // of the room of each address
  std::string source;
  for (const auto& symbol : elf.symbols()) {
    const auto type = ELF64_ST_TYPE(symbol.st_info);
    if (type == STT_FILE) source = elf.name(symbol);
    const auto name = elf.name(symbol);
    // With its version behind it. An init that fails may register nothing, but exit takes it back.
    map.registers_control |= name.starts_with("__wrap_tcp_register_congestion_control") ||
                             name.starts_with("__wrap_tcp_unregister_congestion_control");
    if (!elf.has_section(symbol)) continue;
    if (name.starts_with("__ksymtab_")) map.exports.emplace_back(name);
    if (name.starts_with("__param_") && !name.starts_with("__param_str_")) {
      map.parameters.emplace_back(name);
    }
    const auto& section = elf.section(symbol);
    if (type != STT_FUNC || (section.sh_flags & SHF_EXECINSTR) == 0) continue;
    ends[symbol.st_value] = section.sh_addr + section.sh_size;
    if (name.find('.') != std::string_view::npos || elf.name(section) == ".init.text") continue;
    const bool local = ELF64_ST_BIND(symbol.st_info) == STB_LOCAL;
    map.functions.try_emplace(local ? fmt::format("{}:{}", source, name) : std::string(name),
                              PluginFunction{symbol.st_value, 0});
  }
  for (auto& [name, function] : map.functions) {
    const auto next = ends.upper_bound(function.at);
    const auto limit = ends.at(function.at);
    function.room = (next == ends.end() ? limit : std::min(limit, next->first)) - function.at;
  }
  std::ranges::sort(map.parameters);
  std::ranges::sort(map.exports);

  // References.
  bool any = false;
  for (const auto& section : elf.sections()) {
    if (section.sh_type != SHT_RELA) continue;
    if (elf.name(section) == ".rela.dyn") {
      for (const auto& entry : elf.entries<Elf64_Rela>(section)) {
        if (ELF64_R_TYPE(entry.r_info) != R_X86_64_RELATIVE) continue;
        map.pointers.push_back({entry.r_offset, std::uintptr_t(entry.r_addend)});
      }
      continue;
    }
    if (section.sh_info >= elf.sections().size()) return elf.damaged("relocations of no section");
    const auto& target = elf.sections()[section.sh_info];
    if ((target.sh_flags & SHF_ALLOC) == 0) continue;
    any = true;
    const bool init = elf.name(target) == ".init.text";
    std::string code(init ? elf.text(target) : std::string_view());
    std::string meanings;
    for (const auto& entry : elf.entries<Elf64_Rela>(section)) {
      if (ELF64_R_SYM(entry.r_info) >= elf.symbols().size()) return elf.damaged("a relocation of no symbol");
      const auto& symbol = elf.symbols()[ELF64_R_SYM(entry.r_info)];
      const auto type = ELF64_R_TYPE(entry.r_info);
      if (init) {
        const auto at = entry.r_offset - target.sh_addr;
        if (at + 4 <= code.size()) code.replace(at, 4, 4, '\0');
        meanings += meaning(elf, symbol, entry.r_addend) + ";";
      }
      if ((type == R_X86_64_GOTPCRELX || type == R_X86_64_PLT32) && asks_for_memory(elf.name(symbol))) {
        map.allocations.push_back(entry.r_offset + 3);
      }
      if ((type != R_X86_64_PC32 && type != R_X86_64_PLT32) || !elf.has_section(symbol)) continue;
      if (const auto key = keys.find(symbol.st_shndx); key != keys.end()) {
        map.references.push_back({entry.r_offset, key->second});
      }
    }
    if (init) map.init = code + meanings;
  }
  if (!any) return elf.damaged("linked without its relocations");
  return map;
}

}  // namespace lkm
