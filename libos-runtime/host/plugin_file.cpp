// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/plugin_file.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "toolkit/base/unique_fd.hpp"

namespace lkm {
namespace {

/// Bounds-checked view of an ELF file.
class Elf {
 public:
  Elf(std::span<const std::byte> file, const std::string& shown) : file_(file), shown_(shown) {}

  Result<void> open() {
    if (file_.size() < sizeof(Elf64_Ehdr) || std::memcmp(file_.data(), ELFMAG, SELFMAG) != 0) {
      return refuse("not an ELF file", "lkm-run build DIR makes a plugin of a module's source");
    }
    std::memcpy(&header_, file_.data(), sizeof(header_));
    if (header_.e_ident[EI_CLASS] != ELFCLASS64 || header_.e_machine != EM_X86_64) {
      return refuse("built for another machine", "build it on this one");
    }
    if (header_.e_type == ET_REL) {
      return refuse("an object file, not yet linked as a plugin",
                    fmt::format("Kbuild/plugin {} NAME.so", shown_));
    }
    if (header_.e_type != ET_DYN || header_.e_shentsize != sizeof(Elf64_Shdr)) {
      return refuse("no shared object", "lkm-run build DIR makes a plugin of a module's source");
    }
    const auto table = bytes(header_.e_shoff, std::uint64_t(header_.e_shnum) * sizeof(Elf64_Shdr));
    if (!table || header_.e_shstrndx >= header_.e_shnum) return truncated();
    sections_.resize(header_.e_shnum);
    if (!sections_.empty()) std::memcpy(sections_.data(), table->data(), table->size());
    for (const auto& section : sections_) {
      if (section.sh_type != SHT_NOBITS && section.sh_type != SHT_NULL &&
          !bytes(section.sh_offset, section.sh_size)) {
        return truncated();
      }
    }
    const auto& names = sections_[header_.e_shstrndx];
    const auto text = bytes(names.sh_offset, names.sh_size);
    if (names.sh_type != SHT_STRTAB || !text || text->empty() || text->back() != std::byte{0}) {
      return refuse("its section names are damaged", "build it again");
    }
    names_ = {reinterpret_cast<const char*>(text->data()), text->size()};
    // The segments are what gets mapped: a file cut short would fault only when they are touched.
    const auto segments =
        bytes(header_.e_phoff, std::uint64_t(header_.e_phnum) * sizeof(Elf64_Phdr));
    if (!segments || header_.e_phentsize != sizeof(Elf64_Phdr)) return truncated();
    for (std::size_t i = 0; i < header_.e_phnum; ++i) {
      Elf64_Phdr segment;
      std::memcpy(&segment, segments->data() + i * sizeof(segment), sizeof(segment));
      if (segment.p_type == PT_LOAD && !bytes(segment.p_offset, segment.p_filesz)) {
        return truncated();
      }
    }
    return {};
  }

  [[nodiscard]] std::optional<std::span<const std::byte>> section(std::string_view name) const {
    for (const auto& section : sections_) {
      if (section.sh_type == SHT_NOBITS || section.sh_type == SHT_NULL) continue;
      if (section.sh_name >= names_.size()) continue;
      if (names_.data() + section.sh_name == name) return bytes(section.sh_offset, section.sh_size);
    }
    return std::nullopt;
  }

  [[nodiscard]] Failure refuse(std::string_view why, std::string hint) const {
    return fail_hint(ENOEXEC, std::move(hint), "'{}' is no plugin: {}", shown_, why);
  }

 private:
  [[nodiscard]] std::optional<std::span<const std::byte>> bytes(std::uint64_t offset,
                                                                std::uint64_t size) const {
    if (offset > file_.size() || size > file_.size() - offset) return std::nullopt;
    return file_.subspan(offset, size);
  }
  [[nodiscard]] Failure truncated() const {
    return refuse("the file is cut short", "build it again");
  }

