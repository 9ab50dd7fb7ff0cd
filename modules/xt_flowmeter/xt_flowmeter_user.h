/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The match "flowmeter", revision 0: what a rule of iptables or ip6tables holds.
 */
#ifndef XT_FLOWMETER_USER_H
#define XT_FLOWMETER_USER_H

#include <linux/types.h>

#define XT_FLOWMETER_INVERT	0x01	/* matches at the rate and below */

struct xt_flowmeter_info {
	__aligned_u64	rate;		/* bytes per second; matches above */
	__u8		flags;
};

#endif
