// SPDX-License-Identifier: GPL-2.0
/*
 * PI2: a qdisc that keeps the queue's delay at a target, by dropping and marking.
 *
 * A proportional-integral controller steers a probability p. Every tupdate it looks at how long the
 * packet at the head has waited:
 *
 *   p += alpha * (delay - target) + beta * (delay - delay at the last update)
 *
 * alpha brings the delay to the target in the long run, beta answers at once to its change. What
 * p does to a packet depends on what its sender makes of it:
 *
 *   Classic (not ECT, or ECT(0)): the rate of Reno and Cubic goes with 1/sqrt(p), so they get p
 *   squared, which makes their answer linear in p: one pair of gains then suits every load, and no
 *   table of them is needed as in PIE. A packet that can be marked is marked, any other dropped.
 *
 *   Scalable (ECT(1), RFC 9331): their rate goes with 1/p, so they get p itself; twice, which gives
 *   them the share of a Classic flow (the coupling factor k of RFC 9332).
 *
 * When p squared is above a quarter, marks alone do not keep the queue: those who do not answer
 * them would fill it. Then also what could be marked is dropped by it.
 *
 * Sources: De Schepper et al., "PI2: a linearized AQM for both classic and scalable TCP", CoNEXT
 * 2016; RFC 9332, appendix A, for the gains; RFC 8033, 5, for not acting on a queue of two packets.
 *
 * Locking: all of this runs under the root lock of the qdisc tree, the timer too.
 */
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/timer.h>
#include <net/inet_ecn.h>
#include <net/pkt_sched.h>

#include "sch_pi2_user.h"

#define PI2_ONE U32_MAX			/* probability 1 */
#define PI2_OVERLOAD (PI2_ONE / 2)	/* p, of which the square is 1/4 */
#define PI2_QUIET_PACKETS 2

struct pi2_sched {
	/* as configured */
	u32 target_us;
	u32 tupdate_us;
	u32 alpha; /* 1/1000 per second */
	u32 beta;
	bool ecn;

	/* the controller */
	u32 prob; /* p, of PI2_ONE */
	u64 delay_ns; /* at the last update */

	struct tc_pi2_xstats stats;
	struct timer_list timer;
	struct Qdisc *sch;
};

struct pi2_cb {
	u64 enqueued_ns;
};

static struct pi2_cb *pi2_cb(const struct sk_buff *skb)
{
	qdisc_cb_private_validate(skb, sizeof(struct pi2_cb));
	return (struct pi2_cb *)qdisc_skb_cb(skb)->data;
}

/* -- the controller -------------------------------------------------------------------- */

/* @gain, 1/1000 per second, times @time_ns, as a change of p. Beyond 10 s it is all the same. */
static s64 pi2_gain(u32 gain, s64 time_ns)
{
	s64 time = clamp_t(s64, time_ns, -10LL * NSEC_PER_SEC, 10LL * NSEC_PER_SEC);

	/* 2^32 / (1000 * NSEC_PER_SEC) is 256 / 59605; at most 1e5 * 1e10 * 256 < 2^63 */
	return div_s64(time * gain * 256, 59605);
}

static void pi2_update(struct Qdisc *sch)
{
	struct pi2_sched *q = qdisc_priv(sch);
	struct sk_buff *head = qdisc_peek_head(sch);
	u64 delay_ns = head ? ktime_get_ns() - pi2_cb(head)->enqueued_ns : 0;
	s64 prob = q->prob;

	prob += pi2_gain(q->alpha, delay_ns - (s64)q->target_us * NSEC_PER_USEC);
	prob += pi2_gain(q->beta, delay_ns - q->delay_ns);
	q->prob = clamp_t(s64, prob, 0, PI2_ONE);
	q->delay_ns = delay_ns;
	q->stats.updates++;
}

static void pi2_arm(struct pi2_sched *q)
{
	mod_timer(&q->timer, jiffies + max(usecs_to_jiffies(q->tupdate_us), 1UL));
}

static void pi2_timer(struct timer_list *t)
{
	struct pi2_sched *q = from_timer(q, t, timer);
	spinlock_t *root_lock; /* of the qdisc tree */

	/* The root may be replaced meanwhile: it is freed by RCU. */
	rcu_read_lock();
	root_lock = qdisc_lock(qdisc_root_sleeping(q->sch));
	spin_lock(root_lock);
	pi2_update(q->sch);
	pi2_arm(q);
	spin_unlock(root_lock);
	rcu_read_unlock();
}

/* -- packets --------------------------------------------------------------------------- */

static bool pi2_hit(u64 prob)
{
	return get_random_u32() < prob;
}

