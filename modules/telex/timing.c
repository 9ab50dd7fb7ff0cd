// SPDX-License-Identifier: GPL-2.0
/*
 * TELEX: timers, the round-trip time, and what a loss does to the congestion window.
 */
#include "telex.h"

/*
 * RFC 6298 wants a second at least; we take what Linux takes for TCP, which suits short paths, and
 * needs an ACK_DELAY well below it.
 */
#define TELEX_MIN_RTO_US	(200 * USEC_PER_MSEC)
#define TELEX_MAX_RTO_US	(60 * USEC_PER_SEC)
#define TELEX_ACK_DELAY		msecs_to_jiffies(20)

#define TELEX_OPEN_RETRIES	5	/* about a minute from 1 s on */
#define TELEX_RETRIES		10
#define TELEX_ORPHAN_RETRIES	6	/* when nobody waits for it */

/* The timer came while a process had the socket: look again soon. */
#define TELEX_BUSY_DELAY	max(HZ / 50, 1)

/* The first arming counts the timer's reference on the socket; sk_stop_timer() gives it back. */
void telex_arm_timer_for(struct sock *sk, unsigned long delay)
{
	sk_reset_timer(sk, &sk->sk_timer, jiffies + max(delay, 1UL));
}

void telex_arm_timer(struct sock *sk)
{
	struct telex_sock *ts = telex_sk(sk);
	u64 rto_us = (u64)ts->rto_us << min_t(u8, ts->backoff, 10);

	telex_arm_timer_for(sk, usecs_to_jiffies(min_t(u64, rto_us, TELEX_MAX_RTO_US)));
}

/* RFC 6298, 2. A segment that was sent twice gives no sample (Karn): the caller sees to that. */
void telex_rtt_sample(struct telex_sock *ts, u64 sent_us)
{
	u64 now = telex_now_us();
	u32 rtt = clamp_t(u64, now - sent_us, 1, TELEX_MAX_RTO_US);
	u32 granularity = jiffies_to_usecs(1);

	if (!ts->srtt_us) {
		ts->srtt_us = rtt;
		ts->rttvar_us = rtt / 2;
	} else {
		u32 deviation = abs((s32)(ts->srtt_us - rtt));

		ts->rttvar_us = (3 * (u64)ts->rttvar_us + deviation) / 4;
		ts->srtt_us = (7 * (u64)ts->srtt_us + rtt) / 8;
	}
	ts->rto_us = clamp_t(u64, ts->srtt_us + max(granularity, 4 * ts->rttvar_us),
			     TELEX_MIN_RTO_US, TELEX_MAX_RTO_US);
	ts->backoff = 0;
}

/* At most once per window: what was in flight at the last reduction does not count again. */
void telex_reduce_cwnd(struct telex_sock *ts)
{
	if (telex_before(ts->snd_una, ts->recover))
		return;
	ts->recover = ts->snd_nxt;
	ts->ssthresh = max(ts->cwnd / 2, 2U);
	ts->cwnd = ts->ssthresh;
	ts->cwnd_count = 0;
}

/*
 * RFC 5681, 3.1, and RFC 6298, 5.4 to 5.6: all in flight counts as lost, and slow start begins
 * anew, up to half of what cwnd was before the first timeout.
 */
static void telex_timeout(struct sock *sk)
{
	struct telex_sock *ts = telex_sk(sk);
	struct sk_buff *skb;

	ts->timeouts++;
	if (ts->retries == 1)
		ts->ssthresh = max(ts->cwnd / 2, 2U);
	ts->cwnd = 1;
	ts->cwnd_count = 0;
	ts->recover = ts->snd_una;
	ts->lost_out = 0;
	skb_queue_walk(&ts->rtx_queue, skb) {
		TELEX_CB(skb)->lost = !TELEX_CB(skb)->sacked;
		ts->lost_out += TELEX_CB(skb)->lost;
	}
	telex_push(sk);
}

static u8 telex_max_retries(const struct sock *sk)
{
	if ((1 << sk->sk_state) & (TCPF_SYN_SENT | TCPF_SYN_RECV))
		return TELEX_OPEN_RETRIES;
	return sock_flag(sk, SOCK_DEAD) ? TELEX_ORPHAN_RETRIES : TELEX_RETRIES;
}

static void telex_on_timer(struct sock *sk)
{
	struct telex_sock *ts = telex_sk(sk);
	bool idle = skb_queue_empty(&ts->rtx_queue) && skb_queue_empty(&sk->sk_write_queue);
	bool opening = (1 << sk->sk_state) & (TCPF_SYN_SENT | TCPF_SYN_RECV);

	if (sk->sk_state == TCP_CLOSE)
		return;
	if (telex_in_time_wait(sk) ||
	    (sk->sk_state == TCP_FIN_WAIT2 && sock_flag(sk, SOCK_DEAD))) {
		telex_done(sk, 0);
		return;
	}
	if (idle && !opening)
		return;
	if (ts->retries >= telex_max_retries(sk)) {
		telex_abort(sk, READ_ONCE(sk->sk_err_soft) ?: ETIMEDOUT);
		return;
	}
	ts->retries++;
	ts->backoff++;
	if (sk->sk_state == TCP_SYN_SENT) {
		ts->opened_us = 0;
		telex_send(sk, TELEX_OPEN, ts->snd_una);
	} else if (sk->sk_state == TCP_SYN_RECV) {
		telex_send(sk, TELEX_CONFIRM, ts->snd_una);
	} else if (!skb_queue_empty(&ts->rtx_queue)) {
		telex_timeout(sk);
	} else {
		telex_send(sk, TELEX_PROBE, ts->snd_nxt);
	}
	telex_arm_timer(sk);
}

static void telex_timer(struct timer_list *t)
{
	struct sock *sk = from_timer(sk, t, sk_timer);

	bh_lock_sock(sk);
	if (sock_owned_by_user(sk))
		telex_arm_timer_for(sk, TELEX_BUSY_DELAY);
	else
		telex_on_timer(sk);
	bh_unlock_sock(sk);
	sock_put(sk);
}

static void telex_ack_timer(struct timer_list *t)
{
	struct telex_sock *ts = from_timer(ts, t, ack_timer);
	struct sock *sk = (struct sock *)ts;

	bh_lock_sock(sk);
	if (sk->sk_state == TCP_CLOSE || !ts->ack_pending)
		goto out;
	if (sock_owned_by_user(sk))
		sk_reset_timer(sk, &ts->ack_timer, jiffies + TELEX_BUSY_DELAY);
	else
		telex_send_ack(sk);
out:
	bh_unlock_sock(sk);
	sock_put(sk);
}

/* For a segment in order: at the second one an ACK at once, for one alone a little later. */
void telex_delay_ack(struct sock *sk)
{
	struct telex_sock *ts = telex_sk(sk);

	if (++ts->ack_pending >= 2)
		telex_send_ack(sk);
	else if (!timer_pending(&ts->ack_timer))
		sk_reset_timer(sk, &ts->ack_timer, jiffies + TELEX_ACK_DELAY);
}

void telex_init_timers(struct sock *sk)
{
	timer_setup(&sk->sk_timer, telex_timer, 0);
	timer_setup(&telex_sk(sk)->ack_timer, telex_ack_timer, 0);
}

void telex_stop_timers(struct sock *sk)
{
	sk_stop_timer(sk, &sk->sk_timer);
	sk_stop_timer(sk, &telex_sk(sk)->ack_timer);
}
