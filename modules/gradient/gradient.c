// SPDX-License-Identifier: GPL-2.0
/*
 * Gradient: a congestion control that steers by the round-trip time and its trend.
 *
 * A queue that grows makes the RTT grow, long before it overflows. Once per round trip this control
 * takes the least RTT of the round (the least, because delayed and compressed ACKs only ever add),
 * and the smoothed change from round to round, the gradient. With base the propagation delay:
 *
 *   RTT <= base + low_us    the queue is short: cwnd grows by alpha segments per round trip,
 *                           five times as fast after five such rounds in a row. On slow paths
 *                           the time of two segments counts in place of low_us;
 *   in between              cwnd changes by  alpha (1 - w) - beta w queued  per round trip, where
 *                           queued is the part of cwnd that waits above the low mark,
 *                           cwnd (RTT - low mark) / RTT, and the weight w follows the gradient,
 *                           in RTT change per base RTT: 0 at -1/4 and below, 1/2 at a level RTT,
 *                           1 at +1/4 and above;
 *   RTT >= base + high_us   the same with w = 1, whatever the trend.
 *
 * At rest w is 1/2, so each flow keeps alpha / beta segments in the queue. That it is the same
 * number for each makes the shares equal, which a decrease by the gradient alone would not.
 *
 * Around it:
 *   - Slow start ends when a round's least RTT rises by an eighth, by 4 ms at least and 16 ms at
 *     most (RFC 9406), or with a loss.
 *   - A loss or an ECN mark halves cwnd (RFC 5681), reached by proportional rate reduction
 *     (RFC 6937), which a control with cong_control() has to do by itself.
 *   - base is the kernel's own windowed minimum of the RTT (sysctl tcp_min_rtt_wlen, five minutes).
 *     A standing queue must not be mistaken for propagation delay: every ten seconds the queue is
 *     drained, by two round trips at 3/4 of what the pipe holds. Flows that find a new minimum
 *     begin their ten seconds anew, so that those which share a queue come to drain it together.
 *   - Decreases that are of no use mean that others fill the queue by loss-based rules. After five
 *     or more, of a quarter of cwnd, delay is not acted on until the queue has been short again.
 *   - After an idle time cwnd decays (RFC 2861), as far as the sysctl tcp_slow_start_after_idle
 *     allows, and the trend starts anew.
 *   - Sending is paced at 120 % of cwnd per smoothed RTT, 200 % in slow start.
 *
 * Sources:
 *   Mittal et al., "TIMELY: RTT-based congestion control for the datacenter", SIGCOMM 2015: the two
 *   marks, the normalized gradient, the faster increase.
 *   Zhu et al., "ECN or delay: lessons learnt from analysis of DCQCN and TIMELY", CoNEXT 2016: why
 *   a gradient alone has no fixed point; the weight w.
 *   Hayes and Armitage, "Revisiting TCP congestion control using delay gradients", Networking 2011:
 *   gradients of per-round extremes; decreases of no use.
 *   Arun and Balakrishnan, "Copa: practical delay-based congestion control for the Internet", NSDI
 *   2018: a queue that is never short as the sign of loss-based neighbours.
 *
 * All functions that take a socket run with it locked, so its state needs no lock of its own.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/inet_diag.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/version.h>
#include <net/tcp.h>

#define GRADIENT_ONE 1024 /* 1.0 in fixed point */
#define GRADIENT_TREND_SCALE 16 /* units of trend per microsecond */
#define GRADIENT_MAX_RTT_US BIT(24) /* 16 s; keeps trend and RTT products within 32 and 64 bits */
#define GRADIENT_MIN_CWND 4U /* enough for ACKs to come without delayed-ACK timeouts */
#define GRADIENT_DRAIN_INTERVAL (10 * HZ)
#define GRADIENT_DRAIN_ROUNDS 2
#define GRADIENT_PATIENCE 5 /* rounds; TIMELY's and CDG's number */
#define GRADIENT_SS_SAMPLES 8 /* RTT samples before slow start may end (RFC 9406, N_RTT_SAMPLE) */

