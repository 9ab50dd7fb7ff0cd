// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/faults.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "libos-runtime/host/fiber_stacks.hpp"

namespace lkm::faults {
namespace {

constexpr std::array kSignals = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
constexpr std::size_t kSignalStack = 64 * 1024;
constexpr std::size_t kRedZone = 128;  // System V ABI: below the stack pointer, in use by leaf functions

const libos_entry* g_kernel;
Where (*g_where)();
std::array<struct sigaction, kSignals.size()> g_before;

/// An overflowed fiber stack has no room for the oops.
alignas(64) std::byte g_overflow_stack[256 * 1024];

libos_fault read_registers(const ucontext_t& context, int signal, const siginfo_t& info) {
  const auto& r = context.uc_mcontext.gregs;
  libos_fault fault{};
  fault.r8 = std::uint64_t(r[REG_R8]);
  fault.r9 = std::uint64_t(r[REG_R9]);
  fault.r10 = std::uint64_t(r[REG_R10]);
  fault.r11 = std::uint64_t(r[REG_R11]);
  fault.r12 = std::uint64_t(r[REG_R12]);
  fault.r13 = std::uint64_t(r[REG_R13]);
  fault.r14 = std::uint64_t(r[REG_R14]);
  fault.r15 = std::uint64_t(r[REG_R15]);
  fault.di = std::uint64_t(r[REG_RDI]);
  fault.si = std::uint64_t(r[REG_RSI]);
  fault.bp = std::uint64_t(r[REG_RBP]);
  fault.bx = std::uint64_t(r[REG_RBX]);
  fault.dx = std::uint64_t(r[REG_RDX]);
  fault.ax = std::uint64_t(r[REG_RAX]);
  fault.cx = std::uint64_t(r[REG_RCX]);
  fault.sp = std::uint64_t(r[REG_RSP]);
  fault.ip = std::uint64_t(r[REG_RIP]);
  fault.flags = std::uint64_t(r[REG_EFL]);
  fault.address = signal == SIGSEGV || signal == SIGBUS
                      ? reinterpret_cast<std::uint64_t>(info.si_addr)
                      : fault.ip;
  fault.signal = std::uint64_t(signal);
  // A non-canonical address: the processor does not tell it.
  if (signal == SIGSEGV && info.si_code == SI_KERNEL) fault.signal |= LIBOS_FAULT_NO_ADDRESS;
  return fault;
}

/// As if the interrupted code had called kernel->fault(&fault) on its own stack.
void go_to_the_kernel(ucontext_t& context, const libos_fault& fault) {
  auto& r = context.uc_mcontext.gregs;
  const Where where = g_where();
  auto sp = std::uintptr_t(r[REG_RSP]) - kRedZone;
  if (where.stack != nullptr && (FiberStacks::in_guard(where.stack, fault.address) ||
                                 FiberStacks::in_guard(where.stack, sp))) {
    sp = reinterpret_cast<std::uintptr_t>(g_overflow_stack) + sizeof(g_overflow_stack);
  }
  sp = (sp - sizeof(fault)) & ~std::uintptr_t{15};
  std::memcpy(reinterpret_cast<void*>(sp), &fault, sizeof(fault));
  r[REG_RDI] = greg_t(sp);
  r[REG_RSP] = greg_t(sp - sizeof(void*));
  r[REG_RIP] = reinterpret_cast<greg_t>(g_kernel->fault);
}

/// Not ours: the handler that was there before decides; without one, the default action.
void pass_on(int signal, siginfo_t* info, void* context) {
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    if (kSignals[i] != signal) continue;
    const auto& before = g_before[i];
    if ((before.sa_flags & SA_SIGINFO) != 0 && before.sa_sigaction != nullptr) {
      before.sa_sigaction(signal, info, context);
    } else {
      ::sigaction(signal, &before, nullptr);  // the instruction faults again, now for good
    }
  }
}

void handle(int signal, siginfo_t* info, void* opaque) {
  auto* context = static_cast<ucontext_t*>(opaque);
  auto& r = context->uc_mcontext.gregs;
  const Where where = g_where();

  if (!where.in_kernel) {
    pass_on(signal, info, opaque);
    return;
  }
  if (const auto fixup = g_kernel->fixup(std::uintptr_t(r[REG_RIP])); fixup != 0) {
    r[REG_RIP] = greg_t(fixup);
    return;
  }

  go_to_the_kernel(*context, read_registers(*context, signal, *info));
}

}  // namespace

void install(const libos_entry& kernel, Where (*where)()) {
  g_kernel = &kernel;
  g_where = where;
  struct sigaction action {};
  action.sa_sigaction = handle;
  // SA_NODEFER: the oops runs after the handler, and may meet a fault of its own.
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], &action, &g_before[i]);
  }
}

void divert(void* ucontext, std::uint64_t fault) {
  auto* context = static_cast<ucontext_t*>(ucontext);
  libos_fault registers = read_registers(*context, 0, {});
  registers.signal = fault;
  go_to_the_kernel(*context, registers);
}

void prepare_thread() {
  stack_t now{};
  ::sigaltstack(nullptr, &now);
  if ((now.ss_flags & SS_DISABLE) == 0) return;  // the program's own (or a sanitizer's) serves as well
  void* memory = ::mmap(nullptr, kSignalStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1, 0);
  if (memory == MAP_FAILED) return;
  const stack_t stack{.ss_sp = memory, .ss_flags = 0, .ss_size = kSignalStack};
  ::sigaltstack(&stack, nullptr);
}

}  // namespace lkm::faults
