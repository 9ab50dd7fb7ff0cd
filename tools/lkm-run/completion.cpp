// SPDX-License-Identifier: GPL-2.0
//
// Completion scripts for the shells, from the table of verbs.
#include <functional>

#include "tools/lkm-run/help.hpp"

namespace lkm::cli {
namespace {

std::string join(const std::vector<std::string>& words, std::string_view between) {
  return fmt::format("{}", fmt::join(words, between));
}

std::vector<const Option*> visible_options(const Verb& verb) {
  std::vector<const Option*> options;
  for (const auto* list : {&verb.options, &global_options()}) {
    for (const Option& option : *list) {
      if (!option.hidden) options.push_back(&option);
    }
  }
  return options;
}

// Single quotes for sh and fish; what is quoted here holds no backslash.
std::string quote(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string bash_verb(const Verb& verb) {
  std::vector<std::string> options;
  std::string values;
  for (const Option* option : visible_options(verb)) {
    options.push_back(fmt::format("--{}", option->name));
    if (option->letter) options.push_back(fmt::format("-{}", option->letter));
    if (option->value.empty()) continue;
    const std::string pattern =
        option->letter ? fmt::format("--{}|-{}", option->name, option->letter)
                       : fmt::format("--{}", option->name);
    values += fmt::format("        {}) COMPREPLY=($(compgen {} -- \"$word\")); return ;;\n", pattern,
                          option->choices.empty()
                              ? std::string("-f")
                              : fmt::format("-W '{}'", fmt::join(option->choices, " ")));
  }
  std::string operands = ":";
  if (!verb.words.empty()) {
    operands = fmt::format("COMPREPLY=($(compgen -W '{}' -- \"$word\"))", fmt::join(verb.words, " "));
  } else if (verb.complete != Operand::kNothing) {
    operands = fmt::format("COMPREPLY=($(compgen -{} -- \"$word\"))",
                           verb.complete == Operand::kFolder ? 'd' : 'f');
  }
  return fmt::format(
      "    {})\n      case $before in\n{}      esac\n      case $word in\n"
      "        -*) COMPREPLY=($(compgen -W '{}' -- \"$word\")) ;;\n        *) {} ;;\n      esac ;;\n",
      verb.name, values, join(options, " "), operands);
}

std::string bash() {
  std::vector<std::string> names;
  std::string cases;
  for (const Verb* verb : all_verbs()) {
    names.emplace_back(verb->name);
    cases += bash_verb(*verb);
  }
  return fmt::format(
      "# bash completion for lkm-run\n"
      "_lkm_run() {{\n"
      "  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}\n"
      "  COMPREPLY=()\n"
      "  if ((COMP_CWORD == 1)); then\n"
      "    COMPREPLY=($(compgen -W '{}' -- \"$word\"))\n"
      "    return\n"
      "  fi\n"
      "  case ${{COMP_WORDS[1]}} in\n{}  esac\n"
      "}}\n"
      "complete -o filenames -F _lkm_run lkm-run\n",
      join(names, " "), cases);
}

// In an _arguments specification colons and brackets part the fields.
std::string zsh_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ':' || c == '[' || c == ']') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_verb(const Verb& verb) {
  std::string out = fmt::format("    {})\n      _arguments", verb.name);
  for (const Option* option : visible_options(verb)) {
    const std::string value =
        option->value.empty() ? ""
        : option->choices.empty()
            ? fmt::format(":{}:_files", zsh_text(option->value))
            : fmt::format(":{}:({})", zsh_text(option->value), fmt::join(option->choices, " "));
    out += " \\\n        " +
           quote(fmt::format("--{}[{}]{}", option->name, zsh_text(option->help), value));
    if (option->letter) {
      out += " \\\n        " +
             quote(fmt::format("-{}[{}]{}", option->letter, zsh_text(option->help), value));
    }
  }
  if (!verb.words.empty()) {
    out += " \\\n        " + quote(fmt::format("1:what:({})", fmt::join(verb.words, " ")));
  } else if (verb.complete != Operand::kNothing) {
    out += fmt::format(" \\\n        '*:{}", verb.complete == Operand::kFolder ? "folder:_files -/'"
                                                                               : "file:_files'");
  }
  return out + " ;;\n";
}

std::string zsh() {
  std::string verbs;
  std::string cases;
  for (const Verb* verb : all_verbs()) {
    verbs += fmt::format("    {}\n", quote(fmt::format("{}:{}", verb->name, zsh_text(verb->summary))));
    cases += zsh_verb(*verb);
  }
  return fmt::format(
      "#compdef lkm-run\n"
      "_lkm_run() {{\n"
      "  local -a verbs=(\n{}  )\n"
      "  if ((CURRENT == 2)); then\n"
      "    _describe verb verbs\n"
      "    return\n"
      "  fi\n"
      "  local verb=$words[2]\n"
      "  words=(\"${{(@)words[2,-1]}}\")\n"
      "  ((CURRENT--))\n"
      "  case $verb in\n{}  esac\n"
      "}}\n"
      "compdef _lkm_run lkm-run\n",
      verbs, cases);
}

std::string fish() {
  std::string out =
      "# fish completion for lkm-run\n"
      "complete -c lkm-run -f\n";
  for (const Verb* verb : all_verbs()) {
    out += fmt::format("complete -c lkm-run -n __fish_use_subcommand -a {} -d {}\n", verb->name,
                       quote(verb->summary));
    const std::string seen =
        fmt::format("complete -c lkm-run -n '__fish_seen_subcommand_from {}'", verb->name);
    for (const Option* option : visible_options(*verb)) {
      out += fmt::format("{} -l {}", seen, option->name);
      if (option->letter) out += fmt::format(" -s {}", option->letter);
      if (!option->choices.empty()) {
        out += fmt::format(" -x -a {}", quote(fmt::format("{}", fmt::join(option->choices, " "))));
      } else if (!option->value.empty()) {
        out += " -r";
      }
      out += fmt::format(" -d {}\n", quote(option->help));
    }
    if (!verb->words.empty()) {
      out += fmt::format("{} -a {}\n", seen, quote(fmt::format("{}", fmt::join(verb->words, " "))));
    } else if (verb->complete == Operand::kFolder) {
      out += fmt::format("{} -a '(__fish_complete_directories)'\n", seen);
    } else if (verb->complete == Operand::kFile) {
      out += fmt::format("{} -F\n", seen);
    }
  }
  return out;
}

}  // namespace

std::string completion_script(std::string_view shell) {
  if (shell == "zsh") return zsh();
  if (shell == "fish") return fish();
  return bash();
}

}  // namespace lkm::cli
