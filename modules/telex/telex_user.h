/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * TELEX: what programs include. socket(AF_INET or AF_INET6, SOCK_SEQPACKET, IPPROTO_TELEX).
 */
#ifndef TELEX_USER_H
#define TELEX_USER_H

#include <linux/types.h>

#define IPPROTO_TELEX		253	/* for experiments, by RFC 3692 */
#define SOL_TELEX		IPPROTO_TELEX

#define TELEX_MAX_MESSAGE	65536	/* bytes; more is refused with EMSGSIZE */

/* getsockopt(SOL_TELEX, TELEX_INFO): struct telex_info, of as many bytes as there is room for. */
#define TELEX_INFO		1

struct telex_info {
	__u32	state;		/* as in struct tcp_info: 1 is established, 7 closed */
	__u32	mss;		/* payload bytes of a full segment */
	__u32	srtt_us;	/* smoothed round-trip time; 0 before the first sample */
	__u32	rttvar_us;	/* its variation */
	__u32	rto_us;		/* retransmission timeout, without backoff */
	__u32	cwnd;		/* segments, like all below */
	__u32	ssthresh;
	__u32	send_window;	/* that the peer grants beyond what it acknowledged */
	__u32	receive_window;	/* that was granted to the peer */
	__u32	in_flight;
	__u32	unsent;
	__u32	sent;		/* data segments so far, without retransmissions */
	__u32	received;	/* data segments so far, in order */
	__u32	retransmits;	/* segments sent again */
	__u32	timeouts;	/* of the retransmission timer */
	__u32	duplicates;	/* data segments that had arrived before */
};

#endif
