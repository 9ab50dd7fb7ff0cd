// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/plugin_store.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm {

namespace fs = std::filesystem;

Result<StoredPlugin> store_plugin(const fs::path& so, const std::string& name,
                                  const std::string& build_id, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return fail(error.value(), "make the folder '{}'", folder.string());

  const std::string start = name + "@";
  const std::string end = "-" + build_id.substr(0, 12) + ".so";
  unsigned newest = 0;
  for (fs::directory_iterator it(folder, error), last; !error && it != last; it.increment(error)) {
    const std::string file = it->path().filename();
    if (!file.starts_with(start)) continue;
    unsigned generation = 0;
    std::from_chars(file.data() + start.size(), file.data() + file.size(), generation);
    if (file == fmt::format("{}{}{}", start, generation, end)) {
      return StoredPlugin{.path = it->path(), .generation = generation, .is_new = false};
    }
    newest = std::max(newest, generation);
  }
  if (error) return fail(error.value(), "list the folder '{}'", folder.string());

  // A copy, as the folder may be on another file system; and link(2), not rename(2), as two builds
  // of modules with the same name may take the same number at the same time.
  LKM_TRY(const std::string content, read_file(so));
  LKM_TRY(const auto scratch, TempDir::make(".new-", folder));
  const fs::path whole = scratch.path() / "plugin.so";
  LKM_CHECK(replace_file(whole, content, 0644));
  for (unsigned generation = newest + 1;; ++generation) {
    const fs::path path = folder / fmt::format("{}{}{}", start, generation, end);
    if (::link(whole.c_str(), path.c_str()) == 0) {
      return StoredPlugin{.path = path, .generation = generation, .is_new = true};
    }
    if (errno != EEXIST) return fail(errno, "make '{}'", path.string());
  }
}

}  // namespace lkm
