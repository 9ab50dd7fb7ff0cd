// SPDX-License-Identifier: GPL-2.0
//
// What verbs share that talk to a running stack.
#pragma once

#include "toolkit/control/client.hpp"
#include "tools/lkm-run/arguments.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {

/// The state folder that --name means. Errors: EINVAL for a bad name.
Result<control::StateFolder> state_folder(const Arguments& arguments);

/// A connection to the stack that --name means.
Result<control::Client> connect(const Arguments& arguments);

/// "[    1.234567] text", painted by its level for stderr (&Terminal::err) or stdout (&Terminal::out).
std::string log_line(const Terminal& terminal, const Json& record,
                     std::string (Terminal::*paint)(Paint, std::string_view) const = &Terminal::err);

/// Calls a method and shows the kernel's log lines that come with it.
Result<Json> call(control::Client& client, Terminal& terminal, const std::string& method, Json params);

/// "mycc@3" of a module.
std::string generation_name(const Json& module);

/// "alpha=3 beta='x y'" from operands PARAM=VALUE, as the kernel reads them (kernel/params.c).
/// Errors (without a code): an operand that is none.
Result<std::string> module_parameters(const std::vector<std::string>& operands, std::size_t from);

}  // namespace lkm::cli
