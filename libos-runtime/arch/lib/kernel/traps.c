// SPDX-License-Identifier: GPL-2.0
/*
 * Faults of kernel code. The host's signal handler first asks libos_fixup(): a copy to or from a user
 * pointer may fault, and goes on elsewhere. Any other fault comes to libos_fault(), as an exception
 * would: the task ends with an oops, and the stack goes on, unless an interrupt was hit.
 */
#include <linux/bug.h>
#include <linux/extable.h>
#include <linux/kdebug.h>
#include <linux/module.h>
#include <linux/poison.h>
#include <linux/sched/debug.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/stacktrace.h>
#include <linux/uaccess.h>
#include <asm/irqflags.h>
#include "libos.h"

static_assert(sizeof(struct libos_fault) == sizeof(struct pt_regs));
static_assert(offsetof(struct libos_fault, ip) == offsetof(struct pt_regs, ip));
static_assert(offsetof(struct libos_fault, address) == offsetof(struct pt_regs, address));

uintptr_t libos_fixup(uintptr_t ip)
{
	const struct exception_table_entry *entry = search_exception_tables(ip);

	return entry ? (uintptr_t)&entry->fixup + entry->fixup : 0;
}

int is_valid_bugaddr(unsigned long ip)
{
	u16 insn;

	return !copy_from_kernel_nofault(&insn, (void *)ip, sizeof(insn)) && insn == 0x0b0f;
}

static const char *fault_name(unsigned long signal)
{
	switch (signal) {
	case SIGSEGV:
		return "bad memory access";
	case SIGBUS:
		return "bus error";
	case SIGILL:
		return "invalid opcode";
	case SIGFPE:
		return "divide error";
	case LIBOS_FAULT_STALL:
		return "endless loop";
	}
	return "fault";
}

/* Values that are found in a register when a pointer came from where it should not. */
static const char *poison_in(const struct pt_regs *regs)
{
	const unsigned long *reg = (const unsigned long *)regs;

	for (unsigned int i = 0; i < offsetof(struct pt_regs, sp) / sizeof(*reg); i++) {
		unsigned long near_list = reg[i] - (unsigned long)LIST_POISON1;

		if (near_list < 0x100)
			return ", a list entry that was deleted before";
		if (reg[i] >> 16 == POISON_FREE * 0x010101010101UL)
			return ", memory that was freed before";
	}
	return "";
}

static void describe(char *to, size_t len, const struct pt_regs *regs, unsigned long signal,
		     bool no_address, bool bug)
{
	if (bug)
		scnprintf(to, len, "BUG()");
	else if (no_address)
		scnprintf(to, len, "%s at no address%s", fault_name(signal), poison_in(regs));
	else if (signal == SIGSEGV || signal == SIGBUS)
		scnprintf(to, len, "%s at address 0x%lx", fault_name(signal), regs->address);
	else
		scnprintf(to, len, "%s", fault_name(signal));
}

static void die(struct pt_regs *regs, unsigned long signal, bool no_address)
{
	struct libos_backtrace trace = { .exact = true };
	bool bug = false;
	char what[96];

	oops_enter();
	console_verbose();
	bust_spinlocks(1);
	if (signal == SIGILL)
		bug = report_bug(regs->ip, regs) == BUG_TRAP_TYPE_BUG;
	describe(what, sizeof(what), regs, signal, no_address, bug);
	if (!bug)
		pr_alert("BUG: %s\n", what);
	pr_emerg("Oops: %s\n", fault_name(signal));
	print_modules();
	show_regs(regs);
	trace.n = stack_trace_save_regs(regs, trace.frames, ARRAY_SIZE(trace.frames), 0);
	libos_print_trace(&trace, KERN_EMERG, what);
	bust_spinlocks(0);
	add_taint(TAINT_DIE, LOCKDEP_NOW_UNRELIABLE);
	oops_exit();
}

void __noreturn libos_fault(struct libos_fault *fault)
{
	struct pt_regs *regs = (struct pt_regs *)fault;
	unsigned long signal = fault->signal & ~(u64)LIBOS_FAULT_NO_ADDRESS;

	raw_local_irq_disable();
	die(regs, signal, fault->signal & LIBOS_FAULT_NO_ADDRESS);
	if (signal == LIBOS_FAULT_STALL)
		panic("Fatal exception: the CPU does not come back");
	if (in_interrupt())
		panic("Fatal exception in interrupt");
	if (panic_on_oops)
		panic("Fatal exception");
	raw_local_irq_enable();
	current->thread.died = true;
	make_task_dead(signal);
}
