// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/run.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "toolkit/base/log.hpp"
#include "tools/lkm-run/help.hpp"
#include "tools/lkm-run/suggest.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Terminal::Color color_of(const std::string& text) {
  if (text == "always") return Terminal::Color::kAlways;
  if (text == "never") return Terminal::Color::kNever;
  return Terminal::Color::kAuto;
}

// Where the verb stands: the first word that is no option and no option's value.
std::size_t verb_place(const std::vector<std::string>& words) {
  std::size_t i = 0;
  while (i < words.size() && words[i].starts_with('-')) {
    const bool takes_value = std::ranges::any_of(global_options(), [&](const Option& option) {
      return !option.value.empty() && (words[i] == fmt::format("--{}", option.name) ||
                                       (option.letter && words[i] == fmt::format("-{}", option.letter)));
    });
    i += takes_value ? 2 : 1;
  }
  return std::min(i, words.size());
}

int without_verb(const std::vector<std::string>& words, Terminal& terminal) {
  for (const std::string& word : words) {
    if (word == "--help") {
      terminal.text(long_help());
      return kDone;
    }
    if (word == "-h") {
      terminal.text(short_help());
      return kDone;
    }
    if (word == "--version") {
      terminal.line("lkm-run " LKM_RUN_VERSION);
      return kDone;
    }
    terminal.error(Error({}, fmt::format("'{}' needs a verb after it", word)).with_hint("lkm-run -h"));
    return kUsage;
  }
  const std::string help = short_help();
  terminal.note(std::string_view(help).substr(0, help.size() - 1));  // a note is a line
  return kUsage;
}

int run_words(const std::vector<std::string>& all_words, Terminal& plain) {
  if (auto configured = log::configure_from_environment(); !configured) {
    plain.error(configured.error());
    return kUsage;
  }

  std::vector<std::string> words = all_words;
  const std::size_t place = verb_place(words);
  if (place == words.size()) return without_verb(words, plain);
  const std::string name = words[place];
  words.erase(words.begin() + static_cast<std::ptrdiff_t>(place));

  const Verb* verb = find_verb(name);
  if (!verb) {
    std::vector<std::string_view> names;
    for (const Verb* known : all_verbs()) names.push_back(known->name);
    const auto near = nearest(name, names);
    plain.error(Error({}, fmt::format("no verb '{}'", name))
                    .with_hint(near ? fmt::format("did you mean 'lkm-run {}'?", *near) : "lkm-run -h"));
    return kUsage;
  }

  const auto arguments = parse_arguments(*verb, words);
  if (!arguments) {
    plain.error(arguments.error());
    return kUsage;
  }
  if (arguments->has("help") || arguments->has("usage")) {
    plain.text(arguments->has("help") ? long_help(*verb) : short_help(*verb));
    return kDone;
  }
  Terminal terminal(color_of(arguments->value("color")), arguments->has("json"));
  const auto code = verb->run(*arguments, terminal);
  if (code) return *code;
  terminal.error(code.error());
  return kFailed;
}

}  // namespace

int run(const std::vector<std::string>& words) {
  // A reader that went away is an error of write(2), seen where it matters.
  std::signal(SIGPIPE, SIG_IGN);
  Terminal plain(Terminal::Color::kAuto, false);
  try {
    return run_words(words, plain);
  } catch (const OutputLost& lost) {
    if (lost.errno_value != EPIPE) plain.error(fail(lost.errno_value, "write to stdout").value());
    return kFailed;
  }
}

}  // namespace lkm::cli
