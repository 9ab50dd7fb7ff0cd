// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/module_template.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  const std::filesystem::path folder = arguments.operand(1);
  const std::string name = folder.filename();
  if (const auto good = check_module_name(name); !good) {
    terminal.error(good.error());
    return kUsage;
  }
  LKM_CHECK(write_cc_module(folder, name));
  if (terminal.json()) {
    terminal.object({{"new", {{"name", name}, {"folder", folder.string()}}}});
  } else {
    for (const TemplateFile& file : cc_template()) {
      terminal.line(place_of(file, folder, name).string());
    }
  }
  terminal.note(terminal.err(Paint::kDim, fmt::format("Next: lkm-run test {0}, lkm-run watch {0}", folder.string())));
  return kDone;
}

}  // namespace

extern const Verb kNew;
const Verb kNew = {
    .name = "new",
    .summary = "write a module to begin with",
    .operands = "cc [DIR/]NAME",
    .description =
        "Makes the folder NAME with a small, commented TCP congestion control (cc) that works, and the "
        "files that build it for a stack and for a distribution's kernel, and a test of it in virtual time "
        "(lkm-run test). NAME becomes the name of the "
        "module and of the congestion control, so it must be one in C, of up to 15 letters. What exists "
        "is never overwritten.",
    .options = {},
    .examples = {{"lkm-run new cc mycc", "mycc/mycc.c, its Kbuild, and mycc/tests"}},
    .least = 2,
    .most = 2,
    .words = {"cc"},
    .run = run,
};

}  // namespace lkm::cli
