// SPDX-License-Identifier: GPL-2.0
/*
 * Tasks as fibers. A task's code runs on a fiber stack from the host (with a guard page); what the
 * kernel calls the task's stack is one page that no code runs on, see thread_info.h.
 */
#include <linux/cpu.h>
#include <linux/hrtimer.h>
#include <linux/init.h>
#include <linux/sched.h>
#include <linux/sched/debug.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <asm/stacktrace.h>
#include <asm/switch_to.h>
#include "libos.h"

struct task_struct *libos_current = &init_task;
EXPORT_SYMBOL(libos_current);

/* What libos_switch() pops when a task runs for the first time. */
struct first_frame {
	unsigned long r15, r14, r13, r12, bx, bp;
	void (*ip)(void);
};

int copy_thread(struct task_struct *p, const struct kernel_clone_args *args)
{
	struct first_frame *frame;
	void *fiber;

	/* Without a function it would be a fork(): two returns from one call, on one stack. */
	if (!args->fn)
		return -ENOSYS;

	fiber = libos_host->stack_alloc(FIBER_STACK_SIZE);
	if (!fiber)
		return -ENOMEM;

	memset(task_pt_regs(p), 0, sizeof(struct pt_regs));
	memset(&p->thread, 0, sizeof(p->thread));
	p->thread.fiber = fiber;
	/* Aligned as the ABI wants it at the entry of libos_task_start(). */
	frame = fiber + FIBER_STACK_SIZE - sizeof(*frame) - 16;
	frame->r12 = (unsigned long)args->fn;
	frame->r13 = (unsigned long)args->fn_arg;
	frame->bp = 0;
	frame->ip = libos_first_switch;
	p->thread.sp = (unsigned long)frame;
	return 0;
}

void arch_release_task_struct(struct task_struct *tsk)
{
	/* dup_task_struct() copies the parent's thread, and may fail before copy_thread(). */
	if (tsk->thread.fiber)
		libos_host->stack_free(tsk->thread.fiber, FIBER_STACK_SIZE);
}

int arch_dup_task_struct(struct task_struct *dst, struct task_struct *src)
{
	*dst = *src;
	memset(&dst->thread, 0, sizeof(dst->thread));
	return 0;
}

static void extend(struct libos_stretch *stretch)
{
	stretch->longest_ns = max(stretch->longest_ns, libos_boot->host_ns() - stretch->since_ns);
}

/* Measures how long the caller keeps the CPU at most: that is what others have to wait. */
void libos_stretch_begin(struct libos_stretch *stretch)
{
	stretch->longest_ns = 0;
	stretch->since_ns = libos_boot->host_ns();
	current->thread.stretch = stretch;
}

void libos_stretch_end(void)
{
	extend(current->thread.stretch);
	current->thread.stretch = NULL;
}

/* Around every context switch. The host's hooks are for tools that must know a thread's stack (ASan). */
void libos_switching(struct task_struct *prev, struct task_struct *next)
{
	libos_cpu.switches++;
	next->thread.visited = 0;
	if (unlikely(prev->thread.stretch))
		extend(prev->thread.stretch);
	if (unlikely(next->thread.stretch))
		next->thread.stretch->since_ns = libos_boot->host_ns();
	if (unlikely(libos_host->switching))
		libos_host->switching(next->thread.fiber, FIBER_STACK_SIZE);
}

void libos_switched(void)
{
	if (unlikely(libos_host->switched))
		libos_host->switched();
}

/* From libos_first_switch(), with what copy_thread() put into the frame. */
void libos_task_start(struct task_struct *prev, int (*fn)(void *), void *arg)
{
	int code;

	libos_switched();
	schedule_tail(prev);
	code = fn(arg);
	/* kernel_init() returns when it has "executed" /init; everybody else is done. */
	if (is_global_init(current))
		libos_pid1();
	/* A usermode helper that has "executed" modprobe, see plugin/modprobe.c. */
	if (!code && current->thread.modprobe)
		code = libos_modprobe_run() << 8;
	do_exit(code);
}

/* do_exit() of a task: tell the host, whose frames on this fiber are gone if it died. */
void exit_thread(struct task_struct *tsk)
{
	if (tsk->thread.loading)
		libos_init_died(tsk->thread.loading);
	if (tsk->thread.host)
		libos_host->task_exit(tsk->thread.cookie, tsk->thread.died);
}

void flush_thread(void)
{
}

