// SPDX-License-Identifier: GPL-2.0
#include "toolkit/embed/embedded_stack.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "libos-runtime/host/memif_wire.hpp"
#include "toolkit/embed/farewell.hpp"
#include "toolkit/net/rtnl.hpp"

namespace lkm::embed {
namespace {

constexpr std::size_t kDefaultMemory = std::size_t{256} << 20;

/// By number, the stack's descriptor and 1; 0: the host's.
std::array<std::atomic<int>, 1 << 16> g_numbers;
std::atomic<Stack*> g_stack = nullptr;
std::atomic<bool> g_forked = false;

std::string setting(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

Result<void> connect_cable(Stack& stack) {
  const std::string cable = setting(kCable);
  if (cable.empty()) return {};
  LKM_TRY(auto wire, MemifWire::at(cable, MemifWire::Role::kEither, "cable"));
  LKM_CHECK(stack.add_device("eth0", std::move(wire), {}));
  LKM_TRY(Rtnl net, Rtnl::open(stack, ""));
  if (const std::string text = setting(kAddress); !text.empty()) {
    LKM_TRY(const IpPrefix address, IpPrefix::parse(text));
    LKM_CHECK(net.addr_add("eth0", address));
  }
  LKM_CHECK(net.link_up("eth0"));
  if (const std::string text = setting(kGateway); !text.empty()) {
    LKM_TRY(const IpPrefix gateway, IpPrefix::parse(text));
    LKM_CHECK(net.route_add({}, gateway));
  }
  return {};
}

Result<Stack*> boot() {
  const std::filesystem::path image = setting(kImage);
  Stack::Options options;
  options.library = image / "libos.so";
  options.module_path = {image / "modules"};
  const std::string memory = setting(kMemory);
  options.memory = memory.empty() ? kDefaultMemory : std::strtoull(memory.c_str(), nullptr, 10);
  options.console = [](std::string_view) {};
  SignalsAtBoot signals;
  LKM_TRY(auto stack, Stack::boot(options));
  LKM_CHECK(connect_cable(*stack));
  signals.booted(*stack);
  ::pthread_atfork(nullptr, nullptr, [] { g_forked = true; });
  return stack.release();  // for as long as the process lives, whose threads may be in it until then
}

}  // namespace

Stack* stack() {
  static std::once_flag booted;
  if (g_forked) return nullptr;
  if (Stack* const up = g_stack) return up;
  std::call_once(booted, [] {
    if (auto up = boot()) {
      g_stack = *up;
    } else {
      std::fprintf(stderr, "lkm-run: no stack in this process: %s\n", up.error().message().c_str());
    }
  });
  return g_stack;
}

int descriptor_of(int number) {
  if (number < 0 || std::size_t(number) >= g_numbers.size()) return kHosts;
  return g_numbers[std::size_t(number)].load(std::memory_order_relaxed) - 1;
}

void stands_for(int number, int descriptor) {
  if (number >= 0 && std::size_t(number) < g_numbers.size()) g_numbers[std::size_t(number)] = descriptor + 1;
}

std::vector<int> take_descriptors() {
  std::vector<int> taken;
  for (auto& number : g_numbers) {
    if (const int descriptor = number.exchange(0); descriptor != 0) taken.push_back(descriptor - 1);
  }
  return taken;
}

int give_number(long descriptor, bool close_on_exec, int least) {
  if (descriptor < 0) return int(result_of(descriptor));
  int number = int(host_call(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (number >= 0 && (number < least || !close_on_exec)) {
    const int other = int(host_call(SYS_fcntl, number, close_on_exec ? F_DUPFD_CLOEXEC : F_DUPFD, least));
    host_call(SYS_close, number);
    number = other;
  }
  if (number >= 0 && std::size_t(number) >= g_numbers.size()) {
    host_call(SYS_close, number);
    number = -1;
    errno = EMFILE;
  }
  if (number < 0) {
    const int error = errno;
    stack()->syscall(SYS_close, descriptor);
    errno = error;
    return -1;
  }
  stands_for(number, int(descriptor));
  return number;
}

}  // namespace lkm::embed
