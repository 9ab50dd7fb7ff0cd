// SPDX-License-Identifier: GPL-2.0
/*
 * TELEX: what arrives. Every function that takes a socket runs with it locked, but for the first
 * steps of telex_receive() and telex_icmp_error().
 */
#include <linux/filter.h>
#include <linux/netfilter.h>

#include "telex.h"

/* When so many segments have overtaken one it is lost (RFC 5681). */
#define TELEX_REORDERING 3U

/* A packet that fits nothing here: its sender shall forget the connection that it believes in. */
static void telex_refuse(const struct sk_buff *skb)
{
	const struct telex_cb *cb = TELEX_CB(skb);

	if (cb->type != TELEX_RESET)
		telex_reply(skb, TELEX_RESET, cb->ack, cb->seq + 1, 0);
}

/* -- acknowledgements ------------------------------------------------------------ */

static void telex_take_cumulative_ack(struct sock *sk, u32 ack, u64 *sent_us, u32 *acked)
{
	struct telex_sock *ts = telex_sk(sk);
	struct sk_buff *skb;

	while ((skb = skb_peek(&ts->rtx_queue)) && telex_before(TELEX_CB(skb)->seq, ack)) {
		struct telex_cb *cb = TELEX_CB(skb);

		ts->sacked_out -= cb->sacked;
		ts->lost_out -= cb->lost;
		/* Which of two sendings arrived nobody knows; a sacked one was sampled then. */
		if (!cb->resent && !cb->sacked)
			*sent_us = cb->sent_us;
		else
			*sent_us = 0;
		++*acked;
		__skb_unlink(skb, &ts->rtx_queue);
		sk_wmem_queued_add(sk, -skb->truesize);
		kfree_skb(skb);
	}
	if (telex_before(ts->snd_una, ack))
		ts->snd_una = ack;
}

static void telex_take_sack(struct sock *sk, u32 ack, u32 sack, u64 *sent_us)
{
	struct telex_sock *ts = telex_sk(sk);
	struct sk_buff *skb;

	skb_queue_walk(&ts->rtx_queue, skb) {
		struct telex_cb *cb = TELEX_CB(skb);
		u32 offset = cb->seq - ack - 1;

		if (offset >= 32 || !(sack & BIT(offset)) || cb->sacked)
			continue;
		cb->sacked = true;
		ts->sacked_out++;
		ts->lost_out -= cb->lost;
		cb->lost = false;
		if (!cb->resent)
			*sent_us = cb->sent_us;
	}
}

/* RFC 6675, IsLost(), by segments. What was sent again and is lost again is left to the timer. */
static void telex_find_losses(struct sock *sk)
{
	struct telex_sock *ts = telex_sk(sk);
	u32 behind = 0, found = 0;
	struct sk_buff *skb;

	skb_queue_reverse_walk(&ts->rtx_queue, skb) {
		struct telex_cb *cb = TELEX_CB(skb);

		if (cb->sacked) {
			behind++;
		} else if (behind >= TELEX_REORDERING && !cb->lost && !cb->resent) {
			cb->lost = true;
			found++;
		}
	}
	if (found) {
		ts->lost_out += found;
		telex_reduce_cwnd(ts);
	}
}

/* RFC 5681, 3.1: per round trip twice the window below ssthresh, one segment more above. */
static void telex_grow_cwnd(struct telex_sock *ts, u32 acked)
{
	if (telex_before(ts->snd_una, ts->recover))
		return; /* a loss is being repaired */
	if (ts->cwnd < ts->ssthresh) {
		ts->cwnd = min(ts->cwnd + acked, ts->ssthresh);
		return;
	}
	ts->cwnd_count += acked;
	if (ts->cwnd_count >= ts->cwnd) {
		ts->cwnd_count -= ts->cwnd;
		ts->cwnd++;
	}
}

/* All that was to be sent has arrived, our FIN too. */
static void telex_fin_acked(struct sock *sk)
{
	switch (sk->sk_state) {
	case TCP_FIN_WAIT1:
		inet_sk_set_state(sk, TCP_FIN_WAIT2);
		if (sock_flag(sk, SOCK_DEAD))
			telex_arm_timer_for(sk, TELEX_ORPHAN_WAIT);
		else
			sk->sk_state_change(sk); /* a close() that lingers */
		break;
	case TCP_CLOSING:
		inet_sk_set_state(sk, TCP_FIN_WAIT2);
		telex_arm_timer_for(sk, TELEX_TIME_WAIT);
		break;
	case TCP_LAST_ACK:
		telex_done(sk, 0);
		break;
	}
}

