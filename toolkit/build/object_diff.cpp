// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/object_diff.hpp"

#include <gelf.h>

#include <map>
#include <memory>

#include "toolkit/base/unique_fd.hpp"

namespace lkm {
namespace {

struct End {
  void operator()(Elf* elf) const { ::elf_end(elf); }
};

// What counts of an object, as comparable texts under names.
using Content = std::map<std::string, std::string>;

std::string text_of(const char* text) { return text != nullptr ? text : ""; }

std::string_view bytes_of(Elf_Scn* section) {
  const Elf_Data* data = ::elf_getdata(section, nullptr);
  if (data == nullptr || data->d_buf == nullptr) return {};
  return {static_cast<const char*>(data->d_buf), data->d_size};
}

class Object {
 public:
  static Result<Content> read(const std::filesystem::path& path) {
    LKM_TRY(const auto fd, UniqueFd::open(path, O_RDONLY));
    ::elf_version(EV_CURRENT);
    Object object;
    object.elf_.reset(::elf_begin(fd.get(), ELF_C_READ, nullptr));
    if (!object.elf_ || ::elf_kind(object.elf_.get()) != ELF_K_ELF ||
        ::elf_getshdrstrndx(object.elf_.get(), &object.names_) != 0) {
      return fail(ENOEXEC, "read '{}': no ELF file", path.string());
    }
    return object.content();
  }

 private:
  Content content() {
    Content content;
    Elf_Scn* at = nullptr;
    while ((at = ::elf_nextscn(elf_.get(), at)) != nullptr) {
      GElf_Shdr header;
      if (::gelf_getshdr(at, &header) == nullptr) continue;
      if (header.sh_type == SHT_SYMTAB) {
        symbols(at, header, content);
      } else if (header.sh_type == SHT_RELA) {
        relocations(at, header, content);
      } else if ((header.sh_flags & SHF_ALLOC) != 0) {
        const std::string name = section_name(header);
        if (name == ".note.gnu.build-id") continue;
        std::string& text = content["section " + name];  // of one name there may be several
        text += fmt::format("{} {:x} {} {};", header.sh_type, header.sh_flags, header.sh_size,
                            header.sh_addralign);
        if (header.sh_type != SHT_NOBITS) text += bytes_of(at);
      }
    }
    return content;
  }

  void symbols(Elf_Scn* table, const GElf_Shdr& header, Content& content) {
    Elf_Data* data = ::elf_getdata(table, nullptr);
    for (std::size_t i = 1; data != nullptr && i < header.sh_size / header.sh_entsize; ++i) {
      GElf_Sym symbol;
      if (::gelf_getsym(data, static_cast<int>(i), &symbol) == nullptr) continue;
      const int type = GELF_ST_TYPE(symbol.st_info);
      if (type == STT_SECTION || type == STT_FILE) continue;
      content["symbol " + text_of(::elf_strptr(elf_.get(), header.sh_link, symbol.st_name))] +=
          fmt::format("{} {} {} {} {};", symbol.st_info, symbol.st_other, place_of(symbol.st_shndx),
                      symbol.st_value, symbol.st_size);
    }
  }

  // As part of the section that they are for.
  void relocations(Elf_Scn* table, const GElf_Shdr& header, Content& content) {
    GElf_Shdr target;
    if (::gelf_getshdr(::elf_getscn(elf_.get(), header.sh_info), &target) == nullptr ||
        (target.sh_flags & SHF_ALLOC) == 0) {
      return;
    }
    GElf_Shdr symbols;
    Elf_Scn* symbol_table = ::elf_getscn(elf_.get(), header.sh_link);
    Elf_Data* symbol_data = ::elf_getdata(symbol_table, nullptr);
    Elf_Data* data = ::elf_getdata(table, nullptr);
    if (data == nullptr || symbol_data == nullptr || !::gelf_getshdr(symbol_table, &symbols))
      return;
    std::string& text = content["relocations of " + section_name(target)];
    for (std::size_t i = 0; i < header.sh_size / header.sh_entsize; ++i) {
      GElf_Rela entry;
      GElf_Sym symbol;
      if (::gelf_getrela(data, static_cast<int>(i), &entry) == nullptr ||
          ::gelf_getsym(symbol_data, static_cast<int>(GELF_R_SYM(entry.r_info)), &symbol) ==
              nullptr) {
        continue;
      }
      text += fmt::format("{:x} {} {} {} {};", entry.r_offset, GELF_R_TYPE(entry.r_info),
                          text_of(::elf_strptr(elf_.get(), symbols.sh_link, symbol.st_name)),
                          place_of(symbol.st_shndx), entry.r_addend);
    }
  }

  std::string section_name(const GElf_Shdr& header) {
    return text_of(::elf_strptr(elf_.get(), names_, header.sh_name));
  }
  std::string place_of(std::size_t index) {
    GElf_Shdr header;
    Elf_Scn* section = index < SHN_LORESERVE ? ::elf_getscn(elf_.get(), index) : nullptr;
    return section != nullptr && ::gelf_getshdr(section, &header) != nullptr
               ? section_name(header)
               : std::to_string(index);
  }

  std::unique_ptr<Elf, End> elf_;
  std::size_t names_ = 0;
};

}  // namespace

Result<std::vector<std::string>> object_differences(const std::filesystem::path& one,
                                                    const std::filesystem::path& other) {
  LKM_TRY(const Content a, Object::read(one));
  LKM_TRY(const Content b, Object::read(other));
  std::vector<std::string> differences;
  for (const auto& [name, text] : a) {
    const auto same = b.find(name);
    if (same == b.end() || same->second != text) differences.push_back(name);
  }
  for (const auto& [name, text] : b) {
    if (!a.contains(name)) differences.push_back(name);
  }
  return differences;
}

}  // namespace lkm
