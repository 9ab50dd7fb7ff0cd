// SPDX-License-Identifier: GPL-2.0
//
// All texts that are made from the table of verbs.
#pragma once

#include <string>

#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {

/// `lkm-run -h`: the verbs.
std::string short_help();
/// `lkm-run --help`.
std::string long_help();
/// `lkm-run VERB -h`: usage and options.
std::string short_help(const Verb& verb);
/// `lkm-run VERB --help`: that, what it does, and EXAMPLES.
std::string long_help(const Verb& verb);
/// The man page lkm-run(1), in man(7) macros.
std::string man_page();
/// A completion script. `shell` is bash, zsh or fish.
std::string completion_script(std::string_view shell);

}  // namespace lkm::cli
