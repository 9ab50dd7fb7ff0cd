// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/help.hpp"

#include <algorithm>

namespace lkm::cli {
namespace {

constexpr std::size_t kColumns = 80;

constexpr std::string_view kAbout =
    "Runs a real Linux network stack as a process, loads kernel modules into it, and takes a new "
    "build of a module under live connections.";

constexpr std::string_view kExitCodes[][2] = {
    {"0", "done"},
    {"1", "failed"},
    {"2", "the command line is wrong"},
    {"3", "a build failed"},
    {"4", "a swap failed; the old generation serves on"},
    {"5", "this machine lacks something; lkm-run doctor tells what"},
    {"130", "interrupted"},
};

constexpr std::string_view kVariables[][2] = {
    {"LKM_RUN_IMAGE", "the library kernel to use: a folder that Kbuild/kernel made"},
    {"LKM_RUN_HOME", "where the Kbuild/ scripts are, if not beside the program"},
    {"LKM_RUN_CACHE", "where library kernels are built and kept (~/.cache/lkm-run)"},
    {"LKM_RUN_LOG", "what the program tells of its own work: \"debug\", \"warning,watch=debug\""},
    {"XDG_RUNTIME_DIR", "where sockets, logs and mounts of stacks are, in lkm-run/"},
    {"NO_COLOR", "if set, nothing is coloured"},
};

std::vector<std::string_view> paragraphs(std::string_view text) {
  std::vector<std::string_view> list;
  while (!text.empty()) {
    const std::size_t end = text.find("\n\n");
    list.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 2);
  }
  return list;
}

// Breaks a paragraph into lines that begin with `indent` blanks.
std::string wrap(std::string_view text, std::size_t indent) {
  std::string out;
  std::size_t column = 0;
  while (!text.empty()) {
    const std::size_t end = text.find_first_of(" \n");
    const std::string_view word = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (word.empty()) continue;
    if (column > 0 && column + 1 + word.size() > kColumns) {
      out += '\n';
      column = 0;
    }
    if (column == 0) {
      out.append(indent, ' ');
      column = indent;
    } else {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out + "\n";
}

std::string usage(const Verb& verb) {
  return fmt::format("lkm-run {} [OPTION]...{}{}", verb.name, verb.operands.empty() ? "" : " ",
                     verb.operands);
}

std::string spelling(const Option& option) {
  return fmt::format("{}--{}{}{}", option.letter ? fmt::format("-{}, ", option.letter) : "    ",
                     option.name, option.value.empty() ? "" : " ", option.value);
}

std::string option_list(const std::vector<Option>& options) {
  std::string out;
  for (const Option& option : options) {
    if (option.hidden) continue;
    const std::string text = wrap(option.help, 28);
    out += fmt::format("  {:<25} {}", spelling(option), text.substr(28));
  }
  return out;
}

std::string verb_list() {
  std::string out;
  for (const Verb* verb : all_verbs()) out += fmt::format("  {:<11} {}\n", verb->name, verb->summary);
  return out;
}

// Escapes for man(7): the backslash, the minus that is to be copied, and dots at a line's start.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (out.empty() && (c == '.' || c == '\'')) {
      out += "\\&";
      out += c;
    } else {
      out += c;
    }
  }
  return out;
}

std::string roff_paragraph(std::string_view text) {
  std::string joined(text);
  std::ranges::replace(joined, '\n', ' ');
  return roff(joined) + "\n";
}

std::string roff_options(const std::vector<Option>& options) {
  std::string out;
  for (const Option& option : options) {
    if (option.hidden) continue;
    out += ".TP\n";
    if (option.letter) out += fmt::format("\\fB\\-{}\\fR, ", option.letter);
    out += fmt::format("\\fB\\-\\-{}\\fR", roff(option.name));
    if (!option.value.empty()) out += fmt::format(" \\fI{}\\fR", roff(option.value));
    out += "\n" + roff_paragraph(option.help);
  }
  return out;
}

}  // namespace

