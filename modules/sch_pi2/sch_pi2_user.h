/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The qdisc "pi2": what tc(8) and programs exchange with it.
 */
#ifndef SCH_PI2_USER_H
#define SCH_PI2_USER_H

#include <linux/types.h>

/* In TCA_OPTIONS; each u32. What is not given keeps its value. */
enum {
	TCA_PI2_UNSPEC,
	TCA_PI2_LIMIT,		/* packets, at least 1 */
	TCA_PI2_TARGET,		/* microseconds, 1 to 1000000 */
	TCA_PI2_TUPDATE,	/* microseconds, 1000 to 1000000 */
	TCA_PI2_ALPHA,		/* 1/1000 per second, up to 100000 */
	TCA_PI2_BETA,		/* the same */
	TCA_PI2_ECN,		/* 1: mark, 0: only drop */
	__TCA_PI2_MAX
};

#define TCA_PI2_MAX (__TCA_PI2_MAX - 1)

/* TCA_STATS_APP */
struct tc_pi2_xstats {
	__u32	prob;		/* p, of 2^32 - 1; after the last update, like the two below */
	__u32	delay_us;	/* of the queue */
	__u32	updates;	/* so far */
	__u32	packets;	/* enqueued, or dropped instead */
	__u32	dropped;	/* by p */
	__u32	overlimit;	/* dropped because the queue was full */
	__u32	marked;		/* ECT(0) and CE packets, by p squared */
	__u32	marked_l4s;	/* ECT(1) packets, by 2 p */
};

#endif
