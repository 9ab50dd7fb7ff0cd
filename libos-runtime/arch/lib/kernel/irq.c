// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts. A line is a bit in libos_cpu.pending, set by whoever has news: the host's loop, its
 * timer signal, another thread. It is taken here, on the stack of whatever task switched interrupts on.
 */
#include <linux/hardirq.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irq_work.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <asm/irq_regs.h>
#include <asm/irqflags.h>
#include "libos.h"

void libos_raise(unsigned int line)
{
	__atomic_fetch_or(&libos_cpu.pending, 1u << line, __ATOMIC_RELAXED);
}

/* A line of the kernel's own, beside those of enum libos_irq. */
#define IRQ_WORK_LINE 31

void arch_irq_work_raise(void)
{
	libos_raise(IRQ_WORK_LINE);
}

/* Takes what is pending. Interrupts are on when it is called and when it returns. */
void libos_irqs(void)
{
	struct pt_regs *old_regs = set_irq_regs(task_pt_regs(current));

	while (READ_ONCE(libos_cpu.pending)) {
		u32 pending;

		raw_local_irq_disable();
		pending = __atomic_exchange_n(&libos_cpu.pending, 0, __ATOMIC_RELAXED);
		libos_cpu.irqs++;
		irq_enter();
		if (pending & (1u << LIBOS_IRQ_TIMER))
			libos_clock_interrupt();
		if (pending & (1u << LIBOS_IRQ_HOST))
			libos_host->irq();
		if (pending & (1u << IRQ_WORK_LINE))
			irq_work_run();
		irq_exit();
		/* Not raw_local_irq_enable(): that would come back here. */
		WRITE_ONCE(libos_cpu.irqs_on, 1);
	}
	set_irq_regs(old_regs);
}
EXPORT_SYMBOL(libos_irqs);

void __init init_IRQ(void)
{
}

int arch_show_interrupts(struct seq_file *p, int prec)
{
	seq_printf(p, "%*s: %10llu  all lines\n", prec, "INT", libos_cpu.irqs);
	return 0;
}
