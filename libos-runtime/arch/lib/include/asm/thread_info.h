/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_THREAD_INFO_H
#define _ASM_LIB_THREAD_INFO_H

#include <asm/page.h>

/*
 * task->stack is one page: the stack-end marker below, struct pt_regs on top. Code runs on a fiber
 * stack of the host's instead (thread.fiber), which is large, sparse and has a guard page.
 */
#define THREAD_SIZE_ORDER 0
#define THREAD_SIZE (PAGE_SIZE << THREAD_SIZE_ORDER)

/* Bytes of a fiber stack; only what is touched takes memory. */
#define FIBER_STACK_SIZE (256 * 1024)

#ifndef __ASSEMBLY__

struct thread_info {
	unsigned long flags; /* TIF_* */
	int preempt_count;
	u32 cpu;
};

#define INIT_THREAD_INFO(tsk) { .flags = 0, .preempt_count = INIT_PREEMPT_COUNT }

#endif

#define TIF_SYSCALL_TRACE 0
#define TIF_NOTIFY_RESUME 1
#define TIF_SIGPENDING 2
#define TIF_NEED_RESCHED 3
#define TIF_NOTIFY_SIGNAL 4
#define TIF_MEMDIE 5
#define TIF_POLLING_NRFLAG 6
#define TIF_RESTORE_SIGMASK 7
#define TIF_SYSCALL_TRACEPOINT 8

#define _TIF_NOTIFY_RESUME BIT(TIF_NOTIFY_RESUME)
#define _TIF_SIGPENDING BIT(TIF_SIGPENDING)
#define _TIF_NEED_RESCHED BIT(TIF_NEED_RESCHED)
#define _TIF_NOTIFY_SIGNAL BIT(TIF_NOTIFY_SIGNAL)
#define _TIF_POLLING_NRFLAG BIT(TIF_POLLING_NRFLAG)
#define _TIF_SYSCALL_TRACEPOINT BIT(TIF_SYSCALL_TRACEPOINT)

#endif
