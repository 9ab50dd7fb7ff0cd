/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_ARCHRANDOM_H
#define _ASM_LIB_ARCHRANDOM_H

/* The host is the source of randomness; in virtual time it is a seeded one. */
void libos_random(void *to, size_t len);

static inline size_t __must_check arch_get_random_longs(unsigned long *v, size_t max_longs)
{
	libos_random(v, max_longs * sizeof(*v));
	return max_longs;
}

static inline size_t __must_check arch_get_random_seed_longs(unsigned long *v, size_t max_longs)
{
	return arch_get_random_longs(v, max_longs);
}

#endif
