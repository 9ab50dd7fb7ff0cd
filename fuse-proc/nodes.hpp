// SPDX-License-Identifier: GPL-2.0
//
// NodeTable: the numbers under which the host kernel knows the files of the stack.
//
// A node is a name in a parent node, plus the identity of the object that was found there. Only
// directories hold a descriptor of the stack (O_PATH): that pins about 1 KB each, follows a
// directory that is renamed, and turns "removed" into ENOENT by itself. All else is named from its
// parent's descriptor at each use, so a node never shows an object of an earlier life under the
// same name: a look-up that finds another object makes another node, and numbers are never used
// twice.
//
// The host kernel counts its look-ups of a node and gives them back with FORGET, in any order. A
// node lives as long as it is counted or has children.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace lkm::fuse {

/// Tells one object of the stack from another.
struct Identity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  mode_t type = 0;  ///< S_IFMT bits

  static Identity of(const struct stat& st) { return {st.st_dev, st.st_ino, st.st_mode & S_IFMT}; }
  bool operator==(const Identity&) const = default;
};

class NodeTable {
 public:
  using Id = std::uint64_t;
  static constexpr Id kRoot = 1;  ///< FUSE_ROOT_ID

  struct Node {
    Id id = 0;
    Node* parent = nullptr;  ///< null for the root
    std::string name;
    Identity identity;
    int directory = -1;  ///< descriptor of the stack (O_PATH) for a directory, else -1
    unsigned depth = 0;  ///< names between the root and this node

    std::uint64_t lookups = 0;
    std::map<std::string, Node*> children;  ///< the nodes that are current under their names
    std::size_t live_children = 0;          ///< those, and the ones that were superseded
  };

  /// `directory` is the stack's "/"; it is not the table's to close.
  NodeTable(int directory, Identity identity);

  /// Null for a number that is not, or no more, in use.
  [[nodiscard]] const Node* find(Id id) const;
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }

  /// Counts a look-up of `name` in `parent`, which must exist, that found an object. `directory` is
  /// taken over when the node is new; `taken` says so.
  const Node& look_up(Id parent, const std::string& name, const Identity& identity, int directory,
                      bool& taken);

  /// Takes look-ups back. Gives the descriptors that are no longer needed: the caller closes them.
  [[nodiscard]] std::vector<int> forget(Id id, std::uint64_t lookups);

 private:
  std::unordered_map<Id, std::unique_ptr<Node>> nodes_;
  Id next_ = kRoot + 1;
};

/// One number space over several file systems: the mount shows a single st_dev, and `find` and `du`
/// take two directories with the same inode number for a loop (the roots of procfs and sysfs both
/// have 1). The device's index, in order of appearance, goes into the upper 16 bits.
class InodeNumbers {
 public:
  [[nodiscard]] std::uint64_t number(std::uint64_t device, std::uint64_t inode);

 private:
  std::map<std::uint64_t, std::uint64_t> index_;
};

}  // namespace lkm::fuse
