// SPDX-License-Identifier: GPL-2.0
//
// Whatever stands in .cmd and modules.order files, the parsers give something that their users can
// take: names of modules, a source file. And any source's preamble is lines of directives.
#include <cstdint>
#include <cstdlib>

#include "toolkit/build/kbuild_files.hpp"
#include "toolkit/build/preamble.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto step = lkm::parse_cmd(text)) {
    if (step->source.extension() != ".c" && step->source.extension() != ".S") std::abort();
    if (step->command.find('\n') != std::string::npos) std::abort();
  }
  for (const auto& module : lkm::parse_modules_order(text, "/m")) {
    if (module.extension() != ".ko" || !module.is_absolute()) std::abort();
  }
  lkm::saved_command(text);
  for (const auto& file : lkm::saved_dependencies(text)) {
    if (file.native().find('\n') != std::string::npos) std::abort();
  }
  const std::string preamble = lkm::preamble_of(text);
  if (!preamble.empty() && (preamble.front() != '#' || preamble.back() != '\n')) std::abort();
  return 0;
}
