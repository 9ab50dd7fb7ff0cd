// SPDX-License-Identifier: GPL-2.0
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>

#include "tests/host/host_test.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;

/// Files of the image's module folder with that prefix, by module name.
std::vector<std::string> modules_like(const Stack::Options& options, const std::string& prefix) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(options.module_path.front())) {
    const auto name = entry.path().stem().string();
    if (entry.path().extension() == ".so" && name.starts_with(prefix)) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

class AModule : public HostTest {};

TEST_F(AModule, OfEveryCongestionControlCarriesAFlowAndGoes) {
  run([this](Stack& stack) {
    for (const auto& module : modules_like(options_, "tcp_")) {
      if (module == "tcp_diag") continue;
      SCOPED_TRACE(module);
      const auto loaded = stack.load(module);
      ASSERT_TRUE(loaded) << loaded.error().message();
      EXPECT_EQ(loaded->name, module);
      EXPECT_EQ(loaded->state, "live");
      EXPECT_EQ(loaded->build_id.size(), 40u);
      // dctcp is restricted to its own use of ECN, but loopback may use any.
      expect_serves(stack, module.substr(4));
      const auto unloaded = stack.unload(module);
      EXPECT_TRUE(unloaded) << unloaded.error().message();
      EXPECT_EQ(module_line(stack, module), "");
    }
  });
}

TEST_F(AModule, OfEveryQdiscAndOfTheOtherTransportsLoadsAndGoes) {
  run([this](Stack& stack) {
    auto names = modules_like(options_, "sch_");
    ASSERT_GT(names.size(), 20u);
    for (const auto& name : modules_like(options_, "dccp")) names.push_back(name);
    names.push_back("sctp");
    for (const auto& module : names) {
      const auto loaded = stack.load(module);  // or it was, as a dependency
      EXPECT_TRUE(loaded || loaded.error().errno_value() == EEXIST) << loaded.error().message();
      EXPECT_NE(module_line(stack, module), "") << module;
    }
    // Those that others use go after them, so it takes some rounds.
    std::size_t left = 0;
    do {
      const auto loaded = stack.modules().value();
      left = loaded.size();
      for (const auto& module : loaded) {
        if (module.used_by.empty()) (void)stack.unload(module.name);
      }
    } while (stack.modules()->size() < left);
    const auto last = stack.modules().value();
    for (const auto& module : last) EXPECT_FALSE(module.name.starts_with("sch_")) << module.name;
    // The control sockets of these are their own users: no kernel lets them go.
    for (const auto* module : {"sctp", "dccp_ipv4", "dccp_ipv6"}) {
      expect_refused(stack.unload(module), EBUSY, {module, "reference"});
    }
    expect_serves(stack);
  });
}

TEST_F(AModule, IsLoadedByASetsockoptThatNamesIt) {
  run([](Stack& stack) {
    EXPECT_EQ(module_line(stack, "tcp_vegas"), "");
    {
      const StackFd socket(stack, int(stack.syscall(SYS_socket, AF_INET, SOCK_STREAM, 0)));
      ASSERT_EQ(socket.call(SYS_setsockopt, IPPROTO_TCP, TCP_CONGESTION, "vegas", 5), 0);
      EXPECT_TRUE(module_line(stack, "tcp_vegas").find(" 1 ") != std::string::npos)
          << module_line(stack, "tcp_vegas");
      expect_refused(stack.unload("tcp_vegas"), EBUSY, {"tcp_vegas", "1 reference", "HINT"});
      EXPECT_EQ(socket.call(SYS_setsockopt, IPPROTO_TCP, TCP_CONGESTION, "nonesuch", 8), -ENOENT);
    }
    const auto unloaded = stack.unload("tcp_vegas");
    EXPECT_TRUE(unloaded) << unloaded.error().message();
    EXPECT_EQ(stack.syscall(SYS_socket, AF_INET, SOCK_STREAM, IPPROTO_SCTP) >= 0, true);
    EXPECT_NE(module_line(stack, "sctp"), "");
  });
}

TEST_F(AModule, TakesParametersAndShowsThem) {
  const auto swapcc = plugin("swapcc", 1);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(swapcc, "alpha=3"));
    const std::string folder = "/sys/module/swapcc/parameters/";
    EXPECT_EQ(stack.read_file(folder + "alpha").value(), "3\n");
    EXPECT_EQ(stack.read_file(folder + "untouched").value(), "10\n");
    ASSERT_TRUE(stack.write_file(folder + "alpha", "17"));
    EXPECT_EQ(stack.read_file(folder + "alpha").value(), "17\n");
    EXPECT_FALSE(stack.write_file(folder + "alpha", "many"));
    EXPECT_TRUE(stack.unload("swapcc"));
    expect_refused(stack.load(swapcc, "alpha=many"), EINVAL, {"swapcc", "alpha"});
    EXPECT_EQ(module_line(stack, "swapcc"), "");
    ASSERT_TRUE(stack.load(swapcc));
    EXPECT_EQ(stack.read_file(folder + "alpha").value(), "1\n");
  });
}