std::string short_help() {
  return fmt::format("Usage: lkm-run VERB [OPTION]... [OPERAND]...\n\n{}\nMore: lkm-run --help, "
                     "lkm-run VERB --help\n",
                     verb_list());
}

std::string long_help() {
  std::string out = fmt::format("Usage: lkm-run VERB [OPTION]... [OPERAND]...\n\n{}\nVERBS\n{}\n"
                                "OPTIONS of every verb\n{}\nENVIRONMENT\n",
                                wrap(kAbout, 0), verb_list(), option_list(global_options()));
  for (const auto& [name, what] : kVariables) out += fmt::format("  {:<16} {}\n", name, what);
  out += "\nEXIT STATUS\n";
  for (const auto& [code, what] : kExitCodes) out += fmt::format("  {:<4} {}\n", code, what);
  out +=
      "\nEXAMPLES\n"
      "  lkm-run up                    boot a stack\n"
      "  lkm-run new cc mycc           write a congestion control to begin with\n"
      "  lkm-run watch mycc            build, load, and swap it at every save\n"
      "  lkm-run flow --cc mycc        send through it, and verify each byte\n"
      "  cat $(lkm-run mount)/proc/net/tcp\n"
      "  lkm-run down\n";
  return out;
}

std::string short_help(const Verb& verb) {
  return fmt::format("Usage: {}\n{}\n\n{}{}\nMore: lkm-run {} --help\n", usage(verb), verb.summary,
                     option_list(verb.options), option_list(global_options()), verb.name);
}

std::string long_help(const Verb& verb) {
  std::string out = fmt::format("Usage: {}\n{}\n", usage(verb), verb.summary);
  for (const auto paragraph : paragraphs(verb.description)) out += "\n" + wrap(paragraph, 0);
  out += fmt::format("\nOPTIONS\n{}{}", option_list(verb.options), option_list(global_options()));
  out += "\nEXAMPLES\n";
  std::size_t width = 0;
  for (const Example& example : verb.examples) width = std::max(width, example.command.size());
  for (const Example& example : verb.examples) {
    out += fmt::format("  {:<{}}  {}\n", example.command, width, example.what);
  }
  return out;
}

std::string man_page() {
  std::string out = fmt::format(
      ".TH LKM\\-RUN 1 \"\" \"lkm\\-run {}\" \"User Commands\"\n"
      ".SH NAME\nlkm\\-run \\- a Linux network stack in a process, with modules swapped live\n"
      ".SH SYNOPSIS\n\\fBlkm\\-run\\fR \\fIVERB\\fR [\\fIOPTION\\fR]... [\\fIOPERAND\\fR]...\n"
      ".SH DESCRIPTION\n{}"
      ".SH OPTIONS\nOf every verb:\n{}.SH VERBS\n",
      LKM_RUN_VERSION, roff_paragraph(kAbout), roff_options(global_options()));
  for (const Verb* verb : all_verbs()) {
    out += fmt::format(".SS \"{}\"\n{}.\n", roff(usage(*verb)), roff(verb->summary));
    for (const auto paragraph : paragraphs(verb->description)) {
      out += ".PP\n" + roff_paragraph(paragraph);
    }
    out += roff_options(verb->options);
    for (const Example& example : verb->examples) {
      out += fmt::format(".TP\n\\fB{}\\fR\n{}", roff(example.command), roff_paragraph(example.what));
    }
  }
  out += ".SH ENVIRONMENT\n";
  for (const auto& [name, what] : kVariables) {
    out += fmt::format(".TP\n\\fB{}\\fR\n{}", roff(name), roff_paragraph(what));
  }
  out += ".SH EXIT STATUS\n";
  for (const auto& [code, what] : kExitCodes) {
    out += fmt::format(".TP\n\\fB{}\\fR\n{}", code, roff_paragraph(what));
  }
  return out;
}

}  // namespace lkm::cli
