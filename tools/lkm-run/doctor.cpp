// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/doctor.hpp"

#include <linux/seccomp.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "toolkit/base/file.hpp"
#include "toolkit/base/unique_fd.hpp"
#include "toolkit/control/state_folder.hpp"
#include "toolkit/net/units.hpp"
#include "toolkit/net/uplink.hpp"
#include "tools/lkm-run/image.hpp"

namespace lkm::cli {
namespace {
namespace fs = std::filesystem;
using State = Check::State;

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
constexpr std::uint64_t kBuildMemory = 2 * kGiB;  // make -j2 of a kernel, with the linking of vmlinux
constexpr std::uint64_t kBuildDisk = 6 * kGiB;    // unpacked source, objects, image
constexpr std::uint64_t kStackMemory = kGiB / 4;

bool in_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (::access((fs::path(folder) / program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

struct Tool {
  const char* program;
  const char* package;  // of Debian
};

Check check_tools(const char* name, const std::vector<Tool>& tools, const char* why) {
  std::vector<std::string> programs;
  std::vector<std::string> packages;
  for (const Tool& tool : tools) {
    if (in_path(tool.program)) continue;
    programs.emplace_back(tool.program);
    if (std::ranges::count(packages, tool.package) == 0) packages.emplace_back(tool.package);
  }
  if (programs.empty()) return {name, State::kGood, "there", ""};
  return {name, State::kMissing, fmt::format("{} not installed ({})", fmt::join(programs, ", "), why),
          fmt::format("apt-get install {}", fmt::join(packages, " "))};
}

std::uint64_t available_memory() {
  const auto text = read_file("/proc/meminfo");
  if (!text) return 0;
  const std::size_t at = text->find("MemAvailable:");
  return at == std::string::npos ? 0 : std::strtoull(text->c_str() + at + 13, nullptr, 10) * 1024;
}

Check check_scripts() {
  const auto home = home_folder();
  if (home) return {"Kbuild scripts", State::kGood, home->string(), ""};
  return {"Kbuild scripts", State::kMissing, home.error().message(), home.error().hint()};
}

Check check_image(bool& present) {
  const auto image = find_image("");
  present = image && image->present;
  if (present) return {"library kernel", State::kGood, image->path.string(), ""};
  if (!image) return {"library kernel", State::kNote, image.error().message(), image.error().hint()};
  return {"library kernel", State::kNote, "not built yet; that takes minutes, once", "lkm-run up"};
}

Check check_source() {
  const char* named = std::getenv("KERNEL_SRC");
  const fs::path path = named && *named ? named : "/usr/src/linux-source-6.12.tar.xz";
  std::error_code ignored;
  if (fs::exists(path, ignored)) return {"kernel source", State::kGood, path.string(), ""};
  return {"kernel source", State::kMissing, fmt::format("no '{}'", path.string()),
          "apt-get install linux-source-6.12, or set KERNEL_SRC to a kernel tree"};
}

Check check_build_room() {
  const std::uint64_t memory = available_memory();
  if (memory < kBuildMemory) {
    return {"memory to build", State::kNote, fmt::format("{} free, {} are better", format_size(memory),
                                                         format_size(kBuildMemory)),
            "Kbuild/kernel --jobs 1"};
  }
  return {"memory to build", State::kGood, format_size(memory) + " free", ""};
}

Check check_disk() {
  fs::path folder = cache_folder();
  std::error_code ignored;
  while (!fs::exists(folder, ignored) && folder.has_relative_path()) folder = folder.parent_path();
  struct statvfs room {};
  if (::statvfs(folder.c_str(), &room) != 0) {
    return {"disk to build", State::kMissing, fmt::format("cannot look at '{}'", folder.string()),
            "set LKM_RUN_CACHE to a folder of yours"};
  }
  const std::uint64_t free = std::uint64_t{room.f_bavail} * room.f_frsize;
  if (::access(folder.c_str(), W_OK) != 0 || free < kBuildDisk) {
    return {"disk to build", State::kMissing,
            fmt::format("{} free in '{}', a build needs {}", format_size(free), folder.string(),
                        format_size(kBuildDisk)),
            "set LKM_RUN_CACHE to a folder with more room"};
  }
  return {"disk to build", State::kGood, format_size(free) + " free", ""};
}

Check check_memory() {
  const std::uint64_t memory = available_memory();
  if (memory < kStackMemory) {
    return {"memory to run", State::kMissing, format_size(memory) + " free", "lkm-run up --memory 64MiB"};
  }
  return {"memory to run", State::kGood, format_size(memory) + " free", ""};
}

// Without these a stack runs, but cannot be looked into with cat and ls.
Check check_fuse() {
  if (const auto fd = UniqueFd::open("/dev/fuse", O_RDWR); !fd) {
    return {"FUSE", State::kMissing, fd.error().message(), "modprobe fuse, or lkm-run up --no-fuse"};
  }
  if (::geteuid() != 0 && !in_path("fusermount3")) {
    return {"FUSE", State::kMissing, "fusermount3 not installed",
            "apt-get install fuse3, or lkm-run up --no-fuse"};
  }
  return {"FUSE", State::kGood, "/dev/fuse opens", ""};
}

Check check_state_root() {
  fs::path root = control::StateFolder::root();
  // sun_path has 108 bytes, a stack's name up to 32 (state_folder.cpp).
  if (root.string().size() > 108 - sizeof("/control") - 33) {
    return {"state folder", State::kMissing, fmt::format("'{}' is too long for a socket", root.string()),
            "set XDG_RUNTIME_DIR to a shorter path"};
  }
  std::error_code ignored;
  const fs::path parent = fs::exists(root, ignored) ? root : root.parent_path();
  if (::access(parent.c_str(), W_OK) != 0) {
    return {"state folder", State::kMissing, fmt::format("cannot write to '{}'", parent.string()),
            "set XDG_RUNTIME_DIR to a folder of yours"};
  }
  return {"state folder", State::kGood, root.string(), ""};
}

// Only for a tap; a cable between two stacks needs nothing.
Check check_tun() {
  const auto fd = UniqueFd::open("/dev/net/tun", O_RDWR);
  if (fd) return {"tap devices", State::kGood, "/dev/net/tun opens", ""};
  return {"tap devices", State::kNote, fd.error().message(),
          "modprobe tun; as root, ip tuntap add tap0 mode tap user $USER"};
}

Check check_uplink() {
  if (const auto uplink = Uplink::make(Reach::kInternet); !uplink) {
    return {"uplinks", State::kNote, uplink.error().message(), uplink.error().hint()};
  }
  return {"uplinks", State::kGood, "libslirp is there", ""};
}

Check check_inotify() {
  const auto text = read_file("/proc/sys/fs/inotify/max_user_watches");
  const unsigned long watches = text ? std::strtoul(text->c_str(), nullptr, 10) : 0;
  if (watches >= 1024) return {"inotify", State::kGood, fmt::format("{} watches", watches), ""};
  return {"inotify", State::kNote, fmt::format("{} watches, few for lkm-run watch", watches),
          "sysctl fs.inotify.max_user_watches=8192"};
}

Check check_ptrace() {
  const auto text = read_file("/proc/sys/kernel/yama/ptrace_scope");
  if (!text || text->starts_with('0') || text->starts_with('1')) {
    return {"debugger", State::kGood, "can attach to a stack", ""};
  }
  return {"debugger", State::kNote, "gdb cannot attach to a stack (kernel.yama.ptrace_scope)",
          "sysctl kernel.yama.ptrace_scope=1"};
}

// Of lkm-run exec. The flag is asked for with no filter, which the kernel then finds wrong (EFAULT), and not the flag.
Check check_seccomp() {
  constexpr unsigned long kFlags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, kFlags, nullptr) != 0 && errno != EFAULT) {
    return {"programs", State::kNote, "lkm-run exec cannot catch system calls", "it needs Linux 5.19 and seccomp"};
  }
  const auto scope = read_file("/proc/sys/kernel/yama/ptrace_scope");
  if (scope && !scope->starts_with('0') && ::geteuid() != 0) {
    return {"programs", State::kNote, "a stack may not look into programs (kernel.yama.ptrace_scope)",
            "sysctl kernel.yama.ptrace_scope=0"};
  }
  return {"programs", State::kGood, "lkm-run exec can catch system calls", ""};
}

}  // namespace

std::vector<Check> check_machine() {
  bool image = false;
  std::vector<Check> checks;
  checks.push_back(check_scripts());
  checks.push_back(check_tools("compiler", {{"gcc", "gcc"}, {"ld", "binutils"}, {"readelf", "binutils"},
                                            {"make", "make"}, {"awk", "mawk"}},
                               "modules are built with it"));
  checks.push_back(check_image(image));
  if (!image) {
    checks.push_back(check_source());
    checks.push_back(check_tools("kernel build",
                                 {{"flex", "flex"}, {"bison", "bison"}, {"bc", "bc"}, {"rsync", "rsync"},
                                  {"xz", "xz-utils"}, {"flock", "util-linux"}, {"objcopy", "binutils"}},
                                 "the library kernel is built with it"));
    checks.push_back(check_build_room());
    checks.push_back(check_disk());
  }
  checks.push_back(check_memory());
  checks.push_back(check_fuse());
  checks.push_back(check_state_root());
  checks.push_back(check_tun());
  checks.push_back(check_uplink());
  checks.push_back(check_inotify());
  checks.push_back(check_ptrace());
  checks.push_back(check_seccomp());
  return checks;
}

nlohmann::json to_json(const Check& check) {
  const char* const states[] = {"good", "note", "missing"};
  return {{"name", check.name},
          {"state", states[static_cast<int>(check.state)]},
          {"what", check.what},
          {"hint", check.hint}};
}

}  // namespace lkm::cli
