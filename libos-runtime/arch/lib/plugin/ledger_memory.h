/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Put in front of mm/slub.c, mm/percpu.c and net/core/skbuff.c by -include (see ../Makefile): tells the ledger
 * of the end of memory, whoever frees it and in whatever way. The places are those where the kernel tells its
 * own leak checker, kmemleak, which this architecture does not have; and where a packet buffer goes back into
 * skbuff.c's cache, which it tells KASAN.
 */
#ifndef _LIBOS_LEDGER_MEMORY_H
#define _LIBOS_LEDGER_MEMORY_H

#include <linux/compiler.h>
#include <linux/types.h>

extern unsigned int libos_ledger_memory; /* records that end with memory */
void libos_ledger_freed(const void *memory);

static inline void libos_ledger_memory_ends(const void *memory)
{
	if (unlikely(libos_ledger_memory))
		libos_ledger_freed(memory);
}

#define kmemleak_free libos_no_kmemleak_free
#define kmemleak_free_recursive libos_no_kmemleak_free_recursive
#define kmemleak_free_percpu libos_no_kmemleak_free_percpu
#include <linux/kmemleak.h>
#undef kmemleak_free
#undef kmemleak_free_recursive
#undef kmemleak_free_percpu

static inline void kmemleak_free(const void *ptr)
{
	libos_ledger_memory_ends(ptr);
}

static inline void kmemleak_free_recursive(const void *ptr, slab_flags_t flags)
{
	libos_ledger_memory_ends(ptr);
}

static inline void kmemleak_free_percpu(const void __percpu *ptr)
{
	libos_ledger_memory_ends((const void __force *)ptr);
}

#ifdef LIBOS_LEDGER_OWN_PR_FMT
#undef pr_fmt /* which the file itself defines, before it includes anything */
#endif

#ifdef LIBOS_LEDGER_SKBUFF
#include <linux/kasan.h>
#define kasan_mempool_poison_object(object) (libos_ledger_memory_ends(object), true)
#endif

#endif