static void telex_take_ack(struct sock *sk, const struct telex_cb *cb)
{
	struct telex_sock *ts = telex_sk(sk);
	u32 edge = cb->ack + cb->window;
	bool opened = telex_before(ts->snd_edge, edge);
	u32 in_flight = skb_queue_len(&ts->rtx_queue) - ts->sacked_out - ts->lost_out;
	u64 sent_us = 0;
	u32 acked = 0;

	ts->retries = 0;
	if (opened)
		ts->snd_edge = edge;
	telex_take_cumulative_ack(sk, cb->ack, &sent_us, &acked);
	if (cb->sack)
		telex_take_sack(sk, cb->ack, cb->sack, &sent_us);
	if (ts->sacked_out)
		telex_find_losses(sk);
	if (sent_us)
		telex_rtt_sample(ts, sent_us);
	/* A sender that had less to send than cwnd allows has not tested the path with it. */
	if (acked && in_flight >= ts->cwnd)
		telex_grow_cwnd(ts, acked);

	if (acked || opened) {
		ts->backoff = 0;
		/* In FIN-WAIT-2 nothing is left to send, and the timer waits for the peer's FIN. */
		if (sk->sk_state != TCP_FIN_WAIT2)
			sk_stop_timer(sk, &sk->sk_timer);
	}
	telex_push(sk);
	if (!acked)
		return;
	sk->sk_write_space(sk);
	if (skb_queue_empty(&ts->rtx_queue) && skb_queue_empty(&sk->sk_write_queue))
		telex_fin_acked(sk);
}

/* -- data ------------------------------------------------------------------------ */

static void telex_take_fin(struct sock *sk)
{
	WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | RCV_SHUTDOWN);
	sock_set_flag(sk, SOCK_DONE);
	switch (sk->sk_state) {
	case TCP_ESTABLISHED:
		inet_sk_set_state(sk, TCP_CLOSE_WAIT);
		break;
	case TCP_FIN_WAIT1:
		inet_sk_set_state(sk, TCP_CLOSING);
		break;
	case TCP_FIN_WAIT2:
		telex_arm_timer_for(sk, TELEX_TIME_WAIT);
		break;
	}
	if (!sock_flag(sk, SOCK_DEAD))
		sk->sk_state_change(sk);
}

/* The segment that was awaited. False when the connection did not survive it. */
static bool telex_take_next(struct sock *sk, struct sk_buff *skb)
{
	const struct telex_cb *cb = TELEX_CB(skb);
	struct telex_sock *ts = telex_sk(sk);

	ts->rcv_nxt++;
	if (cb->type == TELEX_FIN) {
		kfree_skb(skb);
		telex_take_fin(sk);
		return true;
	}
	ts->received++;
	ts->rcv_partial += skb->len;
	if (ts->rcv_partial > TELEX_MAX_MESSAGE) {
		kfree_skb(skb);
		telex_abort(sk, EPROTO);
		return false;
	}
	__skb_queue_tail(&sk->sk_receive_queue, skb);
	if (cb->flags & TELEX_END) {
		ts->rcv_partial = 0;
		WRITE_ONCE(ts->rcv_messages, ts->rcv_messages + 1);
		sk->sk_data_ready(sk);
	}
	return true;
}

/* Keeps a segment that came too early. False when it is there already. */
static bool telex_keep(struct telex_sock *ts, struct sk_buff *skb)
{
	u32 seq = TELEX_CB(skb)->seq;
	struct sk_buff *other;

	/* Mostly it is the latest of all. */
	skb_queue_reverse_walk(&ts->ofo_queue, other) {
		if (TELEX_CB(other)->seq == seq)
			return false;
		if (telex_before(TELEX_CB(other)->seq, seq)) {
			__skb_queue_after(&ts->ofo_queue, other, skb);
			return true;
		}
	}
	__skb_queue_head(&ts->ofo_queue, skb);
	return true;
}