/* By p squared: both of two draws. */
static bool pi2_hit_squared(u32 prob)
{
	return pi2_hit(prob) && pi2_hit(prob);
}

/* The ECN bits, or 0 of what is not IP. */
static u8 pi2_ecn(struct sk_buff *skb)
{
	switch (skb_protocol(skb, true)) {
	case htons(ETH_P_IP):
		if (pskb_network_may_pull(skb, sizeof(struct iphdr)))
			return ip_hdr(skb)->tos & INET_ECN_MASK;
		break;
	case htons(ETH_P_IPV6):
		if (pskb_network_may_pull(skb, sizeof(struct ipv6hdr)))
			return ipv6_get_dsfield(ipv6_hdr(skb)) & INET_ECN_MASK;
		break;
	}
	return INET_ECN_NOT_ECT;
}

/* Marks the packet, if it is its turn. False when it is to be dropped. */
static bool pi2_admit(struct pi2_sched *q, struct sk_buff *skb)
{
	u8 ecn = q->ecn ? pi2_ecn(skb) : INET_ECN_NOT_ECT;
	bool overload = q->prob > PI2_OVERLOAD;

	if (ecn == INET_ECN_ECT_1) {
		if (overload && pi2_hit_squared(q->prob))
			return false;
		if (pi2_hit(2 * (u64)q->prob) && INET_ECN_set_ce(skb))
			q->stats.marked_l4s++;
		return true;
	}
	if (!pi2_hit_squared(q->prob))
		return true;
	if (overload || ecn == INET_ECN_NOT_ECT || !INET_ECN_set_ce(skb))
		return false;
	q->stats.marked++;
	return true;
}

static int pi2_enqueue(struct sk_buff *skb, struct Qdisc *sch, struct sk_buff **to_free)
{
	struct pi2_sched *q = qdisc_priv(sch);

	q->stats.packets++;
	if (sch->q.qlen >= sch->limit) {
		q->stats.overlimit++;
		return qdisc_drop(skb, sch, to_free);
	}
	if (sch->q.qlen >= PI2_QUIET_PACKETS && !pi2_admit(q, skb)) {
		q->stats.dropped++;
		return qdisc_drop(skb, sch, to_free);
	}
	pi2_cb(skb)->enqueued_ns = ktime_get_ns();
	return qdisc_enqueue_tail(skb, sch);
}

/* -- configuration --------------------------------------------------------------------- */

/* Not const: in 6.1 a policy wants to be able to write to them. */
static struct netlink_range_validation pi2_limit_range = { .min = 1, .max = U32_MAX };
static struct netlink_range_validation pi2_target_range = { .min = 1, .max = USEC_PER_SEC };
static struct netlink_range_validation pi2_tupdate_range = {
	.min = USEC_PER_MSEC,
	.max = USEC_PER_SEC,
};

static struct netlink_range_validation pi2_gain_range = { .max = 100000 };

static const struct nla_policy pi2_policy[TCA_PI2_MAX + 1] = {
	[TCA_PI2_LIMIT] = NLA_POLICY_FULL_RANGE(NLA_U32, &pi2_limit_range),
	[TCA_PI2_TARGET] = NLA_POLICY_FULL_RANGE(NLA_U32, &pi2_target_range),
	[TCA_PI2_TUPDATE] = NLA_POLICY_FULL_RANGE(NLA_U32, &pi2_tupdate_range),
	[TCA_PI2_ALPHA] = NLA_POLICY_FULL_RANGE(NLA_U32, &pi2_gain_range),
	[TCA_PI2_BETA] = NLA_POLICY_FULL_RANGE(NLA_U32, &pi2_gain_range),
	[TCA_PI2_ECN] = NLA_POLICY_MAX(NLA_U32, 1),
};

static void pi2_take(u32 *value, const struct nlattr *attr)
{
	if (attr)
		*value = nla_get_u32(attr);
}

/* What a smaller limit leaves no room for. */
static void pi2_shorten(struct Qdisc *sch)
{
	unsigned int packets = 0, bytes = 0;

	while (sch->q.qlen > sch->limit) {
		struct sk_buff *skb = __qdisc_dequeue_head(&sch->q);

		packets++;
		bytes += qdisc_pkt_len(skb);
		qdisc_qstats_backlog_dec(sch, skb);
		((struct pi2_sched *)qdisc_priv(sch))->stats.overlimit++;
		rtnl_qdisc_drop(skb, sch);
	}
	if (packets)
		qdisc_tree_reduce_backlog(sch, packets, bytes);
}