struct gradient {
	u32 base_us; /* propagation delay, GRADIENT_MAX_RTT_US before the first sample */
	u32 drain_stamp; /* when the last drain began or base_us fell, in tcp_jiffies32 */
	u32 round_us; /* least RTT of this round, U32_MAX before its first sample */
	u32 round_end; /* the round is over when this sequence number is acknowledged */
	u32 prev_us; /* round_us of the round before, 0 when it has none to compare with */
	s32 trend; /* smoothed change per round, in 1/GRADIENT_TREND_SCALE us */
	s32 fraction; /* of a segment, earned or owed, in 1/GRADIENT_ONE */
	u32 short_stamp; /* when the queue was short last, in tcp_jiffies32 */
	u32 resume_cwnd; /* cwnd to go back to after a drain; 0: none runs */
	u32 futile_us; /* RTT at the first decrease in a row, */
	u32 futile_cwnd; /* and cwnd before it */
	u8 drain_rounds; /* left of the drain */
	u8 samples; /* of this round, saturates */
	u8 increases; /* rounds below the low mark in a row, saturates */
	u8 decreases; /* decreases in a row, saturates */
	bool competing; /* loss-based neighbours: ignore delay */
	bool reducing; /* cwnd is to end at ssthresh when recovery is over */
};

struct gradient_param {
	unsigned int value; /* first, so that param_get_uint() reads it */
	unsigned int min;
	unsigned int max;
};

static struct gradient_param alpha = { .value = 1, .min = 1, .max = 64 };
static struct gradient_param beta = { .value = 50, .min = 1, .max = 100 };
static struct gradient_param low_us = { .value = 2000, .min = 1, .max = 1000000 };
static struct gradient_param high_us = { .value = 25000, .min = 1, .max = 1000000 };

/* Set once the module's arguments are read: only then do both marks have their values. */
static bool gradient_ready;

static int gradient_check_marks(unsigned int low, unsigned int high)
{
	if (low < high)
		return 0;
	pr_err("low_us (%u) must be less than high_us (%u)\n", low, high);
	return -EINVAL;
}

/* Writers are serialised by the kernel's lock on the module's parameters. */
static int gradient_param_set(const char *val, const struct kernel_param *kp)
{
	struct gradient_param *param = kp->arg;
	unsigned int value;
	int err;

	if (kstrtouint(val, 0, &value) || value < param->min || value > param->max) {
		pr_err("%s must be a whole number from %u to %u\n", kp->name, param->min,
		       param->max);
		return -EINVAL;
	}
	if (gradient_ready) {
		err = gradient_check_marks(param == &low_us ? value : low_us.value,
					   param == &high_us ? value : high_us.value);
		if (err)
			return err;
	}
	WRITE_ONCE(param->value, value);
	return 0;
}

static const struct kernel_param_ops gradient_param_ops = {
	.set = gradient_param_set,
	.get = param_get_uint,
};

module_param_cb(alpha, &gradient_param_ops, &alpha, 0644);
__MODULE_PARM_TYPE(alpha, "uint");
MODULE_PARM_DESC(alpha, "increase in segments per round trip (1 to 64, default 1)");
module_param_cb(beta, &gradient_param_ops, &beta, 0644);
__MODULE_PARM_TYPE(beta, "uint");
MODULE_PARM_DESC(beta, "decrease in percent of what is queued (1 to 100, default 50)");
module_param_cb(low_us, &gradient_param_ops, &low_us, 0644);
__MODULE_PARM_TYPE(low_us, "uint");
MODULE_PARM_DESC(low_us, "queueing delay below which only increase (us, default 2000)");
module_param_cb(high_us, &gradient_param_ops, &high_us, 0644);
__MODULE_PARM_TYPE(high_us, "uint");
MODULE_PARM_DESC(high_us, "queueing delay above which the trend is ignored (us, default 25000)");

static void gradient_start_round(const struct tcp_sock *tp, struct gradient *g)
{
	g->round_end = tp->snd_nxt;
	g->round_us = U32_MAX;
	g->samples = 0;
}

/*
 * The RTT up to which the queue is short. On a slow path two segments of our own alone may take
 * longer than low_us; to allow more than an eighth of base would be to accept a queue of others.
 */
