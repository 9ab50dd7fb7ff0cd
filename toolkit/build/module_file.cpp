// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/module_file.hpp"

#include <elfutils/libdwelf.h>
#include <gelf.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "toolkit/base/unique_fd.hpp"

namespace lkm {
namespace {

class ElfFile {
 public:
  static Result<ElfFile> open(const std::filesystem::path& path) {
    LKM_TRY(auto fd, UniqueFd::open(path, O_RDONLY));
    ::elf_version(EV_CURRENT);
    ElfFile file(std::move(fd));
    // ELF_C_READ, not its mmap variant: a file that is cut short meanwhile is an error then, and no
    // SIGBUS.
    file.elf_.reset(::elf_begin(file.fd_.get(), ELF_C_READ, nullptr));
    if (!file.elf_ || ::elf_kind(file.elf_.get()) != ELF_K_ELF) {
      return fail(ENOEXEC, "read '{}': no ELF file", path.string());
    }
    return file;
  }
  Elf* get() const { return elf_.get(); }

  std::string_view section(std::string_view wanted) const {
    std::size_t names = 0;
    if (::elf_getshdrstrndx(get(), &names) != 0) return {};
    for (Elf_Scn* at = ::elf_nextscn(get(), nullptr); at != nullptr;
         at = ::elf_nextscn(get(), at)) {
      GElf_Shdr header;
      if (::gelf_getshdr(at, &header) == nullptr) continue;
      const char* name = ::elf_strptr(get(), names, header.sh_name);
      if (name == nullptr || name != wanted) continue;
      const Elf_Data* data = ::elf_getdata(at, nullptr);
      if (data == nullptr || data->d_buf == nullptr) return {};
      return {static_cast<const char*>(data->d_buf), data->d_size};
    }
    return {};
  }

 private:
  struct End {
    void operator()(Elf* elf) const { ::elf_end(elf); }
  };
  explicit ElfFile(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
  std::unique_ptr<Elf, End> elf_;  // reads from fd_
};

}  // namespace

Result<ModuleFile> read_module_file(const std::filesystem::path& path) {
  LKM_TRY(const auto file, ElfFile::open(path));
  ModuleFile module;
  // "key=value" strings, each ended by one or more NULs.
  for (std::string_view info = file.section(".modinfo"); !info.empty();) {
    const std::string_view entry = info.substr(0, info.find('\0'));
    info.remove_prefix(std::min(info.size(), entry.size() + 1));
    const std::size_t equals = entry.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view key = entry.substr(0, equals);
    std::string value(entry.substr(equals + 1));
    if (key == "name") module.name = std::move(value);
    if (key == "vermagic") module.vermagic = std::move(value);
    if (key != "depends") continue;
    std::replace(value.begin(), value.end(), '-', '_');
    for (std::size_t at = 0; at < value.size();) {
      const std::size_t comma = std::min(value.find(',', at), value.size());
      module.depends.push_back(value.substr(at, comma - at));
      at = comma + 1;
    }
  }
  if (module.name.empty() || module.vermagic.empty()) {
    return fail(ENOEXEC, "read '{}': no kernel module", path.string());
  }
  return module;
}

Result<std::string> read_build_id(const std::filesystem::path& path) {
  LKM_TRY(const auto file, ElfFile::open(path));
  const void* bytes = nullptr;
  const ssize_t length = ::dwelf_elf_gnu_build_id(file.get(), &bytes);
  std::string id;
  for (ssize_t i = 0; i < length; ++i) {
    id += fmt::format("{:02x}", static_cast<const unsigned char*>(bytes)[i]);
  }
  return id;
}

}  // namespace lkm
