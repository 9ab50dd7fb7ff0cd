// SPDX-License-Identifier: GPL-2.0
/*
 * AIMD: additive increase, multiplicative decrease. A congestion control to learn from.
 *
 * The congestion window, cwnd, is how many segments may be on their way at once. A congestion
 * control has one task: to choose it. This one does so by four rules:
 *
 *   slow start   at the beginning nobody knows the path, so cwnd doubles per round trip, until it
 *                reaches the threshold ssthresh ("in slow start" means cwnd < ssthresh);
 *   increase     from there on cwnd grows by @alpha segments per round trip: a careful search for
 *                capacity that has become free;
 *   decrease     a lost segment, or an ECN mark, says that a queue on the path is full: cwnd
 *                gives up @beta percent of itself;
 *   undo         if the segment was late and not lost, the decrease is taken back.
 *
 * With alpha=1 and beta=50 this is the standard's control (RFC 5681, "Reno"). That flows which add
 * a constant and take away a share end up with equal shares was shown by Chiu and Jain ("Analysis
 * of the increase and decrease algorithms", Computer Networks and ISDN Systems, 1989). Other pairs
 * are as fast as Reno on the same path when alpha = 3 b / (2 - b), with b = beta / 100 (Yang and
 * Lam, "General AIMD congestion control", ICNP 2000).
 *
 * What is not here because the kernel does it for every control: which segments are lost
 * (net/ipv4/tcp_recovery.c), how cwnd walks down to ssthresh while losses are repaired
 * (tcp_cwnd_reduction(), RFC 6937), when a timeout starts all over (tcp_enter_loss()).
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/math64.h>
#include <linux/module.h>
#include <net/tcp.h>

/*
 * The parameters: /sys/module/aimd/parameters/. They may change while connections run, at any
 * moment, so each function below reads a parameter once, with READ_ONCE().
 */
struct aimd_param {
	unsigned int value; /* first, so that param_get_uint() reads it */
	unsigned int min;
	unsigned int max;
};

static struct aimd_param alpha = { .value = 1, .min = 1, .max = 64 };
static struct aimd_param beta = { .value = 50, .min = 1, .max = 90 };

static int aimd_param_set(const char *val, const struct kernel_param *kp)
{
	struct aimd_param *param = kp->arg;
	unsigned int value;

	if (kstrtouint(val, 0, &value) || value < param->min || value > param->max) {
		pr_err("%s must be a whole number from %u to %u\n", kp->name, param->min,
		       param->max);
		return -EINVAL;
	}
	WRITE_ONCE(param->value, value);
	return 0;
}

static const struct kernel_param_ops aimd_param_ops = {
	.set = aimd_param_set,
	.get = param_get_uint,
};

module_param_cb(alpha, &aimd_param_ops, &alpha, 0644);
__MODULE_PARM_TYPE(alpha, "uint");
MODULE_PARM_DESC(alpha, "increase in segments per round trip (1 to 64, default 1)");
module_param_cb(beta, &aimd_param_ops, &beta, 0644);
__MODULE_PARM_TYPE(beta, "uint");
MODULE_PARM_DESC(beta, "decrease in percent of the window (1 to 90, default 50)");

/*
 * An ACK said that @acked more segments have arrived. The kernel does not ask while it reduces cwnd
 * after a loss.
 */
static void aimd_cong_avoid(struct sock *sk, u32 ack, u32 acked)
{
	struct tcp_sock *tp = tcp_sk(sk);

	/*
	 * A sender that had less to send than cwnd allows has not tested the path with it, so
	 * nothing was learnt that would justify more.
	 */
	if (!tcp_is_cwnd_limited(sk))
		return;

	if (tcp_in_slow_start(tp)) {
		/* One more segment for each that arrived: doubles cwnd in a round trip. */
		acked = tcp_slow_start(tp, acked);
		if (!acked)
			return;
		/* The ACK went past ssthresh: what is left of it counts below. */
	}

	/*
	 * In a round trip cwnd segments arrive. tcp_cong_avoid_ai() adds one segment for every
	 * cwnd that it is told of, and keeps the remainder; telling it alpha times as many makes
	 * that alpha segments a round trip, without losing fractions at a small cwnd. acked is at
	 * most a window, 2^30 bytes of at least 48: alpha times that stays below 2^32.
	 */
	tcp_cong_avoid_ai(tp, tcp_snd_cwnd(tp), acked * READ_ONCE(alpha.value));
}

/*
 * Segments were lost: returns the window to go down to. Two segments are the least: with a single
 * one on its way, its receiver may wait for a second before it sends an ACK (RFC 5681, 4.2).
 */
static u32 aimd_ssthresh(struct sock *sk)
{
	u32 cwnd = tcp_snd_cwnd(tcp_sk(sk));

	/* cwnd * beta may need more than 32 bits; div_u64(), because not every CPU divides 64. */
	return max_t(u32, cwnd - div_u64((u64)cwnd * READ_ONCE(beta.value), 100), 2);
}

/*
 * The segments that seemed lost were only late, or sent twice for nothing: returns the window to go
 * back to. prior_cwnd is what cwnd was before the kernel began to reduce it.
 */
static u32 aimd_undo_cwnd(struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	return max(tcp_snd_cwnd(tp), tp->prior_cwnd);
}

static struct tcp_congestion_ops aimd __read_mostly = {
	.ssthresh = aimd_ssthresh,
	.cong_avoid = aimd_cong_avoid,
	.undo_cwnd = aimd_undo_cwnd,
	.owner = THIS_MODULE,
	.name = "aimd",
};

static int __init aimd_register(void)
{
	return tcp_register_congestion_control(&aimd);
}

/* Runs only when no socket uses aimd any more: each holds a reference on the module. */
static void __exit aimd_unregister(void)
{
	tcp_unregister_congestion_control(&aimd);
}

module_init(aimd_register);
module_exit(aimd_unregister);

/* The kernel asks for "tcp_NAME" when a socket wants a control that is not loaded. */
MODULE_ALIAS("tcp_aimd");
MODULE_DESCRIPTION("AIMD congestion control to learn from");
MODULE_LICENSE("GPL");
