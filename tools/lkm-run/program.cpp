// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/program.hpp"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "toolkit/base/log.hpp"
#include "toolkit/exec/filter.hpp"
#include "toolkit/exec/private_view.hpp"
#include "toolkit/net/ip.hpp"
#include "tools/lkm-run/image.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

/// As sh(1) and env(1) have it.
constexpr int kCannotExecute = 126;
constexpr int kNotFound = 127;

/// Returns when that fails, with the exit status.
int execute(Terminal& terminal, std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::signal(SIGPIPE, SIG_DFL);  // run() ignores it, and exec keeps that
  ::execvp(argv[0], argv.data());
  const int error = errno;
  terminal.error(fail(error, "execute '{}'", command[0]).value());
  return error == ENOENT ? kNotFound : kCannotExecute;
}

/// The library to be preloaded: beside this program in a build, else where it was installed to.
Result<std::string> embed_library() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const auto& folder : {program, program / LKM_RUN_LIBRARIES}) {
    const auto library = (folder / "liblkm-embed.so").lexically_normal();
    if (std::filesystem::exists(library, error)) return library.string();
  }
  return fail(ENOENT, "find liblkm-embed.so");
}

}  // namespace

Result<int> embed_in_program(const Arguments& arguments, Terminal& terminal, std::vector<std::string> command) {
  const auto refuse = [&](std::string text) {
    terminal.error(Error({}, std::move(text)).with_hint("lkm-run exec -h"));
    return kUsage;
  };
  for (const char* option : {"name", "netns", "limits"}) {
    if (arguments.has(option)) return refuse(fmt::format("--{} is for a program on a stack, not for one with a stack inside", option));
  }
  if (!arguments.has("cable") && (arguments.has("address") || arguments.has("gateway")))
    return refuse("--address and --gateway are for a --cable");
  if (arguments.has("address")) LKM_CHECK(IpPrefix::parse(arguments.value("address")));
  if (arguments.has("gateway")) LKM_CHECK(IpPrefix::parse(arguments.value("gateway")));
  LKM_TRY(const std::string library, embed_library());
  LKM_TRY(const auto image, make_image(""));
  if (image.exit_code != 0) return image.exit_code;

  const char* const others = std::getenv("LD_PRELOAD");
  ::setenv("LD_PRELOAD", others != nullptr && *others != '\0' ? fmt::format("{}:{}", library, others).c_str() : library.c_str(), 1);
  ::setenv("LKM_EMBED_IMAGE", image.path.c_str(), 1);
  if (arguments.has("cable")) ::setenv("LKM_EMBED_CABLE", std::filesystem::absolute(arguments.value("cable")).c_str(), 1);
  if (arguments.has("address")) ::setenv("LKM_EMBED_ADDRESS", arguments.value("address").c_str(), 1);
  if (arguments.has("gateway")) ::setenv("LKM_EMBED_GATEWAY", arguments.value("gateway").c_str(), 1);
  ::setenv("LKM_RUN_STACK", "embedded", 1);
  return execute(terminal, command);
}

Result<int> become_program(const Arguments& arguments, Terminal& terminal, std::vector<std::string> command) {
  LKM_TRY(const auto folder, state_folder(arguments));
  const std::string netns = arguments.value("netns");
  LKM_TRY(auto client, connect(arguments));
  // From here on this process's own socket calls are caught too, but not those of the client: its descriptor
  // is a low one, and it only sends and receives.
  LKM_TRY(const UniqueFd listener, exec::install_filter());
  LKM_TRY(const Json attached, client.call("exec.attach", {{"listener", listener.get()}, {"netns", netns}, {"limits", arguments.value("limits")}}));
  if (const std::string view = attached.value("view", ""); !view.empty()) {
    if (const auto shown = exec::show_view(view, attached.value("netns", "")); !shown) {
      log::debug("exec", "the program sees the host's /proc/net: {}", shown.error().message());
    }
  }

  ::setenv("LKM_RUN_STACK", (netns.empty() ? folder.name() : fmt::format("{}/{}", folder.name(), netns)).c_str(), 1);
  return execute(terminal, command);
}

}  // namespace lkm::cli
