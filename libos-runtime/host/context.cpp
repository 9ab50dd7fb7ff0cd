// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/context.hpp"

#ifndef __x86_64__
#error "the library kernel runs on x86-64 hosts"
#endif

// Saves what the System V ABI calls callee-saved; the FPU control words are the same everywhere here.
asm(R"(
    .text
    .globl lkm_context_switch
    .type lkm_context_switch, @function
lkm_context_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq (%rsi), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size lkm_context_switch, .-lkm_context_switch

    .type lkm_context_start, @function
lkm_context_start:
    movq %r13, %rdi
    xorl %ebp, %ebp
    pushq $0
    jmp *%r12
    .size lkm_context_start, .-lkm_context_start
    .section .note.GNU-stack,"",@progbits
    .text
)");

extern "C" void lkm_context_start();

namespace lkm {

Context make_context(void* low, std::size_t size, void (*entry)(void*), void* argument) {
  // r15 r14 r13 r12 rbx rbp, return address; the stack pointer is 16-byte aligned at entry's call.
  auto* top = reinterpret_cast<std::uintptr_t*>(static_cast<char*>(low) + size) - 2;
  *--top = reinterpret_cast<std::uintptr_t>(&lkm_context_start);
  *--top = 0;
  *--top = 0;
  *--top = reinterpret_cast<std::uintptr_t>(entry);
  *--top = reinterpret_cast<std::uintptr_t>(argument);
  *--top = 0;
  *--top = 0;
  return Context{top};
}

}  // namespace lkm
