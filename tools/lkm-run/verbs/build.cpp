// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/units.hpp"
#include "tools/lkm-run/image.hpp"
#include "tools/lkm-run/interrupt.hpp"
#include "tools/lkm-run/module_source.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  std::filesystem::path kernel = arguments.value("kernel");
  if (kernel.empty()) {
    LKM_TRY(kernel, present_image());
  }
  LKM_TRY(const auto home, home_folder());
  LKM_TRY(auto build, ModuleBuild::open({.folder = arguments.operand(0),
                                         .kernel = kernel,
                                         .work = cache_folder() / "builds",
                                         .plugins = cache_folder() / "plugins",
                                         .linker = home / "Kbuild" / "plugin"}));
  LKM_TRY(const auto interrupt, Interrupt::block());
  const auto started = std::chrono::steady_clock::now();
  const auto built =
      build.run([&](std::string_view line) { terminal.note(line.substr(0, line.size() - 1)); },
                interrupt.fd());
  if (!built) return explain(terminal, built.error());
  const std::chrono::nanoseconds duration = std::chrono::steady_clock::now() - started;
  for (const BuiltModule& module : built->modules) {
    const std::string file = module.plugin.empty() ? module.ko : module.plugin;
    if (terminal.json()) {
      terminal.object({{"built",
                        {{"name", module.name},
                         {"ko", module.ko.string()},
                         {"plugin", module.plugin.string()},
                         {"build_id", module.build_id},
                         {"build_ns", duration.count()}}}});
    } else {
      terminal.line(file);
    }
  }
  terminal.note(terminal.err(Paint::kDim, fmt::format("built in {}", format_duration(duration))));
  return kDone;
}

}  // namespace

extern const Verb kBuild;
const Verb kBuild = {
    .name = "build",
    .summary = "build a module folder",
    .operands = "DIR",
    .description =
        "Runs the kernel's own Kbuild on an ordinary module folder (a Kbuild or Makefile that sets "
        "obj-m), links the result into a plugin, and prints the plugin's path. The folder itself stays "
        "clean but for compile_commands.json, which clangd reads. What the compiler says is shown as it "
        "says it; exit status 3 when it refuses.",
    .options = {{.name = "kernel", .letter = 'k', .value = "DIR",
                 .help = "build for this library kernel, or for a distribution's "
                         "/lib/modules/VERSION/build (default: the one of lkm-run up)"}},
    .examples = {{"lkm-run build mycc", "for the library kernel"},
                 {"lkm-run build mycc -k /lib/modules/$(uname -r)/build", "for the running host"}},
    .least = 1,
    .most = 1,
    .complete = Operand::kFolder,
    .run = run,
};

}  // namespace lkm::cli
