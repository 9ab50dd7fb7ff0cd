// SPDX-License-Identifier: GPL-2.0
/*
 * __name__: a congestion control to begin with.
 *
 * It decides one number: cwnd, how many segments may be on their way at once. Now it does what the
 * standard does (RFC 5681): cwnd doubles per round trip until the threshold ssthresh, then grows by
 * @alpha segments per round trip, and is halved when a segment is lost.
 *
 * Save this file while `lkm-run watch` looks at it: the next ACK of every connection that uses
 * __name__ runs the new code.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <net/tcp.h>

/* /sys/module/__name__/parameters/alpha; may change at any moment, so it is read once per use. */
static unsigned int alpha = 1;
module_param(alpha, uint, 0644);
MODULE_PARM_DESC(alpha, "segments by which the window grows per round trip (default 1)");

/* What __name__ remembers of a connection: inet_csk_ca(), ICSK_CA_PRIV_SIZE bytes (104 in 6.12). */
struct ca {
	u32 losses; /* times that the window was reduced */
};

/* A connection begins to use __name__. */
static void ca_init(struct sock *sk)
{
	struct ca *ca = inet_csk_ca(sk);

	ca->losses = 0;
}

/* An ACK arrived for @acked segments. Not called while a loss is repaired. */
static void ca_cong_avoid(struct sock *sk, u32 ack, u32 acked)
{
	struct tcp_sock *tp = tcp_sk(sk);

	/* The sender had less to send than cwnd allows: nothing was learnt about the path. */
	if (!tcp_is_cwnd_limited(sk))
		return;

	if (tcp_in_slow_start(tp)) {
		acked = tcp_slow_start(tp, acked);
		if (!acked)
			return;
	}
	/* Adds one segment for each cwnd that it is told of: alpha times as many per round trip. */
	tcp_cong_avoid_ai(tp, tcp_snd_cwnd(tp), acked * clamp(READ_ONCE(alpha), 1U, 64U));
}

/* A segment was lost: returns the window to go down to. */
static u32 ca_ssthresh(struct sock *sk)
{
	struct ca *ca = inet_csk_ca(sk);

	ca->losses++;
	return max(tcp_snd_cwnd(tcp_sk(sk)) / 2, 2U);
}

static struct tcp_congestion_ops ops __read_mostly = {
	.init = ca_init,
	.cong_avoid = ca_cong_avoid,
	.ssthresh = ca_ssthresh,
	.undo_cwnd = tcp_reno_undo_cwnd, /* it was late and not lost: back to the old window */
	.owner = THIS_MODULE,
	.name = "__name__",
};

static int __init ca_register(void)
{
	BUILD_BUG_ON(sizeof(struct ca) > ICSK_CA_PRIV_SIZE);
	return tcp_register_congestion_control(&ops);
}

static void __exit ca_unregister(void)
{
	tcp_unregister_congestion_control(&ops);
}

module_init(ca_register);
module_exit(ca_unregister);

/* The kernel asks for "tcp_NAME" when a socket wants a control that is not loaded. */
MODULE_ALIAS("tcp___name__");
MODULE_DESCRIPTION("__name__ congestion control");
MODULE_LICENSE("GPL");
