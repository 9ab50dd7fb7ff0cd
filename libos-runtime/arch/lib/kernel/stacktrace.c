// SPDX-License-Identifier: GPL-2.0
/* Back traces by frame pointers, bounded by the fiber stack, so that a broken chain just ends. */
#include <linux/export.h>
#include <linux/hardirq.h>
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/sched.h>
#include <linux/sched/debug.h>
#include <linux/sched/task_stack.h>
#include <linux/stacktrace.h>
#include <linux/uaccess.h>
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

enum called { NOT_CALLED, MAYBE_CALLED, CALLED };

/*
 * Whether `ret` is what a call returns to that may have called the function at `ip`: a direct call names
 * its target, one by a register or by memory may have been any.
 */
static enum called called_from(unsigned long ip, unsigned long ret)
{
	unsigned long size, offset;
	u8 code[7];
	s32 distance;

	if (!__kernel_text_address(ret) ||
	    copy_from_kernel_nofault(code, (void *)(ret - sizeof(code)), sizeof(code)))
		return NOT_CALLED;
	if (code[2] == 0xe8) {
		memcpy(&distance, &code[3], sizeof(distance));
		if (kallsyms_lookup_size_offset(ip, &size, &offset) && ret + distance == ip - offset)
			return CALLED;
	}
	/* ff /2: with a mod r/m byte and up to five more. */
	for (unsigned int length = 2; length <= sizeof(code); length++) {
		const u8 *insn = &code[sizeof(code) - length];

		if (insn[0] == 0xff && (insn[1] & 0x38) == 0x10)
			return MAYBE_CALLED;
	}
	return NOT_CALLED;
}

/*
 * The caller of a function that was hit before it had set up its frame: the frame pointer is still its
 * caller's, so the caller itself is in no frame. 0 when it had its frame.
 */
static unsigned long caller_without_frame(const struct pt_regs *regs)
{
	unsigned long word[2], ret = 0;
	enum called called;
	struct frame frame;

	if (copy_from_kernel_nofault(word, (void *)regs->sp, sizeof(word)))
		return 0;
	called = called_from(regs->ip, word[0]);
	ret = word[0];
	/* Between "push %rbp" and "mov %rsp, %rbp". */
	if (called == NOT_CALLED && word[0] == regs->bp) {
		called = called_from(regs->ip, word[1]);
		ret = word[1];
	}
	if (called == NOT_CALLED)
		return 0;
	/* What lies there may be left over from an earlier call, when the frame tells the caller. */
	if (called == MAYBE_CALLED && libos_on_fiber(current, regs->bp) &&
	    !copy_from_kernel_nofault(&frame, (void *)regs->bp, sizeof(frame)) &&
	    called_from(regs->ip, frame.ip) == CALLED)
		return 0;
	return ret;
}

void arch_stack_walk(stack_trace_consume_fn consume, void *cookie, struct task_struct *task,
		     struct pt_regs *regs)
{
	struct frame *frame;

	if (regs) {
		unsigned long caller = caller_without_frame(regs);

		if (!consume(cookie, regs->ip) || (caller && !consume(cookie, caller)))
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

/* "softirq", "task 12 (name)" */
static void describe_context(char *to, size_t len)
{
	if (in_hardirq() || in_nmi())
		scnprintf(to, len, "interrupt");
	else if (in_serving_softirq())
		scnprintf(to, len, "softirq");
	else
		scnprintf(to, len, "task %d (%s)", task_pid_nr(current), current->comm);
}

/* `what`: of the fault that the trace is of, for the host. */
void libos_print_trace(const struct libos_backtrace *trace, const char *loglvl, const char *what)
{
	char context[TASK_COMM_LEN + 24], line[128];
	u64 frames[ARRAY_SIZE(trace->frames)];
	struct libos_trace described = {
		.what = what,
		.context = context,
		.frames = frames,
		.n = trace->n,
	};

	for (unsigned int i = 0; i < trace->n; i++)
		frames[i] = trace->frames[i] - (i || !trace->exact);
	describe_context(context, sizeof(context));
	printk("%sCall Trace:\n", loglvl);
	for (unsigned int i = 0; i < trace->n; i++) {
		bool is_known = libos_host->frame_line(frames[i], line, sizeof(line));

		printk("%s %pB%s%s\n", loglvl, (void *)(frames[i] + 1), is_known ? " " : "",
		       is_known ? line : "");
	}
	/* It may be the end of the stack. */
	libos_host->back_trace(&described);
}

void show_stack(struct task_struct *task, unsigned long *sp, const char *loglvl)
{
	struct libos_backtrace trace = { };

	trace.n = stack_trace_save_tsk(task ?: current, trace.frames, ARRAY_SIZE(trace.frames), 0);
	libos_print_trace(&trace, loglvl, NULL);
}
