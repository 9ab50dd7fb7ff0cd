// SPDX-License-Identifier: GPL-2.0
/*
 * TELEX: sending. How a segment becomes a packet, and which may go.
 */
#include "telex.h"

/*
 * How many segments from rcv_nxt on the peer may send now.
 *
 * It follows from the room in the receive buffer, for segments as large as the largest so far.
 * What was granted is never taken back. A message that has begun must be able to end, however
 * small the buffer is: while there is no whole message to read, two segments are granted.
 */
u32 telex_offered_window(const struct sock *sk)
{
	const struct telex_sock *ts = telex_sk(sk);
	int room = READ_ONCE(sk->sk_rcvbuf) - atomic_read(&sk->sk_rmem_alloc);
	u32 segments = max(room, 0) / ts->rcv_truesize;

	if (!ts->rcv_messages)
		segments = max(segments, 2U);
	segments = max(segments, ts->rcv_edge - ts->rcv_nxt);
	return min_t(u32, segments, U16_MAX);
}

/* One bit for each segment behind rcv_nxt that has arrived. */
static u32 telex_sack_bits(const struct telex_sock *ts)
{
	const struct sk_buff *skb;
	u32 bits = 0;

	skb_queue_walk(&ts->ofo_queue, skb) {
		u32 offset = TELEX_CB(skb)->seq - ts->rcv_nxt - 1;

		if (offset >= 32)
			break;
		bits |= BIT(offset);
	}
	return bits;
}

/* Puts the header in front of the payload, and sends it. Consumes @skb. */
static void telex_transmit(struct sock *sk, struct sk_buff *skb, u8 type, u8 flags, u32 seq)
{
	const struct telex_family *family = telex_family(sk);
	const struct inet_sock *inet = inet_sk(sk);
	struct telex_sock *ts = telex_sk(sk);
	u32 window = telex_offered_window(sk);
	struct telex_hdr *th;

	ts->rcv_edge = ts->rcv_nxt + window;
	ts->ack_pending = 0;

	/* Made before the MTU of the path fell: the IP layer shall make fragments of it. */
	skb->ignore_df = skb->len > ts->mss;

	th = skb_push(skb, sizeof(*th));
	skb_reset_transport_header(skb);
	*th = (struct telex_hdr){
		.source = inet->inet_sport,
		.dest = inet->inet_dport,
		.seq = htonl(seq),
		.ack = htonl(ts->rcv_nxt),
		.sack = htonl(telex_sack_bits(ts)),
		.window = htons(window),
		.type = type,
		.flags = flags,
	};
	/* The device adds the payload's sum, or the stack in front of it. */
	th->check = ~family->pseudo_sum(sk, skb->len);
	skb->csum_start = skb_transport_header(skb) - skb->head;
	skb->csum_offset = offsetof(struct telex_hdr, check);
	skb->ip_summed = CHECKSUM_PARTIAL;

	skb_set_owner_w(skb, sk);
	memset(skb->cb, 0, sizeof(skb->cb));
	/* Congestion of the device, or no route: like a loss on the way, the timer mends it. */
	family->xmit(sk, skb);
}

/* A packet without payload. */
void telex_send(struct sock *sk, u8 type, u32 seq)
{
	struct sk_buff *skb = alloc_skb(TELEX_MAX_HEADER, GFP_ATOMIC);

	if (!skb)
		return; /* as if it were lost on the way */
	skb_reserve(skb, TELEX_MAX_HEADER);
	telex_transmit(sk, skb, type, 0, seq);
}

void telex_send_ack(struct sock *sk)
{
	telex_send(sk, TELEX_ACK, telex_sk(sk)->snd_nxt);
}

/* Sends a segment of rtx_queue, which stays there. */
static void telex_send_segment(struct sock *sk, struct sk_buff *skb)
{
	struct telex_cb *cb = TELEX_CB(skb);
	struct sk_buff *copy;

	/* The route may have changed, and with it what fits into a packet. */
	telex_sk(sk)->mss = telex_family(sk)->mss(sk);
	cb->sent_us = telex_now_us();
	/* Still in some queue on the way? Then its header is in use, too. */
	copy = skb_cloned(skb) ? pskb_copy(skb, GFP_ATOMIC) : skb_clone(skb, GFP_ATOMIC);
	if (copy)
		telex_transmit(sk, copy, cb->type, cb->flags, cb->seq);
}

/* Gives a segment its number and its place at the end of what is to be sent. */
void telex_queue(struct sock *sk, struct sk_buff *skb, u8 type, u8 flags)
{
	*TELEX_CB(skb) = (struct telex_cb){
		.seq = telex_sk(sk)->write_seq++,
		.type = type,
		.flags = flags,
	};
	sk_wmem_queued_add(sk, skb->truesize);
	__skb_queue_tail(&sk->sk_write_queue, skb);
}

static bool telex_cwnd_allows(const struct telex_sock *ts)
{
	return skb_queue_len(&ts->rtx_queue) - ts->sacked_out - ts->lost_out < ts->cwnd;
}

static void telex_resend_lost(struct sock *sk)
{
	struct telex_sock *ts = telex_sk(sk);
	struct sk_buff *skb;

	skb_queue_walk(&ts->rtx_queue, skb) {
		struct telex_cb *cb = TELEX_CB(skb);

		if (!ts->lost_out || !telex_cwnd_allows(ts))
			return;
		if (!cb->lost)
			continue;
		cb->lost = false;
		cb->resent = true;
		ts->lost_out--;
		ts->retransmits++;
		telex_send_segment(sk, skb);
	}
}

/* Sends all that both windows allow: what is lost first. */
void telex_push(struct sock *sk)
{
	struct telex_sock *ts = telex_sk(sk);
	struct sk_buff *skb;

	telex_resend_lost(sk);
	while ((skb = skb_peek(&sk->sk_write_queue)) && telex_cwnd_allows(ts) &&
	       telex_before(TELEX_CB(skb)->seq, ts->snd_edge)) {
		__skb_unlink(skb, &sk->sk_write_queue);
		__skb_queue_tail(&ts->rtx_queue, skb);
		ts->snd_nxt = TELEX_CB(skb)->seq + 1;
		ts->sent++;
		telex_send_segment(sk, skb);
	}
	/* For what is on its way; or to ask whether a closed window has opened. */
	if (!timer_pending(&sk->sk_timer) &&
	    (!skb_queue_empty(&ts->rtx_queue) || !skb_queue_empty(&sk->sk_write_queue)))
		telex_arm_timer(sk);
}

/* Answers a packet that belongs to no connection. */
void telex_reply(const struct sk_buff *to, u8 type, u32 seq, u32 ack, u16 window)
{
	const struct telex_hdr *asked = (const struct telex_hdr *)skb_transport_header(to);
	struct telex_hdr *th;
	struct sk_buff *skb;

	if (!skb_dst(to))
		return; /* its route went while it was in the backlog */
	skb = alloc_skb(TELEX_MAX_HEADER, GFP_ATOMIC);
	if (!skb)
		return;
	skb_reserve(skb, TELEX_MAX_HEADER);
	th = skb_push(skb, sizeof(*th));
	skb_reset_transport_header(skb);
	*th = (struct telex_hdr){
		.source = asked->dest,
		.dest = asked->source,
		.seq = htonl(seq),
		.ack = htonl(ack),
		.window = htons(window),
		.type = type,
	};
	telex_packet_family(to)->reply(dev_net(skb_dst(to)->dev), to, skb);
}
