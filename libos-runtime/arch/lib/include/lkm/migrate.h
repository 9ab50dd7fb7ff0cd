/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For a congestion control whose private state changes in a way that its structure does not show (another
 * unit, another meaning) or that cannot be told by its members' names: what becomes of the state of live
 * connections when lkm-run swaps an older build for this one.
 *
 *	static int mycc_migrate(struct sock *sk, const void *state, size_t size, u32 version)
 *	{
 *		struct mycc *ca = inet_csk_ca(sk);	as mycc's init() has made it
 *		const struct mycc_v1 *old = state;	size bytes, ICSK_CA_PRIV_SIZE
 *
 *		if (version != 1)
 *			return -EINVAL;			the connection goes on as after init()
 *		ca->min_rtt_us = old->min_rtt_ms * 1000;
 *		return 0;
 *	}
 *	LKM_MIGRATE(2, mycc_migrate);
 *
 * The version is that of this build's state; a build without LKM_MIGRATE() has version 0. The function is
 * called when the versions differ, with interrupts off: it must not sleep. What the old state owns is its
 * own from then on, so the old build's release() is not called, unless it returns an error.
 *
 * In another kernel than the library this is nothing at all, and the function is dropped by the compiler:
 * copy this file to lkm/migrate.h in the module's folder, and add ccflags-y += -I$(src).
 */
#ifndef _LKM_MIGRATE_H
#define _LKM_MIGRATE_H

#include <linux/compiler.h>
#include <linux/types.h>

struct sock;

struct lkm_migrate {
	u32 version;
	int (*migrate)(struct sock *sk, const void *state, size_t size, u32 version);
};

#ifdef CONFIG_LIB
#define LKM_MIGRATE(version_, function)                                           \
	static const struct lkm_migrate lkm_migrate_ __used __section(".lkm_migrate") = { \
		.version = (version_), .migrate = (function) }
#else
#define LKM_MIGRATE(version_, function)                                           \
	static const struct lkm_migrate lkm_migrate_ __maybe_unused = {           \
		.version = (version_), .migrate = (function) }
#endif

#endif
