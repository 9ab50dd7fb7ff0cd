/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The part of the contract (libos.h) that is compiled into every kernel object and every module: keep it
 * small, each change rebuilds them all.
 */
#ifndef LIBOS_ABI_CPU_H
#define LIBOS_ABI_CPU_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stddef.h>
#include <stdint.h>
#endif

/* Interrupt lines. Raising one twice before it is served counts once. */
enum libos_irq {
	LIBOS_IRQ_TIMER = 0, /* the clock event is due */
	LIBOS_IRQ_HOST = 1, /* the host has events to deliver: calls host->irq() */
};

/*
 * Words that both sides read and write on every interrupt check. They live in the library.
 * Only `pending` may be written by a signal handler or by another thread (atomically).
 */
struct libos_cpu {
	uint32_t pending; /* bit per enum libos_irq */
	uint32_t irqs_on; /* 1: interrupts enabled */
	uint64_t deadline_ns; /* stack time of the next clock event, UINT64_MAX for none */
	uint64_t switches; /* context switches so far */
	uint64_t irqs; /* interrupts served so far */
};

#endif /* LIBOS_ABI_CPU_H */
