// SPDX-License-Identifier: GPL-2.0
//
// MountTest: a stack in this process with its mount, and processes beside it that use the mount.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "fuse-proc/fuse_proc.hpp"
#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

/// A forked process. While the test waits for it, the stack runs.
class HostProcess {
 public:
  /// `body` gets the descriptor that our end reads from.
  HostProcess(Stack& stack, const std::function<void(int out)>& body);
  HostProcess(HostProcess&&) = default;
  ~HostProcess();

  /// The next line, without its newline; what there is when the process ended or took too long.
  std::string read_line();
  void write(std::string_view text);
  void kill();
  /// All the rest that it wrote, and "exit N" when it did not end with 0.
  std::string finish();

 private:
  bool read_more();

  Stack* stack_;
  pid_t pid_ = -1;
  UniqueFd pidfd_, in_, out_;
  std::string pending_;
};

class MountTest : public ::testing::Test {
 protected:
  /// Boots, mounts and runs `body` on a fiber.
  void with_mount(const std::function<void()>& body);
  /// The same with the module fuseprobe loaded.
  void with_probe(const std::function<void()>& body);
  void load_probe(const std::string& parameters = "");
  void unmount() { mount_.reset(); }
  /// The test provokes this; any other complaint in the kernel log fails it.
  void expect_in_log(const std::string& expression) { expected_ = expression; }

  Stack& stack() { return Stack::current(); }
  /// A name below the mount point, which is $M in shell commands.
  [[nodiscard]] std::string path(const std::string& name) const;

  HostProcess start_shell(const std::string& command);
  HostProcess start_host_process(const std::function<void(int out)>& body);
  /// stdout and stderr of a shell command, and "exit N" when it failed.
  std::string shell(const std::string& command) { return start_shell(command).finish(); }
  std::string in_host_process(const std::function<std::string()>& body);

 private:
  TempDir work_ = std::move(*TempDir::make("lkm-mount-"));
  std::unique_ptr<FuseProc> mount_;
  std::string plugin_;
  std::string expected_;
};

}  // namespace lkm
