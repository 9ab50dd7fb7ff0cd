// SPDX-License-Identifier: GPL-2.0
//
// What a module holds, as ls --ledger and the key l of watch show it.
#pragma once

#include <string>
#include <vector>

#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {

/// Rows of Terminal::table(), the heading first, of the answer to the method "ledger".
std::vector<std::vector<std::string>> ledger_rows(const Json& ledger);

/// Prints them, or that there is nothing.
void show_ledger(const Terminal& terminal, const std::string& name, const Json& ledger);

}  // namespace lkm::cli
