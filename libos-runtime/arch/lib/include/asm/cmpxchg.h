/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_CMPXCHG_H
#define _ASM_LIB_CMPXCHG_H

/* Plain C, see atomic.h. Sizes other than those of the integer types do not compile. */
#define arch_xchg(ptr, x)                                                   \
({                                                                          \
	__auto_type __xp = (ptr);                                           \
	__typeof__(*(ptr)) __xo = *(volatile __typeof__(*(ptr)) *)__xp;     \
	*(volatile __typeof__(*(ptr)) *)__xp = (x);                         \
	__xo;                                                               \
})

#define arch_cmpxchg(ptr, o, n)                                             \
({                                                                          \
	__auto_type __cp = (ptr);                                           \
	__typeof__(*(ptr)) __co = *(volatile __typeof__(*(ptr)) *)__cp;     \
	if (__co == (__typeof__(*(ptr)))(o))                                \
		*(volatile __typeof__(*(ptr)) *)__cp = (n);                 \
	__co;                                                               \
})

#define arch_cmpxchg_local arch_cmpxchg
#define arch_cmpxchg64 arch_cmpxchg
#define arch_cmpxchg64_local arch_cmpxchg

#endif
