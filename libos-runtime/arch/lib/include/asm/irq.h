/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_IRQ_H
#define _ASM_LIB_IRQ_H

/* Lines of our own are enum libos_irq, and do not go through the irq descriptors. */
#define NR_IRQS 16
#include <asm-generic/irq.h>

#endif