TEST_F(AModule, ShowsItsSectionsNotesAndSymbols) {
  const auto faulty = plugin("faulty");
  run([&](Stack& stack) {
    const auto loaded = stack.load(faulty);
    ASSERT_TRUE(loaded) << loaded.error().message();
    const auto text = stack.read_file("/sys/module/faulty/sections/.text");
    ASSERT_TRUE(text) << text.error().message();
    EXPECT_TRUE(text->starts_with("0x")) << *text;
    const auto note = stack.read_file("/sys/module/faulty/notes/.note.gnu.build-id");
    ASSERT_TRUE(note) << note.error().message();
    EXPECT_GE(note->size(), 20u);
    EXPECT_NE(module_line(stack, "faulty").find("Live"), std::string::npos);
    const auto symbols = stack.read_file("/proc/kallsyms");
    ASSERT_TRUE(symbols);
    EXPECT_NE(symbols->find("faulty_trigger\t[faulty]"), std::string::npos);
    EXPECT_NE(symbols->find("faulty_dereference\t[faulty]"), std::string::npos);
    EXPECT_EQ(loaded->path, faulty);
    EXPECT_EQ(loaded->generation, 1u);
    ASSERT_TRUE(stack.unload("faulty"));
    EXPECT_EQ(stack.read_file("/proc/kallsyms")->find("[faulty]"), std::string::npos);
    EXPECT_FALSE(stack.read_file("/sys/module/faulty/sections/.text"));
  });
}

TEST_F(AModule, IsUnloadedAfterThoseThatDependOnIt) {
  const auto faulty = plugin("faulty");
  const auto dependent = plugin("dependent");
  run([&](Stack& stack) {
    expect_refused(stack.load(dependent), ENOENT, {"dependent", "faulty"});
    ASSERT_TRUE(stack.load(faulty));
    const auto loaded = stack.load(dependent);
    ASSERT_TRUE(loaded) << loaded.error().message();
    EXPECT_EQ(stack.read_file("/sys/module/dependent/parameters/answer").value(), "42\n");
    expect_refused(stack.unload("faulty"), EBUSY, {"faulty", "dependent"});
    ASSERT_TRUE(stack.unload("dependent"));
    ASSERT_TRUE(stack.unload("faulty"));
    EXPECT_TRUE(stack.modules().value().empty());
  });
}

TEST_F(AModule, GoesWhileAProcFileOfItsIsOpen) {
  const auto ticker = plugin("ticker", 1);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(ticker));
    const long file = stack.syscall(SYS_open, "/proc/ticker", O_RDONLY, 0);
    ASSERT_GE(file, 0);
    char byte = 0;
    EXPECT_EQ(stack.syscall(SYS_read, file, &byte, 1), 1);
    const auto unloaded = stack.unload("ticker");
    ASSERT_TRUE(unloaded) << unloaded.error().message();
    EXPECT_EQ(stack.syscall(SYS_read, file, &byte, 1), -EIO);
    EXPECT_EQ(stack.syscall(SYS_close, file), 0);
    expect_serves(stack);
  });
}

TEST_F(AModule, LoadsAndGoesManyTimesWithoutTrace) {
  run([](Stack& stack) {
    const auto maps = [] { return std::ranges::count(read_file("/proc/self/maps").value(), '\n'); };
    std::ptrdiff_t before = 0;
    for (int i = 0; i < 100; ++i) {
      if (i == 10) before = maps();
      ASSERT_TRUE(stack.load("tcp_vegas"));
      ASSERT_TRUE(stack.unload("tcp_vegas"));
    }
    EXPECT_LE(maps(), before + 50);  // call stacks of fibers are kept, plugins are not
  });
}

}  // namespace
}  // namespace lkm
