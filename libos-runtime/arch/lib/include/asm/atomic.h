/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_ATOMIC_H
#define _ASM_LIB_ATOMIC_H

/*
 * asm-generic/atomic.h switches interrupts off around each operation. Here interrupts are taken
 * only where they are switched on (irqflags.h), so a plain read-modify-write is atomic.
 */
#include <linux/types.h>
#include <asm/barrier.h>
#include <asm/cmpxchg.h>

#define ATOMIC64_INIT(i) { (i) }

#define arch_atomic_read(v) READ_ONCE((v)->counter)
#define arch_atomic_set(v, i) WRITE_ONCE(((v)->counter), (i))
#define arch_atomic64_read(v) READ_ONCE((v)->counter)
#define arch_atomic64_set(v, i) WRITE_ONCE(((v)->counter), (i))

#define LIB_ATOMIC_OP(prefix, type, val, op, c_op)                          \
	static __always_inline void arch_##prefix##_##op(val i, type *v)    \
	{                                                                   \
		WRITE_ONCE(v->counter, v->counter c_op i);                  \
	}                                                                   \
	static __always_inline val arch_##prefix##_fetch_##op(val i, type *v) \
	{                                                                   \
		val old = READ_ONCE(v->counter);                            \
                                                                            \
		WRITE_ONCE(v->counter, old c_op i);                         \
		return old;                                                 \
	}

#define LIB_ATOMIC_OP_RETURN(prefix, type, val, op, c_op)                   \
	LIB_ATOMIC_OP(prefix, type, val, op, c_op)                          \
	static __always_inline val arch_##prefix##_##op##_return(val i, type *v) \
	{                                                                   \
		val now = READ_ONCE(v->counter) c_op i;                     \
                                                                            \
		WRITE_ONCE(v->counter, now);                                \
		return now;                                                 \
	}

#define LIB_ATOMICS(prefix, type, val)                    \
	LIB_ATOMIC_OP_RETURN(prefix, type, val, add, +)   \
	LIB_ATOMIC_OP_RETURN(prefix, type, val, sub, -)   \
	LIB_ATOMIC_OP(prefix, type, val, and, &)          \
	LIB_ATOMIC_OP(prefix, type, val, andnot, & ~)     \
	LIB_ATOMIC_OP(prefix, type, val, or, |)           \
	LIB_ATOMIC_OP(prefix, type, val, xor, ^)

LIB_ATOMICS(atomic, atomic_t, int)
LIB_ATOMICS(atomic64, atomic64_t, s64)

#undef LIB_ATOMICS
#undef LIB_ATOMIC_OP_RETURN
#undef LIB_ATOMIC_OP

#define arch_atomic_add_return arch_atomic_add_return
#define arch_atomic_sub_return arch_atomic_sub_return
#define arch_atomic_fetch_add arch_atomic_fetch_add
#define arch_atomic_fetch_sub arch_atomic_fetch_sub
#define arch_atomic_fetch_and arch_atomic_fetch_and
#define arch_atomic_andnot arch_atomic_andnot
#define arch_atomic_fetch_andnot arch_atomic_fetch_andnot
#define arch_atomic_fetch_or arch_atomic_fetch_or
#define arch_atomic_fetch_xor arch_atomic_fetch_xor

#define arch_atomic64_add_return arch_atomic64_add_return
#define arch_atomic64_sub_return arch_atomic64_sub_return
#define arch_atomic64_fetch_add arch_atomic64_fetch_add
#define arch_atomic64_fetch_sub arch_atomic64_fetch_sub
#define arch_atomic64_fetch_and arch_atomic64_fetch_and
#define arch_atomic64_andnot arch_atomic64_andnot
#define arch_atomic64_fetch_andnot arch_atomic64_fetch_andnot
#define arch_atomic64_fetch_or arch_atomic64_fetch_or
#define arch_atomic64_fetch_xor arch_atomic64_fetch_xor

#endif
