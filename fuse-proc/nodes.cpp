// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/nodes.hpp"

#include <algorithm>
#include <utility>

#include "toolkit/base/assert.hpp"

namespace lkm::fuse {

NodeTable::NodeTable(int directory, Identity identity) {
  auto root = std::make_unique<Node>();
  root->id = kRoot;
  root->identity = identity;
  root->directory = directory;
  root->lookups = 1;  // never given back
  nodes_.emplace(kRoot, std::move(root));
}

const NodeTable::Node* NodeTable::find(Id id) const {
  const auto it = nodes_.find(id);
  return it == nodes_.end() ? nullptr : it->second.get();
}

const NodeTable::Node& NodeTable::look_up(Id parent, const std::string& name,
                                          const Identity& identity, int directory, bool& taken) {
  const auto found = nodes_.find(parent);
  LKM_ASSERT(found != nodes_.end());
  Node& above = *found->second;
  Node*& current = above.children[name];
  taken = current == nullptr || current->identity != identity;
  if (taken) {
    auto node = std::make_unique<Node>();
    node->id = next_++;
    node->parent = &above;
    node->name = name;
    node->identity = identity;
    node->directory = directory;
    node->depth = above.depth + 1;
    current = node.get();
    ++above.live_children;
    nodes_.emplace(node->id, std::move(node));
  }
  ++current->lookups;
  return *current;
}

std::vector<int> NodeTable::forget(Id id, std::uint64_t lookups) {
  std::vector<int> unused;
  const auto found = nodes_.find(id);
  if (found == nodes_.end() || id == kRoot) return unused;
  Node* node = found->second.get();
  node->lookups -= std::min(lookups, node->lookups);
  while (node->id != kRoot && node->lookups == 0 && node->live_children == 0) {
    Node* const above = node->parent;
    const auto name = above->children.find(node->name);
    if (name != above->children.end() && name->second == node) above->children.erase(name);
    --above->live_children;
    if (node->directory >= 0) unused.push_back(node->directory);
    nodes_.erase(node->id);
    node = above;
  }
  return unused;
}

std::uint64_t InodeNumbers::number(std::uint64_t device, std::uint64_t inode) {
  const auto [it, added] = index_.try_emplace(device, index_.size());
  constexpr std::uint64_t kInodeBits = 48;
  return it->second << kInodeBits | (inode & ((std::uint64_t{1} << kInodeBits) - 1));
}

}  // namespace lkm::fuse
