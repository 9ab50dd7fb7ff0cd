// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/image.hpp"

#include <poll.h>

#include <algorithm>
#include <cstdlib>

#include "toolkit/base/child.hpp"
#include "tools/lkm-run/interrupt.hpp"

namespace lkm::cli {
namespace fs = std::filesystem;
namespace {

bool is_image(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "libos.so", ignored) && fs::is_directory(folder / "build", ignored);
}

std::string trimmed(std::string text) {
  text.erase(std::find_if_not(text.rbegin(), text.rend(), [](unsigned char c) { return std::isspace(c); })
                 .base(),
             text.end());
  return text;
}

// The image that the user named, if any.
Result<fs::path> named_image(const std::string& wanted) {
  const char* variable = std::getenv("LKM_RUN_IMAGE");
  const std::string name = !wanted.empty() ? wanted : variable ? variable : "";
  if (name.empty()) return fs::path();
  if (!is_image(name)) {
    return fail_hint(ENOENT, "give a folder that Kbuild/kernel printed, or none", "no image in '{}'",
                     name);
  }
  return fs::absolute(name);
}

}  // namespace

fs::path cache_folder() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value ? value : "";
  };
  if (const auto cache = variable("LKM_RUN_CACHE"); !cache.empty()) return cache;
  if (const auto cache = variable("XDG_CACHE_HOME"); !cache.empty()) return fs::path(cache) / "lkm-run";
  return fs::path(variable("HOME")) / ".cache" / "lkm-run";
}

Result<fs::path> home_folder() {
  std::error_code ignored;
  const auto has_scripts = [&](const fs::path& folder) {
    return fs::exists(folder / "Kbuild" / "kernel", ignored);
  };
  if (const char* home = std::getenv("LKM_RUN_HOME"); home && *home) {
    if (has_scripts(home)) return fs::absolute(home);
    return fail(ENOENT, "LKM_RUN_HOME: no Kbuild/kernel in '{}'", home);
  }
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  const fs::path installed = program.parent_path().parent_path() / "share" / "lkm-run";
  if (has_scripts(installed)) return installed;
  if (has_scripts(LKM_RUN_SOURCE_DIR)) return fs::path(LKM_RUN_SOURCE_DIR);
  return Failure(Error({}, "Kbuild/kernel is neither beside the program nor in its source tree")
                     .with_hint("set LKM_RUN_HOME to the folder that has Kbuild/ in it"));
}

Result<ImagePlace> find_image(const std::string& wanted) {
  LKM_TRY(const auto named, named_image(wanted));
  if (!named.empty()) return ImagePlace{named, true};
  LKM_TRY(const auto home, home_folder());
  LKM_TRY(auto child, Child::spawn({.argv = {home / "Kbuild" / "kernel", "--print-key"},
                                    .out = Child::Output::kPipe,
                                    .err = Child::Output::kWithOut}));
  LKM_TRY(const std::string text, child.read_all());
  LKM_TRY(const ExitStatus status, child.wait());
  if (!status.success()) return Failure(Error({}, trimmed(text)).with_hint("lkm-run doctor"));
  const fs::path path = cache_folder() / "images" / trimmed(text);
  return ImagePlace{path, is_image(path)};
}

Result<ImageOutcome> make_image(const std::string& wanted) {
  LKM_TRY(const auto named, named_image(wanted));
  if (!named.empty()) return ImageOutcome{named, 0};
  LKM_TRY(const auto home, home_folder());
  LKM_TRY(auto interrupt, Interrupt::block());
  LKM_TRY(auto child,
          Child::spawn({.argv = {home / "Kbuild" / "kernel"}, .out = Child::Output::kPipe}));
  LKM_TRY(const auto woken, interrupt.wait(child.pidfd(), POLLIN));
  if (woken == Interrupt::Woken::kBySignal) {
    // The script keeps what was compiled, says so, and ends.
    LKM_TRY(const ExitStatus status, child.stop(std::chrono::seconds(10)));
    (void)status;
    return ImageOutcome{{}, 130};
  }
  LKM_TRY(const ExitStatus status, child.wait());
  if (!status.success()) return ImageOutcome{{}, status.code};
  LKM_TRY(const std::string text, child.read_all());
  return ImageOutcome{trimmed(text), 0};
}

Result<fs::path> present_image() {
  LKM_TRY(const ImagePlace place, find_image(""));
  if (place.present) return place.path;
  return Failure(Error({}, "the library kernel is not built yet").with_hint("lkm-run up"));
}

}  // namespace lkm::cli