void arch_cpu_idle(void)
{
	libos_host->idle();
}

unsigned long __get_wchan(struct task_struct *p)
{
	return 0;
}

void show_regs(struct pt_regs *regs)
{
	show_regs_print_info(KERN_DEFAULT);
	printk("RIP: %pS\n", (void *)regs->ip);
	printk("RSP: %016lx RBP: %016lx RFLAGS: %08lx\n", regs->sp, regs->bp, regs->flags);
	printk("RAX: %016lx RBX: %016lx RCX: %016lx\n", regs->ax, regs->bx, regs->cx);
	printk("RDX: %016lx RSI: %016lx RDI: %016lx\n", regs->dx, regs->si, regs->di);
	printk("R08: %016lx R09: %016lx R10: %016lx\n", regs->r8, regs->r9, regs->r10);
	printk("R11: %016lx R12: %016lx R13: %016lx\n", regs->r11, regs->r12, regs->r13);
	printk("R14: %016lx R15: %016lx address: %016lx\n", regs->r14, regs->r15, regs->address);
}

/* -- fibers of the host ------------------------------------------------------------------------- */

struct spawn {
	void (*fn)(void *cookie);
	void *cookie;
};

static int spawn_entry(void *arg)
{
	struct spawn spawn = *(struct spawn *)arg;

	kfree(arg);
	spawn.fn(spawn.cookie);
	return 0;
}

int libos_spawn(const char *name, void (*fn)(void *cookie), void *cookie, unsigned int flags,
		struct libos_task **task)
{
	struct spawn *spawn = kmalloc(sizeof(*spawn), GFP_KERNEL);
	struct kernel_clone_args args = {
		/* Not a kthread: its close(2) is synchronous, and its signals are a program's. */
		.flags = CLONE_FS | (flags & LIBOS_SPAWN_OWN_FILES ? 0 : CLONE_FILES),
		.exit_signal = SIGCHLD,
		.fn = spawn_entry,
		.fn_arg = spawn,
	};
	struct task_struct *p;

	if (!spawn)
		return -ENOMEM;
	spawn->fn = fn;
	spawn->cookie = cookie;

	p = copy_process(NULL, 0, NUMA_NO_NODE, &args);
	if (IS_ERR(p)) {
		kfree(spawn);
		return PTR_ERR(p);
	}
	p->thread.host = true;
	p->thread.cookie = cookie;
	set_task_comm(p, name);
	*task = (struct libos_task *)p;
	wake_up_new_task(p);
	return 0;
}

struct libos_task *libos_self(void)
{
	return (struct libos_task *)current;
}

void *libos_stack(void)
{
	return current->thread.fiber;
}

int libos_pid(struct libos_task *task)
{
	return task_pid_nr((struct task_struct *)task);
}

int libos_park(u64 deadline_ns)
{
	ktime_t expires, *timeout = NULL;

	if (deadline_ns != U64_MAX) {
		/* Stack time counts from power-on, CLOCK_MONOTONIC from timekeeping_init(). */
		expires = ns_to_ktime(ktime_get_ns() + (s64)(deadline_ns - libos_host->clock_ns()));
		timeout = &expires;
	}
	/*
	 * As in user mode, no reader of RCU's holds anything here. With softirqs off its callbacks wait for
	 * the next line to run them; schedule() would wake ksoftirqd for it.
	 */
	local_bh_disable();
	rcu_qs();
	local_bh_enable();
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (current->thread.woken || signal_pending(current))
			break;
		if (!schedule_hrtimeout_range(timeout, 0, HRTIMER_MODE_ABS))
			break;
	}
	__set_current_state(TASK_RUNNING);
	if (current->thread.woken) {
		current->thread.woken = false;
		return 0;
	}
	if (signal_pending(current)) {
		clear_notify_signal();
		return -EINTR;
	}
	return -ETIMEDOUT;
}

void libos_unpark(struct libos_task *task)
{
	struct task_struct *p = (struct task_struct *)task;

	p->thread.woken = true;
	wake_up_state(p, TASK_INTERRUPTIBLE);
}

void libos_interrupt(struct libos_task *task)
{
	set_notify_signal((struct task_struct *)task);
}

void libos_yield(void)
{
	cond_resched();
	yield();
}

int libos_alone(const struct libos_task *asleep)
{
	const struct task_struct *p = (const struct task_struct *)asleep;

	return nr_running() == 1 + (p && p != current && p->on_rq && READ_ONCE(p->__state));
}
