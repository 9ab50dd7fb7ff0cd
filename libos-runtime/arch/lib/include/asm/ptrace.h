/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_PTRACE_H
#define _ASM_LIB_PTRACE_H

#include <uapi/asm/ptrace.h>
#ifndef __ASSEMBLY__
#include <linux/types.h>

/* Registers at a fault, in the order of struct libos_fault. */
struct pt_regs {
	unsigned long r8, r9, r10, r11, r12, r13, r14, r15;
	unsigned long di, si, bp, bx, dx, ax, cx, sp, ip, flags;
	unsigned long address; /* what was accessed */
	unsigned long orig_ax;
};

#define user_mode(regs) ((void)(regs), 0)
#define instruction_pointer(regs) ((regs)->ip)
#define user_stack_pointer(regs) ((regs)->sp)
#define kernel_stack_pointer(regs) ((regs)->sp)
#define frame_pointer(regs) ((regs)->bp)
#define profile_pc(regs) instruction_pointer(regs)
#define regs_return_value(regs) ((regs)->ax)
#define arch_has_single_step() 0

static inline void instruction_pointer_set(struct pt_regs *regs, unsigned long ip)
{
	regs->ip = ip;
}

#define current_pt_regs() task_pt_regs(current)
#endif
#endif