/* DATA or FIN. Consumes @skb. */
static void telex_take_segment(struct sock *sk, struct sk_buff *skb)
{
	struct telex_cb *cb = TELEX_CB(skb);
	struct telex_sock *ts = telex_sk(sk);
	bool alone = skb_queue_empty(&ts->ofo_queue);
	struct sk_buff *next;

	/* Behind the peer's FIN there is nothing. */
	if (sock_flag(sk, SOCK_DONE) && !telex_before(cb->seq, ts->rcv_nxt))
		goto drop;
	if (telex_before(cb->seq, ts->rcv_nxt)) {
		ts->duplicates++;
		goto drop_and_ack;
	}
	if (!telex_before(cb->seq, ts->rcv_edge))
		goto drop_and_ack;
	if (cb->type == TELEX_DATA) {
		if (sock_flag(sk, SOCK_DEAD)) {
			telex_abort(sk, 0); /* nobody will read it: the peer must know */
			goto drop;
		}
		if (!(cb->flags & TELEX_END) && skb->len < TELEX_MIN_MSS) {
			telex_abort(sk, EPROTO);
			goto drop;
		}
	}

	skb_dst_drop(skb);
	skb_set_owner_r(skb, sk);
	ts->rcv_truesize = max_t(u32, ts->rcv_truesize, skb->truesize);
	if (cb->seq != ts->rcv_nxt) {
		if (telex_keep(ts, skb)) {
			telex_send_ack(sk);
			return;
		}
		ts->duplicates++;
		goto drop_and_ack;
	}
	next = skb;
	do {
		if (!telex_take_next(sk, next))
			return;
		next = skb_peek(&ts->ofo_queue);
		if (!next || TELEX_CB(next)->seq != ts->rcv_nxt)
			break;
		__skb_unlink(next, &ts->ofo_queue);
	} while (true);

	/* The sender repairs something, or is done: it waits for the ACK. */
	if (!alone || sock_flag(sk, SOCK_DONE))
		telex_send_ack(sk);
	else
		telex_delay_ack(sk);
	return;

drop_and_ack:
	telex_send_ack(sk);
drop:
	kfree_skb(skb);
}

/* -- opening --------------------------------------------------------------------- */

/*
 * The server's first sequence number, by which it recognizes that the client has its answer. It
 * keeps nothing meanwhile, so that a flood of OPENs costs no memory (as RFC 4987 says for TCP).
 */
static u32 telex_cookie(struct net *net, const struct telex_key *key, u32 client_seq, u32 minute)
{
	struct {
		struct telex_key key;
		u32 client_seq;
		u32 minute;
	} __packed what = { *key, client_seq, minute };

	return siphash(&what, sizeof(what), &telex_net(net)->secret);
}

static u32 telex_minute(void)
{
	return div_u64(get_jiffies_64(), 60 * HZ);
}

/* A client has confirmed: it gets a socket, which waits for accept(). */
static void telex_make_child(struct sock *sk, const struct sk_buff *skb)
{
	const struct telex_hdr *th = (const struct telex_hdr *)skb_transport_header(skb);
	const struct telex_cb *cb = TELEX_CB(skb);
	struct telex_sock *ts;
	struct sock *child;

	/* Locked, and with two references: the user's, and ours for this function. */
	child = sk_clone_lock(sk, GFP_ATOMIC);
	if (!child)
		return;
	inet_sk_set_state(child, TCP_ESTABLISHED);
	telex_init_state(child);
	WRITE_ONCE(child->sk_ack_backlog, 0);
	RCU_INIT_POINTER(inet_sk(child)->inet_opt, NULL);
	inet_sk(child)->mc_list = NULL;
	inet_sk(child)->inet_dport = th->source;
	telex_family(sk)->init_child(child, sk, skb);

	ts = telex_sk(child);
	ts->rcv_nxt = cb->seq + 1;
	ts->rcv_edge = ts->rcv_nxt;
	ts->snd_una = cb->ack;
	ts->snd_nxt = cb->ack;
	ts->write_seq = cb->ack;
	ts->recover = cb->ack;
	ts->snd_edge = cb->ack + cb->window;
	ts->mss = telex_family(child)->mss(child);

	/* It may be a second copy, which waited in our backlog while the first one was served. */
	if (telex_hash(child)) {
		sock_orphan(child);
		inet_sk_set_state(child, TCP_CLOSE);
		telex_destroy(child);
	} else {
		list_add_tail(&ts->accept_node, &telex_sk(sk)->accept_queue);
		sk_acceptq_added(sk);
		telex_send_ack(child);
		sk->sk_data_ready(sk);
	}
	bh_unlock_sock(child);
	sock_put(child);
}

