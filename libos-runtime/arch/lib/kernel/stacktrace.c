// SPDX-License-Identifier: GPL-2.0
/* Back traces by frame pointers, bounded by the fiber stack, so that a broken chain just ends. */
#include <linux/export.h>
#include <linux/kallsyms.h>
#include <linux/sched.h>
#include <linux/sched/debug.h>
#include <linux/sched/task_stack.h>
#include <linux/stacktrace.h>
#include <asm/stacktrace.h>
#include "libos.h"

struct frame {
	struct frame *next;
	unsigned long ip;
};

bool libos_on_fiber(struct task_struct *task, unsigned long sp)
{
	unsigned long low = (unsigned long)task->thread.fiber;

	return low && sp >= low && sp <= low + FIBER_STACK_SIZE - sizeof(struct frame);
}

void arch_stack_walk(stack_trace_consume_fn consume, void *cookie, struct task_struct *task,
		     struct pt_regs *regs)
{
	struct frame *frame;

	if (regs) {
		if (!consume(cookie, regs->ip))
			return;
		frame = (struct frame *)regs->bp;
	} else if (task == current) {
		frame = __builtin_frame_address(0);
	} else {
		/* See switch.S: five registers, then rbp and the return address. */
		frame = (struct frame *)(task->thread.sp + 5 * sizeof(long));
		if (!libos_on_fiber(task, (unsigned long)frame) || !consume(cookie, frame->ip))
			return;
		frame = frame->next;
	}

	while (libos_on_fiber(task, (unsigned long)frame)) {
		struct frame *next = frame->next;

		if (!frame->ip || !consume(cookie, frame->ip))
			return;
		if (next <= frame)
			return;
		frame = next;
	}
}

void show_stack(struct task_struct *task, unsigned long *sp, const char *loglvl)
{
	unsigned long entries[32];
	unsigned int n;

	n = stack_trace_save_tsk(task ?: current, entries, ARRAY_SIZE(entries), 0);
	printk("%sCall Trace:\n", loglvl);
	for (unsigned int i = 0; i < n; i++)
		printk("%s %pB\n", loglvl, (void *)entries[i]);
}
