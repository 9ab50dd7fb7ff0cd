// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/stack_client.hpp"

#include <algorithm>

namespace lkm::cli {

Result<control::StateFolder> state_folder(const Arguments& arguments) {
  return control::StateFolder::of(arguments.value("name", "default"));
}

Result<control::Client> connect(const Arguments& arguments) {
  LKM_TRY(const auto folder, state_folder(arguments));
  return control::Client::connect(folder);
}

std::string log_line(const Terminal& terminal, const Json& record,
                     std::string (Terminal::*paint)(Paint, std::string_view) const) {
  const auto at_us = record.value("at_us", std::int64_t{0});
  const auto level = record.value("level", 6);
  const std::string text = fmt::format("[{:5}.{:06}] {}", at_us / 1'000'000, at_us % 1'000'000,
                                       record.value("text", std::string()));
  return (terminal.*paint)(level <= 3   ? Paint::kBad
                           : level == 4 ? Paint::kNotice
                                        : Paint::kNone,
                           text);
}

Result<Json> call(control::Client& client, Terminal& terminal, const std::string& method, Json params) {
  return client.call(method, std::move(params), [&](const Json& event) {
    if (const auto record = event.find("log"); record != event.end()) {
      terminal.note(log_line(terminal, *record));
    }
  });
}

std::string generation_name(const Json& module) {
  const std::string name = module.value("name", std::string());
  // A retired one goes by both already.
  return name.find('@') != std::string::npos ? name : fmt::format("{}@{}", name, module.value("generation", 0u));
}

Result<std::string> module_parameters(const std::vector<std::string>& operands, std::size_t from) {
  std::string text;
  for (std::size_t i = from; i < operands.size(); ++i) {
    const std::string& operand = operands[i];
    const std::size_t equals = operand.find('=');
    if (equals == 0 || equals == std::string::npos ||
        operand.find_first_of(" \t\n\"") < equals) {
      return Failure(Error({}, fmt::format("'{}' is no module parameter", operand))
                         .with_hint("write PARAM=VALUE, for example alpha=3"));
    }
    const std::string value = operand.substr(equals + 1);
    if (value.find('"') != std::string::npos) {
      return Failure(Error({}, fmt::format("'{}': a module parameter cannot hold a '\"'", operand)));
    }
    const bool quote = value.find_first_of(" \t\n") != std::string::npos;
    text += fmt::format("{}{}={}{}{}", text.empty() ? "" : " ", operand.substr(0, equals),
                        quote ? "\"" : "", value, quote ? "\"" : "");
  }
  return text;
}

}  // namespace lkm::cli