static u32 gradient_low_mark(const struct tcp_sock *tp, const struct gradient *g)
{
	u32 two_segments = min(2 * g->round_us / tcp_snd_cwnd(tp), g->base_us / 8);

	return g->base_us + max(READ_ONCE(low_us.value), two_segments);
}

/* What was measured no longer holds: idle time, recovery, a drain. */
static void gradient_forget_trend(const struct tcp_sock *tp, struct gradient *g)
{
	gradient_start_round(tp, g);
	g->prev_us = 0;
	g->trend = 0;
	g->fraction = 0;
	g->increases = 0;
	g->decreases = 0;
}

static u32 gradient_base(const struct tcp_sock *tp)
{
	/* ~0 before the first sample. */
	return clamp_t(u32, tcp_min_rtt(tp), 1, GRADIENT_MAX_RTT_US);
}

static void gradient_sample(const struct tcp_sock *tp, struct gradient *g, long rtt_us)
{
	u32 base = gradient_base(tp);

	if (rtt_us < 0)
		return;
	if (base < g->base_us)
		g->drain_stamp = tcp_jiffies32;
	g->base_us = base;
	/* The kernel's minimum leaves delayed ACKs out, so a sample may lie below it. */
	g->round_us = min_t(u32, g->round_us, clamp_t(long, rtt_us, base, GRADIENT_MAX_RTT_US));
	if (g->samples < U8_MAX)
		g->samples++;
}

/* Weight of the decrease, 0 to GRADIENT_ONE, from the smoothed trend of the rounds' RTT. */
static u32 gradient_weight(struct gradient *g)
{
	s32 change = 0;
	s64 slope;

	if (g->prev_us)
		change = (s32)(g->round_us - g->prev_us) * GRADIENT_TREND_SCALE;
	g->trend += (change - g->trend) / 2;
	g->prev_us = g->round_us;

	slope = div_s64((s64)g->trend * GRADIENT_ONE, g->base_us * GRADIENT_TREND_SCALE);
	return clamp_t(s64, GRADIENT_ONE / 2 + 2 * slope, 0, GRADIENT_ONE);
}

static void gradient_queue_is_short(struct gradient *g)
{
	g->short_stamp = tcp_jiffies32;
	g->competing = false;
}

/*
 * A decrease is due: is it of any use? If a quarter of cwnd, given up in five rounds or more, has
 * not made the RTT less, and the last drain has not made the queue short, then others keep it full.
 * With nothing left to give up, a long queue is the sign: a middling one may be of our own kind.
 */
static void gradient_count_decrease(struct gradient *g, u32 cwnd, bool queue_is_long)
{
	bool gave_up;

	if (!g->decreases) {
		g->futile_us = g->round_us;
		g->futile_cwnd = cwnd;
	}
	if (g->decreases < U8_MAX)
		g->decreases++;

	gave_up = cwnd <= g->futile_cwnd - g->futile_cwnd / 4 ||
		  (cwnd <= GRADIENT_MIN_CWND && queue_is_long);
	if (g->decreases <= GRADIENT_PATIENCE || !gave_up)
		return;
	g->competing = g->round_us >= g->futile_us &&
		       tcp_jiffies32 - g->short_stamp > GRADIENT_DRAIN_INTERVAL;
	g->decreases = 0;
}

