// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/mirror.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "toolkit/base/file.hpp"
#include "toolkit/watch/noise.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFiles = 10'000;
// Blanks and colons break make's rules; the others its variables or the shell that it calls.
constexpr std::string_view kUnusable = " \t\n:;#$%&*?()<>|'\"\\`";

Result<void> check_name(const fs::path& path) {
  const std::string& name = path.native();
  const std::size_t at = name.find_first_of(kUnusable);
  if (at == std::string::npos) return {};
  return fail_hint(EINVAL, "move it to a path of letters, digits and -_./",
                   "'{}': the kernel's make cannot handle the character '{}' in a path", name,
                   name[at]);
}

Result<void> make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail(error.value(), "make the folder '{}'", path.string());
  return {};
}

using Identity = std::pair<dev_t, ino_t>;

// The relative paths of all regular files below `folder`, through symlinks. `above` are the folders
// on the way here: a symlink to one of them is a cycle.
Result<void> list(const fs::path& folder, const fs::path& relative, std::vector<Identity>& above,
                  std::set<fs::path>& files) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const fs::path name = it->path().filename();
    struct stat status {};
    if (is_noise(name.native()) || ::stat(it->path().c_str(), &status) != 0) continue;
    if (S_ISREG(status.st_mode)) {
      files.insert(relative / name);
      if (files.size() > kMaxFiles) {
        return fail_hint(E2BIG, "name the folder of one module, with its Kbuild or Makefile",
                         "'{}' holds more than {} files", folder.string(), kMaxFiles);
      }
    } else if (S_ISDIR(status.st_mode)) {
      const Identity identity{status.st_dev, status.st_ino};
      if (std::find(above.begin(), above.end(), identity) != above.end()) continue;
      above.push_back(identity);
      LKM_CHECK(list(it->path(), relative / name, above, files));
      above.pop_back();
    }
  }
  if (error) return fail(error.value(), "list the folder '{}'", folder.string());
  return {};
}

// A file stays as it is, with its time, when its bytes are the same.
Result<void> copy_if_changed(const fs::path& from, const fs::path& to) {
  LKM_TRY(const std::string content, read_file(from));
  std::error_code error;
  if (fs::is_regular_file(fs::symlink_status(to, error))) {
    const auto before = read_file(to);
    if (before && *before == content) return {};
  } else {
    fs::remove_all(to, error);  // Kbuild made a folder where there is a file now
  }
  LKM_CHECK(make_folder(to.parent_path()));
  const bool executable = ::access(from.c_str(), X_OK) == 0;
  return replace_file(to, content, executable ? 0755 : 0644);
}

// `../x` of a source file means the same from the copy.
Result<void> link_siblings(const fs::path& parent, const fs::path& own, const fs::path& tree) {
  std::error_code error;
  for (fs::directory_iterator it(tree, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_symlink(ignored) && !fs::exists(parent / it->path().filename(), ignored)) {
      fs::remove(it->path(), ignored);
    }
  }
  error.clear();
  // A parent that may not be listed has nothing that a module could include by name either, as far
  // as we can tell: no error.
  for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
    const fs::path name = it->path().filename();
    if (name == own || is_noise(name.native())) continue;
    std::error_code ignored;
    fs::create_symlink(it->path(), tree / name, ignored);  // EEXIST: from the last time
  }
  return {};
}

}  // namespace

Result<Mirror> Mirror::open(const fs::path& source, const fs::path& root) {
  std::error_code error;
  fs::path absolute = fs::absolute(source, error).lexically_normal();
  if (!absolute.has_filename()) absolute = absolute.parent_path();  // "mycc/"
  const auto status = fs::status(absolute, error);
  if (!fs::exists(status)) return fail(ENOENT, "module folder '{}'", source.string());
  if (!fs::is_directory(status)) return fail(ENOTDIR, "module folder '{}'", source.string());
  LKM_CHECK(check_name(absolute));
  Mirror mirror(std::move(absolute), fs::absolute(root, error).lexically_normal());
  LKM_CHECK(check_name(mirror.root_));
  LKM_CHECK(make_folder(mirror.folder()));
  return mirror;
}

Result<void> Mirror::sync() const {
  std::set<fs::path> files;
  std::vector<Identity> above;
  LKM_CHECK(list(source_, {}, above, files));

  const fs::path manifest = root_ / "copied";
  if (const auto before = read_file(manifest)) {
    std::istringstream lines(*before);
    for (std::string line; std::getline(lines, line);) {
      std::error_code ignored;
      if (!files.contains(line)) fs::remove(folder() / line, ignored);
    }
  }
  // The manifest first: a file that is copied but not listed would never be removed.
  std::string listing;
  for (const auto& file : files) listing += file.native() + "\n";
  LKM_CHECK(replace_file(manifest, listing));
  for (const auto& file : files) {
    LKM_CHECK(copy_if_changed(source_ / file, folder() / file));
  }
  return link_siblings(parent(), source_.filename(), tree());
}

Result<std::vector<fs::path>> Mirror::copied() const {
  LKM_TRY(const std::string text, read_file(root_ / "copied"));
  std::vector<fs::path> files;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) files.emplace_back(line);
  return files;
}

std::string Mirror::as_user_sees(std::string text) const {
  const std::string from = tree().native() + "/";
  const std::string to = parent() == "/" ? "/" : parent().native() + "/";
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

}  // namespace lkm