  std::span<const std::byte> file_;
  std::string shown_;
  Elf64_Ehdr header_{};
  std::vector<Elf64_Shdr> sections_;
  std::string_view names_;  ///< of the sections; ends with a NUL
};

/// .modinfo is a list of NUL-terminated "key=value".
template <typename Visit>
void for_each_modinfo(std::span<const std::byte> section, Visit visit) {
  std::string_view rest(reinterpret_cast<const char*>(section.data()), section.size());
  while (!rest.empty()) {
    const auto entry = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
    if (const auto equals = entry.find('='); equals != std::string_view::npos) {
      visit(entry.substr(0, equals), entry.substr(equals + 1));
    }
  }
}

std::vector<std::string> split(std::string_view list, char separator) {
  std::vector<std::string> items;
  while (!list.empty()) {
    const auto item = list.substr(0, list.find(separator));
    list.remove_prefix(std::min(list.size(), item.size() + 1));
    if (!item.empty()) items.emplace_back(item);
  }
  return items;
}

std::string hex_build_id(std::span<const std::byte> note) {
  Elf64_Nhdr header;
  if (note.size() < sizeof(header)) return {};
  std::memcpy(&header, note.data(), sizeof(header));
  const std::size_t at = sizeof(header) + ((std::size_t{header.n_namesz} + 3) & ~std::size_t{3});
  if (at > note.size() || header.n_descsz > note.size() - at) return {};
  std::string hex;
  for (const auto byte : note.subspan(at, header.n_descsz)) {
    hex += fmt::format("{:02x}", unsigned(byte));
  }
  return hex;
}

/// "…: undefined symbol: foo, version LIBOS_6.12.117" → what a person needs of it.
Error explain_dlopen(const std::string& shown, std::string_view text, std::string_view release) {
  constexpr std::string_view kSymbol = "undefined symbol: ";
  const auto code = std::error_code(ENOEXEC, std::generic_category());
  if (const auto at = text.find(kSymbol); at != std::string_view::npos) {
    auto symbol = text.substr(at + kSymbol.size());
    symbol = symbol.substr(0, symbol.find(','));
    return Error(code, fmt::format("load '{}': the kernel and the loaded modules export no '{}'", shown,
                                   symbol))
        .with_hint("load the module that exports it first, or build again for this kernel");
  }
  if (text.find("version") != std::string_view::npos && text.find("LIBOS_") != std::string_view::npos) {
    return Error(code, fmt::format("load '{}': built for another kernel than {}", shown, release))
        .with_hint("lkm-run build DIR builds it for the running stack");
  }
  return Error(code, fmt::format("load '{}': {}", shown, text));
}

bool is_mapped(const std::string& path) {
  // RTLD_NOLOAD finds it by path or by inode.
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (handle != nullptr) ::dlclose(handle);
  return handle != nullptr;
}

/// A second file with the same bytes: dlopen() would give the mapping of the first one again.
Result<UniqueFd> private_copy(const Mapping& file, const std::string& name) {
  UniqueFd copy(::memfd_create(name.c_str(), MFD_CLOEXEC));
  if (!copy) return fail(errno, "memfd_create '{}'", name);
  std::size_t done = 0;
  while (done < file.size()) {
    const auto n = ::write(copy.get(), file.data() + done, file.size() - done);
    if (n < 0) return fail(errno, "copy '{}'", name);
    done += std::size_t(n);
  }
  return copy;
}

}  // namespace

Result<PluginFacts> parse_plugin(std::span<const std::byte> file, const std::string& shown) {
  Elf elf(file, shown);
  LKM_CHECK(elf.open());
  const auto modinfo = elf.section(".modinfo");
  if (!modinfo || !elf.section(".gnu.linkonce.this_module")) {
    return elf.refuse("no kernel module in it",
                      "lkm-run build DIR makes a plugin of a module's source");
  }
  PluginFacts facts;
  for_each_modinfo(*modinfo, [&](std::string_view key, std::string_view value) {
    if (key == "name") facts.name = value;
    if (key == "vermagic") facts.vermagic = value;
    if (key == "license") facts.license = value;
    if (key == "depends") facts.depends = split(value, ',');
  });
  if (facts.name.empty()) return elf.refuse("its .modinfo has no name", "build it again");
  if (const auto note = elf.section(".note.gnu.build-id")) facts.build_id = hex_build_id(*note);
  return facts;
}

Result<PluginFile> PluginFile::open(const std::filesystem::path& path, std::string_view release) {
  PluginFile plugin;
  plugin.path_ = path;
  LKM_TRY(plugin.file_, Mapping::file(path.string()));
  LKM_TRY(plugin.facts_, parse_plugin(plugin.bytes(), path.string()));
  const auto& vermagic = plugin.facts_.vermagic;
  if (vermagic.substr(0, vermagic.find(' ')) != release ||
      vermagic.find(" libos") == std::string::npos) {
    return fail_hint(ENOEXEC, "lkm-run build DIR builds it for the running stack",
                     "load '{}': built for kernel '{}', the stack's is {}", path.string(), vermagic,
                     release);
  }

  std::string file = std::filesystem::absolute(path).string();
  if (is_mapped(file)) {
    LKM_TRY(plugin.copy_, private_copy(plugin.file_, plugin.facts_.name));
    file = fmt::format("/proc/self/fd/{}", plugin.copy_.get());
  }
  plugin.handle_ = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (plugin.handle_ == nullptr) {
    return Failure(explain_dlopen(path.string(), ::dlerror(), release));
  }
  return plugin;
}

PluginFile::~PluginFile() {
  if (handle_ != nullptr) ::dlclose(handle_);
}

std::uintptr_t PluginFile::bias() const {
  link_map* map = nullptr;
  ::dlinfo(handle_, RTLD_DI_LINKMAP, &map);
  return map->l_addr;
}

std::vector<PluginFile::Segment> PluginFile::segments() const {
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(file_.data());
  const auto* table = reinterpret_cast<const Elf64_Phdr*>(file_.data() + header->e_phoff);
  std::vector<Segment> all;
  for (std::size_t i = 0; i < header->e_phnum; ++i) {
    if (table[i].p_type == PT_LOAD) all.push_back({bias() + table[i].p_vaddr, table[i].p_memsz, table[i].p_flags});
  }
  return all;
}

std::size_t PluginFile::mapped_size() const {
  std::uintptr_t end = bias();
  for (const auto& segment : segments()) end = std::max(end, segment.at + segment.size);
  return end - bias();
}

std::span<std::byte> PluginFile::writable() const {
  std::uintptr_t low = UINTPTR_MAX, high = 0;
  for (const auto& segment : segments()) {
    if ((segment.flags & PF_W) == 0) continue;
    low = std::min(low, segment.at);
    high = std::max(high, segment.at + segment.size);
  }
  if (high == 0) return {};
  return {reinterpret_cast<std::byte*>(low), high - low};
}

}  // namespace lkm