/* One decision, at the end of a round that has a sample. */
static void gradient_steer(struct sock *sk, struct gradient *g)
{
	struct tcp_sock *tp = tcp_sk(sk);
	u32 low = gradient_low_mark(tp, g);
	u32 high = g->base_us + READ_ONCE(high_us.value);
	u32 cwnd = tcp_snd_cwnd(tp);
	s64 change = READ_ONCE(alpha.value) * GRADIENT_ONE;
	u32 weight = gradient_weight(g);
	s32 whole;
	u64 cut;

	if (g->round_us <= low) {
		gradient_queue_is_short(g);
		g->decreases = 0;
		if (g->increases < GRADIENT_PATIENCE)
			g->increases++;
		else
			change *= 5;
	} else if (g->competing) {
		g->increases = 0;
	} else {
		g->increases = 0;
		if (g->round_us >= high)
			weight = GRADIENT_ONE;
		change = change * (GRADIENT_ONE - weight) / GRADIENT_ONE;

		/* The segments queued above the low mark; below 2^30 * 2^10 * 2^24. */
		cut = div_u64((u64)cwnd * GRADIENT_ONE * (g->round_us - low), g->round_us);
		cut = div_u64(cut * READ_ONCE(beta.value) * weight, 100 * GRADIENT_ONE);
		change -= cut;
		if (change < 0)
			gradient_count_decrease(g, cwnd, g->round_us >= high);
		else
			g->decreases = 0;
	}

	if (change > 0 && !tcp_is_cwnd_limited(sk))
		return;

	change += g->fraction;
	whole = div_s64(change, GRADIENT_ONE);
	g->fraction = change - (s64)whole * GRADIENT_ONE;
	if (!whole)
		return;

	cwnd = max_t(s64, (s64)cwnd + whole, GRADIENT_MIN_CWND);
	tcp_snd_cwnd_set(tp, min(cwnd, tp->snd_cwnd_clamp));
	/* Below ssthresh would be slow start. */
	tp->snd_ssthresh = min(tp->snd_ssthresh, tcp_snd_cwnd(tp));
}

/* Begins to empty the queue, to see the propagation delay. */
static void gradient_start_drain(struct tcp_sock *tp, struct gradient *g)
{
	u32 cwnd = tcp_snd_cwnd(tp);
	u32 pipe = div_u64((u64)cwnd * g->base_us, g->round_us);
	u32 target = max_t(u32, pipe - pipe / 4, GRADIENT_MIN_CWND);

	g->drain_stamp = tcp_jiffies32;
	if (target >= cwnd)
		return;
	g->resume_cwnd = cwnd;
	g->drain_rounds = GRADIENT_DRAIN_ROUNDS;
	tcp_snd_cwnd_set(tp, target);
	tp->snd_ssthresh = min(tp->snd_ssthresh, target);
}

static void gradient_end_drain(struct tcp_sock *tp, struct gradient *g)
{
	tcp_snd_cwnd_set(tp, min(g->resume_cwnd, tp->snd_cwnd_clamp));
	g->resume_cwnd = 0;
	gradient_forget_trend(tp, g);
}

/* End of a round in congestion avoidance. */
static void gradient_end_round(struct sock *sk, struct gradient *g)
{
	struct tcp_sock *tp = tcp_sk(sk);

	if (g->resume_cwnd) {
		/* That the queue can be emptied shows that nobody else fills it. */
		if (g->round_us != U32_MAX && g->round_us <= gradient_low_mark(tp, g))
			gradient_queue_is_short(g);
		if (!--g->drain_rounds)
			gradient_end_drain(tp, g);
		return;
	}
	if (g->round_us == U32_MAX)
		return; /* only retransmissions, whose ACKs tell nothing (Karn) */

	gradient_steer(sk, g);

	if (tcp_jiffies32 - g->drain_stamp > GRADIENT_DRAIN_INTERVAL)
		gradient_start_drain(tp, g);
}

static void gradient_slow_start(struct sock *sk, struct gradient *g, u32 acked)
{
	struct tcp_sock *tp = tcp_sk(sk);

	if (g->samples >= GRADIENT_SS_SAMPLES &&
	    g->round_us > g->base_us + clamp_t(u32, g->base_us / 8, 4000, 16000)) {
		tp->snd_ssthresh = max_t(u32, tcp_snd_cwnd(tp), 2);
		gradient_forget_trend(tp, g);
		return;
	}
	if (tcp_is_cwnd_limited(sk))
		tcp_slow_start(tp, acked);
}

/*
 * Proportional rate reduction: cwnd is what is in flight plus what may be sent now, so that over
 * the round trip of a recovery sending falls in proportion and ends at ssthresh. The kernel counts
 * prr_out, and sets prior_cwnd and clears both counts on entry (tcp_init_cwnd_reduction()).
 */
