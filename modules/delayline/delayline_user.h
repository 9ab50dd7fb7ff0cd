/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The link type "delayline": attributes of IFLA_INFO_DATA. Each is about what the device sends.
 */
#ifndef DELAYLINE_USER_H
#define DELAYLINE_USER_H

#include <linux/types.h>

enum {
	IFLA_DELAYLINE_UNSPEC,
	IFLA_DELAYLINE_PAD,
	IFLA_DELAYLINE_DELAY,	/* u64: nanoseconds, up to 1000 s; default 0 */
	IFLA_DELAYLINE_LOSS,	/* u32: share of packets lost, of 2^32 - 1; default 0 */
	IFLA_DELAYLINE_LIMIT,	/* u32: packets under way, at least 1; default 10000 */
	__IFLA_DELAYLINE_MAX
};

#define IFLA_DELAYLINE_MAX (__IFLA_DELAYLINE_MAX - 1)

#endif
