/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_IRQ_WORK_H
#define _ASM_LIB_IRQ_WORK_H

/* Without a line of its own, irq_work would wait for the next tick, which an idle stack does not have. */
static inline bool arch_irq_work_has_interrupt(void)
{
	return true;
}

#endif
