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
	}
	return "fault";
}

static void die(struct pt_regs *regs, unsigned long signal)
{
	unsigned long entries[32];
	unsigned int n;

	oops_enter();
	console_verbose();
	bust_spinlocks(1);
	if (signal != SIGILL || report_bug(regs->ip, regs) != BUG_TRAP_TYPE_BUG)
		pr_alert("BUG: %s, address: %016lx\n", fault_name(signal), regs->address);
	pr_emerg("Oops: %s\n", fault_name(signal));
	print_modules();
	show_regs(regs);
	n = stack_trace_save_regs(regs, entries, ARRAY_SIZE(entries), 0);
	pr_emerg("Call Trace:\n");
	for (unsigned int i = 0; i < n; i++)
		pr_emerg(" %pB\n", (void *)entries[i]);
	bust_spinlocks(0);
	add_taint(TAINT_DIE, LOCKDEP_NOW_UNRELIABLE);
	oops_exit();
}

void __noreturn libos_fault(struct libos_fault *fault)
{
	struct pt_regs *regs = (struct pt_regs *)fault;
	unsigned long signal = fault->signal;

	raw_local_irq_disable();
	die(regs, signal);
	if (in_interrupt())
		panic("Fatal exception in interrupt");
	if (panic_on_oops)
		panic("Fatal exception");
	raw_local_irq_enable();
	current->thread.died = true;
	make_task_dead(signal);
}
