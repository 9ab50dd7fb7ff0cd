// SPDX-License-Identifier: GPL-2.0
//
// A file that calls itself a plugin is refused or read, whatever it holds.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "libos-runtime/host/plugin_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of its own, aligned as a mapping is: a read past its end is found.
  const std::vector<std::uint8_t> file(data, data + size);
  const auto facts = lkm::parse_plugin(std::as_bytes(std::span(file)), "fuzz.so");
  if (facts && facts->name.empty()) std::abort();
  if (!facts && (facts.error().what().empty() || facts.error().hint().empty())) std::abort();
  return 0;
}
