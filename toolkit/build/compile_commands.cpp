// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/compile_commands.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "toolkit/base/file.hpp"
#include "toolkit/build/kbuild_files.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;

// What gcc takes and clang calls an unknown argument, in x86 and library kernels of 6.1 to 6.12.
constexpr std::string_view kGccOnly[] = {
    "-fconserve-stack",          "-fmin-function-alignment=",   "-fno-allow-store-data-races",
    "-ftrivial-auto-var-init=",  // clang before 16 wants another option beside it
    "-fzero-init-padding-bits=", "-mfunction-return=",          "-mindirect-branch",
    "-mno-fp-ret-in-387",        "-mpreferred-stack-boundary=", "-mrecord-mcount",
    "-mskip-rax-setup",
};
// What is about the build in the copy, not about the source.
constexpr std::string_view kOfTheBuild[] = {"-Wp,-MMD,", "-ffile-prefix-map="};

bool is_for_clangd(std::string_view word) {
  const auto begins = [&](std::string_view option) { return word.starts_with(option); };
  return !word.empty() && std::none_of(std::begin(kGccOnly), std::end(kGccOnly), begins) &&
         std::none_of(std::begin(kOfTheBuild), std::end(kOfTheBuild), begins);
}

// Kbuild quotes macro definitions, which may have blanks in them; an option to be dropped is always
// a word of its own.
std::string for_clangd(std::string_view command) {
  std::string kept;
  while (!command.empty()) {
    const std::string_view word = command.substr(0, command.find(' '));
    command.remove_prefix(std::min(command.size(), word.size() + 1));
    if (!is_for_clangd(word)) continue;
    if (!kept.empty()) kept += ' ';
    kept += word;
  }
  return kept;
}

}  // namespace

Result<void> write_compile_commands(const Mirror& mirror, const Kernel& kernel) {
  auto commands = nlohmann::json::array();
  std::vector<fs::path> notes;
  std::error_code error;
  for (fs::recursive_directory_iterator it(mirror.folder(), error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename();
    if (name.starts_with(".") && name.ends_with(".o.cmd")) notes.push_back(it->path());
  }
  if (error) return fail(error.value(), "list the folder '{}'", mirror.folder().string());
  std::sort(notes.begin(), notes.end());
  for (const auto& note : notes) {
    LKM_TRY(const std::string text, read_file(note));
    const auto step = parse_cmd(text);
    if (!step) continue;
    const fs::path source = mirror.as_user_sees(step->source.native());
    // Not a source of the user's: the *.mod.c that modpost makes, or a file that was removed.
    if (source == step->source || !fs::exists(source, error)) continue;
    commands.push_back({{"directory", kernel.build.native()},
                        {"command", for_clangd(mirror.as_user_sees(step->command))},
                        {"file", source.native()}});
  }
  const fs::path path = mirror.source() / "compile_commands.json";
  const std::string text =
      commands.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  const auto before = read_file(path);
  if (before && *before == text) return {};
  return replace_file(path, text);
}

}  // namespace lkm