static int pi2_change(struct Qdisc *sch, struct nlattr *opt, struct netlink_ext_ack *extack)
{
	struct pi2_sched *q = qdisc_priv(sch);
	struct nlattr *tb[TCA_PI2_MAX + 1];
	u32 ecn = q->ecn;
	int err;

	err = nla_parse_nested(tb, TCA_PI2_MAX, opt, pi2_policy, extack);
	if (err < 0)
		return err;

	sch_tree_lock(sch);
	pi2_take(&sch->limit, tb[TCA_PI2_LIMIT]);
	pi2_take(&q->target_us, tb[TCA_PI2_TARGET]);
	pi2_take(&q->tupdate_us, tb[TCA_PI2_TUPDATE]);
	pi2_take(&q->alpha, tb[TCA_PI2_ALPHA]);
	pi2_take(&q->beta, tb[TCA_PI2_BETA]);
	pi2_take(&ecn, tb[TCA_PI2_ECN]);
	q->ecn = ecn;
	pi2_shorten(sch);
	sch_tree_unlock(sch);
	return 0;
}

static int pi2_init(struct Qdisc *sch, struct nlattr *opt, struct netlink_ext_ack *extack)
{
	struct pi2_sched *q = qdisc_priv(sch);
	int err = 0;

	sch->limit = 1000;
	q->target_us = 15 * USEC_PER_MSEC;
	q->tupdate_us = 16 * USEC_PER_MSEC;
	q->alpha = 160;
	q->beta = 3200;
	q->ecn = true;
	q->sch = sch;
	timer_setup(&q->timer, pi2_timer, 0);
	if (opt)
		err = pi2_change(sch, opt, extack);
	if (!err)
		pi2_arm(q);
	return err;
}

static void pi2_reset(struct Qdisc *sch)
{
	struct pi2_sched *q = qdisc_priv(sch);

	qdisc_reset_queue(sch);
	q->prob = 0;
	q->delay_ns = 0;
}

/* Also called when init failed. */
static void pi2_destroy(struct Qdisc *sch)
{
	struct pi2_sched *q = qdisc_priv(sch);

	del_timer_sync(&q->timer);
}

static int pi2_dump(struct Qdisc *sch, struct sk_buff *skb)
{
	struct pi2_sched *q = qdisc_priv(sch);
	struct nlattr *opts = nla_nest_start(skb, TCA_OPTIONS);

	if (!opts)
		return -EMSGSIZE;
	if (nla_put_u32(skb, TCA_PI2_LIMIT, READ_ONCE(sch->limit)) ||
	    nla_put_u32(skb, TCA_PI2_TARGET, READ_ONCE(q->target_us)) ||
	    nla_put_u32(skb, TCA_PI2_TUPDATE, READ_ONCE(q->tupdate_us)) ||
	    nla_put_u32(skb, TCA_PI2_ALPHA, READ_ONCE(q->alpha)) ||
	    nla_put_u32(skb, TCA_PI2_BETA, READ_ONCE(q->beta)) ||
	    nla_put_u32(skb, TCA_PI2_ECN, READ_ONCE(q->ecn))) {
		nla_nest_cancel(skb, opts);
		return -EMSGSIZE;
	}
	return nla_nest_end(skb, opts);
}

static int pi2_dump_stats(struct Qdisc *sch, struct gnet_dump *d)
{
	struct pi2_sched *q = qdisc_priv(sch);

	/* Under the root lock, by tc_fill_qdisc(): the numbers are of one moment. */
	q->stats.prob = q->prob;
	q->stats.delay_us = min_t(u64, div_u64(q->delay_ns, NSEC_PER_USEC), U32_MAX);
	return gnet_stats_copy_app(d, &q->stats, sizeof(q->stats));
}

static struct Qdisc_ops pi2_ops __read_mostly = {
	.id = "pi2",
	.priv_size = sizeof(struct pi2_sched),
	.enqueue = pi2_enqueue,
	.dequeue = qdisc_dequeue_head,
	.peek = qdisc_peek_head,
	.init = pi2_init,
	.reset = pi2_reset,
	.destroy = pi2_destroy,
	.change = pi2_change,
	.dump = pi2_dump,
	.dump_stats = pi2_dump_stats,
	.owner = THIS_MODULE,
};

static int __init pi2_register(void)
{
	return register_qdisc(&pi2_ops);
}

static void __exit pi2_unregister(void)
{
	unregister_qdisc(&pi2_ops);
}

module_init(pi2_register);
module_exit(pi2_unregister);

/* Kernels from 6.8 on ask by this name, older ones by that of the module. */
MODULE_ALIAS("net-sch-pi2");
MODULE_DESCRIPTION("PI2: a linearized PI controller of the queue's delay");
MODULE_LICENSE("GPL");
