/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_IRQFLAGS_H
#define _ASM_LIB_IRQFLAGS_H

#ifndef __ASSEMBLY__
#include <linux/compiler.h>
#include <abi/cpu.h>

/*
 * Nothing ever interrupts a running instruction: an interrupt is a bit in `pending`, and is taken
 * where interrupts are switched on. So plain C is atomic against interrupts (atomic.h, cmpxchg.h),
 * and this file is part of the module ABI.
 */
extern struct libos_cpu libos_cpu;
void libos_irqs(void);

#define ARCH_IRQ_DISABLED 0
#define ARCH_IRQ_ENABLED 1

static inline unsigned long arch_local_save_flags(void)
{
	return READ_ONCE(libos_cpu.irqs_on);
}
#define arch_local_save_flags arch_local_save_flags

static inline void arch_local_irq_disable(void)
{
	WRITE_ONCE(libos_cpu.irqs_on, 0);
	barrier();
}
#define arch_local_irq_disable arch_local_irq_disable

static inline void arch_local_irq_enable(void)
{
	barrier();
	WRITE_ONCE(libos_cpu.irqs_on, 1);
	if (unlikely(READ_ONCE(libos_cpu.pending)))
		libos_irqs();
}
#define arch_local_irq_enable arch_local_irq_enable

static inline void arch_local_irq_restore(unsigned long flags)
{
	if (flags)
		arch_local_irq_enable();
	else
		arch_local_irq_disable();
}
#define arch_local_irq_restore arch_local_irq_restore

static inline unsigned long arch_local_irq_save(void)
{
	unsigned long flags = arch_local_save_flags();

	arch_local_irq_disable();
	return flags;
}
#define arch_local_irq_save arch_local_irq_save

#include <asm-generic/irqflags.h>
#endif
#endif
