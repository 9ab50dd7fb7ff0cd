// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/links.hpp"

#include <algorithm>
#include <vector>

namespace lkm::fuse {

std::string confine_link(std::string_view target, unsigned depth) {
  const bool absolute = target.starts_with('/');
  // As if walked: `up` steps from the link's directory, then down these names.
  std::size_t up = absolute ? depth : 0;
  std::vector<std::string_view> down;
  bool clamped = false;
  for (std::string_view rest = target; !rest.empty();) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view name = rest.substr(0, slash);
    rest.remove_prefix(std::min(slash + 1, rest.size()));
    if (name.empty() || name == ".") continue;
    if (name != "..") {
      down.push_back(name);
    } else if (!down.empty()) {
      down.pop_back();
    } else if (up < depth) {
      ++up;
    } else {
      clamped = true;
    }
  }
  if (!absolute && !clamped) return std::string(target);

  std::string confined;
  for (std::size_t i = 0; i < up; ++i) confined += "../";
  for (const std::string_view name : down) confined.append(name).append("/");
  if (confined.empty()) return ".";
  confined.pop_back();
  return confined;
}

}  // namespace lkm::fuse