static void telex_listener_rcv(struct sock *sk, const struct sk_buff *skb)
{
	const struct telex_cb *cb = TELEX_CB(skb);
	struct net *net = sock_net(sk);
	u32 minute = telex_minute();
	struct telex_key key;

	telex_family(sk)->packet_key(skb, &key);
	if (cb->type != TELEX_OPEN && cb->type != TELEX_CONFIRM) {
		telex_refuse(skb);
		return;
	}
	if (sk_acceptq_is_full(sk))
		return; /* the client will ask again */
	if (cb->type == TELEX_OPEN)
		telex_reply(skb, TELEX_COOKIE, telex_cookie(net, &key, cb->seq, minute),
			    cb->seq + 1, 0);
	else if (cb->ack - 1 == telex_cookie(net, &key, cb->seq, minute) ||
		 cb->ack - 1 == telex_cookie(net, &key, cb->seq, minute - 1))
		telex_make_child(sk, skb);
	else
		telex_refuse(skb);
}

/* We have asked for a cookie. */
static void telex_open_sent_rcv(struct sock *sk, const struct sk_buff *skb)
{
	const struct telex_cb *cb = TELEX_CB(skb);
	struct telex_sock *ts = telex_sk(sk);

	if (cb->type == TELEX_RESET) {
		if (cb->ack == ts->snd_nxt)
			telex_done(sk, ECONNREFUSED);
		return;
	}
	if (cb->type != TELEX_COOKIE || cb->ack != ts->snd_nxt) {
		/* Of a connection that its sender has from an earlier life of ours. */
		telex_refuse(skb);
		return;
	}
	if (ts->opened_us)
		telex_rtt_sample(ts, ts->opened_us);
	ts->retries = 0;
	ts->backoff = 0;
	ts->rcv_nxt = cb->seq + 1;
	ts->rcv_edge = ts->rcv_nxt;
	inet_sk_set_state(sk, TCP_SYN_RECV);
	telex_send(sk, TELEX_CONFIRM, ts->snd_una);
	telex_arm_timer(sk);
}

/* We have confirmed. True when the packet shows that the server has a socket for us. */
static bool telex_confirm_sent_rcv(struct sock *sk, const struct telex_cb *cb)
{
	struct telex_sock *ts = telex_sk(sk);

	if (cb->ack != ts->snd_nxt || cb->type < TELEX_DATA || cb->type > TELEX_PROBE)
		return false;
	sk_stop_timer(sk, &sk->sk_timer);
	ts->backoff = 0;
	ts->snd_una = ts->snd_nxt;
	ts->recover = ts->snd_nxt;
	ts->snd_edge = ts->snd_nxt;
	ts->mss = telex_family(sk)->mss(sk);
	inet_sk_set_state(sk, TCP_ESTABLISHED);
	sk->sk_state_change(sk);
	sk_wake_async(sk, SOCK_WAKE_IO, POLL_OUT);
	return true;
}

/* -- any packet ------------------------------------------------------------------ */

/* Both numbers must fit, so that who does not see our packets cannot end the connection. */
static bool telex_reset_is_valid(const struct telex_sock *ts, const struct telex_cb *cb)
{
	return cb->seq - ts->rcv_nxt <= ts->rcv_edge - ts->rcv_nxt &&
	       ts->snd_nxt + 1 - cb->ack <= U16_MAX;
}

static void telex_take_reset(struct sock *sk)
{
	struct telex_sock *ts = telex_sk(sk);

	if (telex_in_time_wait(sk)) {
		telex_done(sk, 0);
		return;
	}
	switch (sk->sk_state) {
	case TCP_SYN_RECV:
		telex_done(sk, ECONNREFUSED);
		return;
	case TCP_CLOSING:
	case TCP_LAST_ACK:
		/* The peer has closed and was gone when our FIN came again: all is well. */
		if (skb_queue_len(&ts->rtx_queue) + skb_queue_len(&sk->sk_write_queue) <= 1) {
			telex_done(sk, 0);
			return;
		}
		break;
	case TCP_CLOSE_WAIT:
		telex_done(sk, EPIPE);
		return;
	}
	telex_done(sk, ECONNRESET);
}

