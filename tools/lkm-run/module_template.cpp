// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/module_template.hpp"

#include <sys/stat.h>

#include <algorithm>

#include "toolkit/base/defer.hpp"
#include "toolkit/base/file.hpp"

namespace lkm::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kLongestName = 15;  // TCP_CA_NAME_MAX - 1 (include/net/tcp.h)

constexpr std::string_view kKeywords[] = {
    "auto",   "break",  "case",     "char",   "const",    "continue", "default",  "do",     "double",
    "else",   "enum",   "extern",   "float",  "for",      "goto",     "if",       "inline", "int",
    "long",   "register", "restrict", "return", "short",  "signed",   "sizeof",   "static", "struct",
    "switch", "typedef", "union",   "unsigned", "void",   "volatile", "while"};

// Controls of the kernel itself: a second one of the name cannot be registered.
constexpr std::string_view kKernelControls[] = {
    "reno",   "cubic",  "bic",  "westwood", "htcp",  "hybla", "vegas", "veno", "scalable",
    "lp",     "yeah",   "illinois", "dctcp", "cdg",  "bbr",   "nv",    "highspeed"};

Failure refuse(std::string_view name, std::string why) {
  return fail_hint(EINVAL, std::move(why), "module name '{}'", name);
}

std::string filled(std::string_view content, std::string_view name) {
  constexpr std::string_view kMark = "__name__";
  std::string out;
  for (;;) {
    const std::size_t at = content.find(kMark);
    out += content.substr(0, at);
    if (at == std::string_view::npos) return out;
    out += name;
    content.remove_prefix(at + kMark.size());
  }
}

}  // namespace

fs::path place_of(const TemplateFile& file, const fs::path& folder, std::string_view name) {
  constexpr std::string_view kStandIn = "module";
  std::string path(file.name);
  if (const auto at = path.find(kStandIn); at != std::string::npos) path.replace(at, kStandIn.size(), name);
  return folder / path;
}

Result<void> check_module_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (name.empty() || !letter(name[0]) ||
      !std::ranges::all_of(name, [&](char c) { return letter(c) || digit(c); })) {
    return refuse(name, "use letters, digits and '_', a letter first: it becomes a name in C");
  }
  if (name.size() > kLongestName) {
    return refuse(name, fmt::format("use up to {} letters: the kernel has room for no more", kLongestName));
  }
  if (std::ranges::count(kKeywords, name) > 0) return refuse(name, "that is a word of C");
  if (std::ranges::count(kKernelControls, name) > 0) {
    return refuse(name, "the kernel has a congestion control of that name");
  }
  return {};
}

Result<void> write_cc_module(const fs::path& folder, std::string_view name) {
  LKM_CHECK(check_module_name(name));
  if (::mkdir(folder.c_str(), 0777) != 0) {
    const int error = errno;
    return fail_hint(error, error == EEXIST ? "choose another name, or remove it" : "", "make '{}'",
                     folder.string());
  }
  auto undo = defer([&] {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  });
  for (const TemplateFile& file : cc_template()) {
    const fs::path path = place_of(file, folder, name);
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    if (error) return Failure(Error(error, fmt::format("make '{}'", path.parent_path().string())));
    LKM_CHECK(replace_file(path, filled(file.content, name)));
  }
  undo.cancel();
  return {};
}

}  // namespace lkm::cli
