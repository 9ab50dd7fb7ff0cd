// SPDX-License-Identifier: GPL-2.0
//
// A file that calls itself a kernel module is refused or read, whatever it holds.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "toolkit/base/unique_fd.hpp"
#include "toolkit/build/module_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const lkm::UniqueFd file(::memfd_create("module", MFD_CLOEXEC));
  const std::string path = "/proc/self/fd/" + std::to_string(file.get());
  if (::ftruncate(file.get(), 0) != 0 ||
      ::pwrite(file.get(), data, size, 0) != static_cast<ssize_t>(size)) {
    std::abort();
  }
  const auto module = lkm::read_module_file(path);
  if (module && (module->name.empty() || module->vermagic.empty())) std::abort();
  const auto build_id = lkm::read_build_id(path);
  if (build_id && build_id->size() % 2 != 0) std::abort();
  return 0;
}
