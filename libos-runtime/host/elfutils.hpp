// SPDX-License-Identifier: GPL-2.0
//
// What elfutils hands out, let go of at the end of a scope.
#pragma once

#include <elfutils/libdw.h>

#include <memory>

namespace lkm {

struct EndElf {
  void operator()(Elf* elf) const { ::elf_end(elf); }
};
struct EndDwarf {
  void operator()(Dwarf* dwarf) const { ::dwarf_end(dwarf); }
};

}  // namespace lkm