static void gradient_reduce(struct tcp_sock *tp, const struct rate_sample *rs)
{
	u32 in_flight = tcp_packets_in_flight(tp);
	int room = tp->snd_ssthresh - in_flight;
	int quota;

	if (!rs->acked_sacked)
		return;
	tp->prr_delivered += rs->acked_sacked;
	if (room < 0) {
		u32 prior = max_t(u32, tp->prior_cwnd, 1);

		quota = div_u64((u64)tp->snd_ssthresh * tp->prr_delivered + prior - 1, prior) -
			tp->prr_out;
	} else {
		quota = max_t(int, tp->prr_delivered - tp->prr_out, rs->acked_sacked);
		if (!rs->losses)
			quota++;
		quota = min(quota, room);
	}
	/* The retransmission that begins the recovery always goes out. */
	quota = max(quota, tp->prr_out ? 0 : 1);
	tcp_snd_cwnd_set(tp, max_t(u32, in_flight + quota, 1));
}

static void gradient_pace(struct sock *sk)
{
	struct tcp_sock *tp = tcp_sk(sk);
	u32 percent = 120;
	u64 rate;

	/* During a reduction cwnd may be below ssthresh, too. */
	if (tcp_in_slow_start(tp) && !tcp_in_cwnd_reduction(sk))
		percent = 200;

	if (!tp->srtt_us)
		return;
	/* srtt_us is in 1/8 us. A window is at most 2^31 bytes, or so: * 2^17 * 2^8 fits. */
	rate = (u64)tp->mss_cache * max(tcp_snd_cwnd(tp), tp->packets_out);
	rate = div_u64(rate * (USEC_PER_SEC / 100 * 8) * percent, tp->srtt_us);
	WRITE_ONCE(sk->sk_pacing_rate, min_t(u64, rate, READ_ONCE(sk->sk_max_pacing_rate)));
}

static void gradient_on_ack(struct sock *sk, const struct rate_sample *rs)
{
	struct gradient *g = inet_csk_ca(sk);
	struct tcp_sock *tp = tcp_sk(sk);
	bool round_over = !before(tp->snd_una, g->round_end);

	gradient_sample(tp, g, rs->rtt_us);

	if (tcp_in_cwnd_reduction(sk)) {
		gradient_reduce(tp, rs);
	} else if (g->reducing) {
		g->reducing = false;
		tcp_snd_cwnd_set(tp, max_t(u32, tp->snd_ssthresh, 2));
		gradient_forget_trend(tp, g);
	} else if (!g->resume_cwnd && tcp_in_slow_start(tp)) {
		gradient_slow_start(sk, g, rs->acked_sacked);
	} else if (round_over && inet_csk(sk)->icsk_ca_state != TCP_CA_Loss) {
		gradient_end_round(sk, g);
	}

	if (round_over)
		gradient_start_round(tp, g);
	gradient_pace(sk);
}

/* Only the signature differs between kernels: 6.10 added the ACK's number and flags. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
static void gradient_cong_control(struct sock *sk, u32 ack, int flag, const struct rate_sample *rs)
{
	gradient_on_ack(sk, rs);
}
#else
#define gradient_cong_control gradient_on_ack
#endif

static u32 gradient_ssthresh(struct sock *sk)
{
	struct gradient *g = inet_csk_ca(sk);
	u32 cwnd = max(tcp_snd_cwnd(tcp_sk(sk)), g->resume_cwnd);

	g->resume_cwnd = 0;
	return max_t(u32, cwnd / 2, 2);
}

static u32 gradient_undo_cwnd(struct sock *sk)
{
	struct gradient *g = inet_csk_ca(sk);
	const struct tcp_sock *tp = tcp_sk(sk);

	g->reducing = false;
	gradient_forget_trend(tp, g);
	return max(tcp_snd_cwnd(tp), tp->prior_cwnd);
}

static void gradient_set_state(struct sock *sk, u8 new_state)
{
	struct gradient *g = inet_csk_ca(sk);

	if (new_state == TCP_CA_CWR || new_state == TCP_CA_Recovery) {
		g->reducing = true;
	} else if (new_state == TCP_CA_Loss) {
		/* The kernel has set cwnd for a new slow start. */
		g->reducing = false;
		g->resume_cwnd = 0;
		gradient_forget_trend(tcp_sk(sk), g);
	}
}