/* A connection exists. Consumes @skb. */
static void telex_connection_rcv(struct sock *sk, struct sk_buff *skb)
{
	const struct telex_cb *cb = TELEX_CB(skb);
	struct telex_sock *ts = telex_sk(sk);

	switch (cb->type) {
	case TELEX_RESET:
		if (telex_reset_is_valid(ts, cb))
			telex_take_reset(sk);
		break;
	case TELEX_OPEN:
	case TELEX_CONFIRM:
		/* Our ACK was lost; or the peer has forgotten us, and will say so. */
		telex_send_ack(sk);
		break;
	case TELEX_DATA:
	case TELEX_FIN:
	case TELEX_ACK:
	case TELEX_PROBE:
		if (telex_before(ts->snd_nxt, cb->ack))
			break; /* acknowledges what was never sent */
		telex_take_ack(sk, cb);
		if (sk->sk_state == TCP_CLOSE)
			break;
		if (cb->type == TELEX_PROBE)
			telex_send_ack(sk);
		if (cb->type != TELEX_DATA && cb->type != TELEX_FIN)
			break;
		telex_take_segment(sk, skb);
		return;
	}
	kfree_skb(skb);
}

/* With the socket locked, from telex_receive() or release_sock(). Consumes @skb. */
int telex_backlog_rcv(struct sock *sk, struct sk_buff *skb)
{
	switch (sk->sk_state) {
	case TCP_CLOSE:
		telex_refuse(skb);
		break;
	case TCP_LISTEN:
		telex_listener_rcv(sk, skb);
		break;
	case TCP_SYN_SENT:
		telex_open_sent_rcv(sk, skb);
		break;
	case TCP_SYN_RECV:
		if (TELEX_CB(skb)->type != TELEX_RESET &&
		    !telex_confirm_sent_rcv(sk, TELEX_CB(skb)))
			break;
		fallthrough;
	default:
		telex_connection_rcv(sk, skb);
		return 0;
	}
	kfree_skb(skb);
	return 0;
}

/*
 * A packet for this host, its checksum verified. In softirq, under RCU. Consumes @skb.
 * The backlog may hold what both buffers hold, as TCP's: acknowledgements make room in the one.
 */
int telex_receive(struct sk_buff *skb, int family, int ifindex)
{
	const struct telex_hdr *th = (const struct telex_hdr *)skb->data;
	struct net *net = dev_net(skb->dev);
	struct telex_key key;
	struct sock *sk;

	telex_packet_family(skb)->packet_key(skb, &key);
	*TELEX_CB(skb) = (struct telex_cb){
		.seq = ntohl(th->seq),
		.ack = ntohl(th->ack),
		.sack = ntohl(th->sack),
		.window = ntohs(th->window),
		.type = th->type,
		.flags = th->flags,
	};
	sk = telex_lookup(net, &key, family, ifindex);
	if (!sk) {
		telex_refuse(skb);
		goto drop;
	}
	if (sk_filter(sk, skb))
		goto drop_and_put;
	__skb_pull(skb, sizeof(*th));
	nf_reset_ct(skb);

	bh_lock_sock_nested(sk);
	if (!sock_owned_by_user(sk)) {
		telex_backlog_rcv(sk, skb);
	} else if (sk_add_backlog(sk, skb, READ_ONCE(sk->sk_rcvbuf) + READ_ONCE(sk->sk_sndbuf))) {
		bh_unlock_sock(sk);
		atomic_inc(&sk->sk_drops);
		goto drop_and_put;
	}
	bh_unlock_sock(sk);
	sock_put(sk);
	return 0;

drop_and_put:
	sock_put(sk);
drop:
	kfree_skb(skb);
	return 0;
}

/*
 * ICMP complains about our packet with number @seq. While the connection is being opened a @fatal
 * error ends it; later it is only remembered, for when the timer gives up. Consumes the reference
 * on @sk.
 */
void telex_icmp_error(struct sock *sk, u32 seq, int err, bool fatal, bool new_mtu)
{
	struct telex_sock *ts = telex_sk(sk);

	bh_lock_sock(sk);
	/* A forger would have to know what is in flight. */
	if (sk->sk_state == TCP_CLOSE || sk->sk_state == TCP_LISTEN ||
	    seq - ts->snd_una > ts->snd_nxt - ts->snd_una)
		goto out;
	if (new_mtu && !sock_owned_by_user(sk))
		ts->mss = telex_family(sk)->mss(sk);
	else if (fatal && !sock_owned_by_user(sk) &&
		 (1 << sk->sk_state) & (TCPF_SYN_SENT | TCPF_SYN_RECV))
		telex_done(sk, err);
	else if (!new_mtu)
		WRITE_ONCE(sk->sk_err_soft, err);
out:
	bh_unlock_sock(sk);
	sock_put(sk);
}
