// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/memory_watch.hpp"

#include <sys/syscall.h>
#include <sys/sysinfo.h>

#include <cstdlib>
#include <string_view>

#include "toolkit/exec/process.hpp"
#include "toolkit/net/units.hpp"

namespace lkm::exec {
namespace {

using namespace std::chrono_literals;

// Parts of all memory that must be left.
constexpr std::uint64_t kForNetwork = 4;
constexpr std::uint64_t kForSockets = 8;
/// What comes of a byte of a request at most: a rule of nftables, its expressions and its set.
constexpr std::uint64_t kGrowth = 8;
constexpr std::uint64_t kLookEvery = 1 << 20;  // bytes
constexpr std::uint64_t kOfSocket = 16 << 10;  // bytes, its buffers apart
constexpr int kWarning = 4;                    // of syslog(2)

}  // namespace

bool MemoryWatch::has_for_network(pid_t who, std::uint64_t request) {
  return leaves(who, kForNetwork, request * kGrowth, "add nothing to the network");
}

bool MemoryWatch::has_for_socket(pid_t who) {
  filled(kOfSocket);
  return has_for_sockets(who, "have no more sockets");
}

bool MemoryWatch::has_for_buffers(pid_t who) { return has_for_sockets(who, "send no more"); }

bool MemoryWatch::has_for_sockets(pid_t who, const char* what) {
  if (!short_ && unseen_ < kLookEvery) return true;
  unseen_ = 0;
  short_ = !leaves(who, kForSockets, 0, what);
  return !short_;
}

bool MemoryWatch::leaves(pid_t who, std::uint64_t parts, std::uint64_t request, const char* what) {
  struct sysinfo info {};
  if (stack_.syscall(SYS_sysinfo, &info) != 0) return true;
  const std::uint64_t wanted = std::uint64_t(info.totalram) * info.mem_unit / parts + request;
  std::uint64_t left = std::uint64_t(info.freeram) * info.mem_unit;
  if (left >= wanted) return true;
  // Caches, such as that of the names in /proc, are given up for it.
  if (const auto text = stack_.read_file("/proc/meminfo")) {
    constexpr std::string_view kAvailable = "MemAvailable:";
    if (const auto at = text->find(kAvailable); at != std::string::npos)
      left = std::strtoull(text->c_str() + at + kAvailable.size(), nullptr, 10) << 10;
  }
  if (left >= wanted) return true;
  const StackTime now = stack_.now();
  if (told_ == StackTime{} || now - told_ >= 1s) {
    told_ = now;
    stack_.log(fmt::format("lkm-run: '{}' may {}: {} of memory are left (lkm-run up --memory)", thread_name(who), what, format_size(left)), kWarning);
  }
  return false;
}

}  // namespace lkm::exec