/*
 * Sending begins with nothing in flight. With cong_control() the kernel leaves the decay of cwnd to
 * us (tcp_slow_start_after_idle_check()).
 */
static void gradient_restart(struct sock *sk)
{
	u32 rto = max_t(u32, inet_csk(sk)->icsk_rto, 1);
	struct gradient *g = inet_csk_ca(sk);
	struct tcp_sock *tp = tcp_sk(sk);
	u32 idle = tcp_jiffies32 - tp->lsndtime;
	u32 cwnd, floor;

	/* The first retransmission after a timeout comes here too: that is no idle time. */
	if (tp->packets_out)
		return;

	if (g->resume_cwnd)
		gradient_end_drain(tp, g);
	else
		gradient_forget_trend(tp, g);
	if (idle <= rto || !READ_ONCE(sock_net(sk)->ipv4.sysctl_tcp_slow_start_after_idle))
		return;

	tp->snd_ssthresh = tcp_current_ssthresh(sk);
	cwnd = tcp_snd_cwnd(tp);
	floor = min_t(u32, cwnd, TCP_INIT_CWND);
	cwnd >>= min_t(u32, idle / rto, 31);
	tcp_snd_cwnd_set(tp, max(cwnd, floor));
	tp->snd_cwnd_stamp = tcp_jiffies32;
	gradient_pace(sk);
}

static void gradient_cwnd_event(struct sock *sk, enum tcp_ca_event event)
{
	if (event == CA_EVENT_TX_START)
		gradient_restart(sk);
}

static void gradient_init(struct sock *sk)
{
	struct gradient *g = inet_csk_ca(sk);
	const struct tcp_sock *tp = tcp_sk(sk);

	/* A connection may be in the middle of its life, and even of a recovery. */
	*g = (struct gradient){
		.base_us = gradient_base(tp),
		.drain_stamp = tcp_jiffies32,
		.short_stamp = tcp_jiffies32,
		.reducing = tcp_in_cwnd_reduction(sk),
	};
	gradient_start_round(tp, g);

	/* Without sch_fq below, TCP's own timer paces. */
	cmpxchg(&sk->sk_pacing_status, SK_PACING_NONE, SK_PACING_NEEDED);
	gradient_pace(sk);
}

/* For "ss -i", in the form that the delay-based controls of the kernel share. */
static size_t gradient_get_info(struct sock *sk, u32 ext, int *attr, union tcp_cc_info *info)
{
	const struct gradient *g = inet_csk_ca(sk);

	if (!(ext & BIT(INET_DIAG_VEGASINFO - 1)))
		return 0;
	info->vegas.tcpv_enabled = !g->competing;
	info->vegas.tcpv_rttcnt = g->samples;
	info->vegas.tcpv_rtt = g->prev_us;
	info->vegas.tcpv_minrtt = g->base_us;
	*attr = INET_DIAG_VEGASINFO;
	return sizeof(struct tcpvegas_info);
}

static struct tcp_congestion_ops gradient __read_mostly = {
	.init = gradient_init,
	.cong_control = gradient_cong_control,
	.ssthresh = gradient_ssthresh,
	.undo_cwnd = gradient_undo_cwnd,
	.set_state = gradient_set_state,
	.cwnd_event = gradient_cwnd_event,
	.get_info = gradient_get_info,
	.owner = THIS_MODULE,
	.name = "gradient",
};

static int __init gradient_register(void)
{
	int err;

	BUILD_BUG_ON(sizeof(struct gradient) > ICSK_CA_PRIV_SIZE);

	err = gradient_check_marks(low_us.value, high_us.value);
	if (err)
		return err;
	gradient_ready = true;
	return tcp_register_congestion_control(&gradient);
}

static void __exit gradient_unregister(void)
{
	tcp_unregister_congestion_control(&gradient);
}

module_init(gradient_register);
module_exit(gradient_unregister);

MODULE_ALIAS("tcp_gradient");
MODULE_DESCRIPTION("Congestion control by the round-trip time and its gradient");
MODULE_LICENSE("GPL");
