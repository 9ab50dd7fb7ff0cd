/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_PROCESSOR_H
#define _ASM_LIB_PROCESSOR_H

#include <asm/page.h>
#include <asm/thread_info.h>
#include <asm/ptrace.h>

#define TASK_SIZE (~0UL)
#define TASK_UNMAPPED_BASE 0
#define STACK_TOP TASK_SIZE
#define STACK_TOP_MAX STACK_TOP

struct task_struct;
struct libos_stretch;

struct thread_struct {
	unsigned long sp; /* of a task that is switched out, see switch.S */
	void *fiber; /* lowest byte of its fiber stack */
	void *cookie; /* the host's name for it */
	void *user; /* whose memory its user pointers mean; NULL: this process's */
	char *modprobe; /* what a usermode helper is to load */
	struct module *loading; /* whose init it runs */
	unsigned long calls; /* system calls that it made */
	u64 visited; /* by which walk of plugin/tasks.c; 0: it ran since */
	struct libos_stretch *stretch; /* what is measured of it */
	bool host; /* made by libos_entry.spawn() */
	bool died; /* by an oops */
	bool woken; /* unpark() came before park() */
};

#define INIT_THREAD { }

#define KSTK_EIP(tsk) 0UL
#define KSTK_ESP(tsk) ((tsk)->thread.sp)

/* On top of task->stack. All zero but for a task that is in a fault. */
#define task_pt_regs(tsk) ((struct pt_regs *)((tsk)->stack + THREAD_SIZE) - 1)

unsigned long __get_wchan(struct task_struct *tsk);

static inline void cpu_relax(void)
{
	barrier();
}

static inline void start_thread(struct pt_regs *regs, unsigned long ip, unsigned long sp)
{
}

static inline void prefetch(const void *x)
{
	__builtin_prefetch(x);
}

#define ARCH_HAS_PREFETCH
#define ARCH_HAS_PREFETCHW
#define prefetchw(x) __builtin_prefetch(x, 1)

#endif
