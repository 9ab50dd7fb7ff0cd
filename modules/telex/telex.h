/* SPDX-License-Identifier: GPL-2.0 */
/*
 * TELEX: reliable messages over IP. What the files of the module share; README.md describes
 * the protocol.
 *
 * Locks. All state of a connection is guarded by the socket lock: processes take it by
 * lock_sock(), packets and timers by bh_lock_sock(). A packet that finds the socket owned by a
 * process waits in its backlog; a timer comes again a little later. The tables of a netns
 * (ports.c) are changed under telex_net.lock and searched under RCU. Order: socket lock, then
 * telex_net.lock; a listener's lock before that of the child which it makes.
 *
 * References. The tables hold none: a search takes one unless the count is zero already, and
 * sockets are freed after a grace period (SOCK_RCU_FREE). A socket's first reference belongs to
 * its user; after close() to the protocol, until telex_destroy().
 */
#ifndef TELEX_H
#define TELEX_H

#include <linux/siphash.h>
#include <linux/skbuff.h>
#include <linux/timer.h>
#include <linux/version.h>
#include <net/inet_sock.h>
#include <net/ipv6.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>
#include <net/sock.h>
#include <net/tcp_states.h>

#include "telex_user.h"

/* -- the wire -------------------------------------------------------------------- */

struct telex_hdr {
	__be16	source;
	__be16	dest;
	__be32	seq;
	__be32	ack;		/* the next sequence number that the sender awaits */
	__be32	sack;		/* bit n: ack + 1 + n has arrived */
	__be16	window;		/* segments from ack on that the sender takes */
	__u8	type;
	__u8	flags;
	/*
	 * Not at offset 6 or 16, where UDP and TCP have theirs: a device that knows those
	 * must not take a TELEX packet for one (skb_csum_hwoffload_help()).
	 */
	__sum16	check;
	__be16	reserved;	/* sent as 0, not looked at */
};

enum telex_type {
	TELEX_OPEN = 1,		/* client: asks for a cookie */
	TELEX_COOKIE,		/* server: gives one, as its first number; keeps no state */
	TELEX_CONFIRM,		/* client: returns it; answered by an ACK */
	TELEX_DATA,		/* takes a sequence number */
	TELEX_FIN,		/* takes a sequence number: no data will follow */
	TELEX_ACK,
	TELEX_PROBE,		/* asks for an ACK */
	TELEX_RESET,
};

#define TELEX_END	0x01	/* DATA: the last segment of a message */

/* A segment of a message that is not the last has so many bytes, or the peer is broken. */
#define TELEX_MIN_MSS	256

/* -- sockets --------------------------------------------------------------------- */

/* A connection, as seen from here. An IPv4 address stands as ::ffff:a.b.c.d. */
struct telex_key {
	struct in6_addr	local;
	struct in6_addr	remote;
	__be16		lport;
	__be16		rport;
};

struct telex_sock {
	struct inet_sock	inet;	/* must be first */

	/* in the tables of ports.c */
	struct hlist_node	port_node;
	struct hlist_node	conn_node;
	struct telex_key	key;	/* constant while conn_node is hashed */

	/* a listener's children, by their accept_node, that wait for accept() */
	struct list_head	accept_queue;
	struct list_head	accept_node;

	/* What is not sent yet is in sk_write_queue, what is not acknowledged here. */
	struct sk_buff_head	rtx_queue;
	/* Segments in order are in sk_receive_queue, others here, sorted. */
	struct sk_buff_head	ofo_queue;
	/* For delayed acknowledgements; sk_timer is for all else. */
	struct timer_list	ack_timer;

	/* From here on one connection's numbers: telex_init_numbers(). Sending */
	u32	snd_una;	/* the oldest that is not acknowledged */
	u32	snd_nxt;	/* the next to send */
	u32	snd_edge;	/* the first that the peer does not take yet */
	u32	write_seq;	/* the next to queue */
	u32	sacked_out;	/* segments of rtx_queue that arrived out of order, */
	u32	lost_out;	/* and that are lost and not sent again yet */
	u32	cwnd;		/* congestion window, segments */
	u32	ssthresh;
	u32	cwnd_count;	/* acknowledged since cwnd grew last */
	u32	recover;	/* snd_nxt when cwnd was reduced last: once per window */
	u32	mss;		/* payload bytes of a full segment on the present route */

	/* timing */
	u64	opened_us;	/* when OPEN was sent, 0 once it was sent again */
	u32	srtt_us;
	u32	rttvar_us;
	u32	rto_us;
	u8	backoff;	/* doublings of rto_us */
	u8	retries;	/* timeouts since the peer was heard */

	/* receiving */
	u8	ack_pending;	/* segments in order that no ACK was sent for */
	u32	rcv_nxt;
	u32	rcv_edge;	/* the first that the peer may not send; never goes back */
	u32	rcv_messages;	/* whole messages in sk_receive_queue */
	u32	rcv_partial;	/* bytes of the message behind them */
	u32	rcv_truesize;	/* the most that a segment took of the receive buffer */

	/* counters of struct telex_info */
	u32	sent;
	u32	received;
	u32	retransmits;
	u32	timeouts;
	u32	duplicates;
};

static inline struct telex_sock *telex_sk(const struct sock *sk)
{
	return (struct telex_sock *)sk;
}

/*
 * Both sides have closed, and all has arrived: the socket stays a moment to answer a FIN that
 * comes again. It is FIN-WAIT-2 with the peer's FIN: the kernel takes a socket in TCP_TIME_WAIT for
 * one of TCP's small stand-ins (sk_fullsock()), and ours is whole.
 */
static inline bool telex_in_time_wait(const struct sock *sk)
{
	return sk->sk_state == TCP_FIN_WAIT2 && sock_flag(sk, SOCK_DONE);
}

/* A segment in one of the queues, or a packet on its way to a socket. */
struct telex_cb {
	u64	sent_us;
	u32	seq;
	u32	ack;
	u32	sack;
	u16	window;
	u8	type;
	u8	flags;
	bool	resent;
	bool	sacked;
	bool	lost;
};

/* The IP layer's own use of cb ends before a packet is ours, and begins after it was. */
#define TELEX_CB(skb) ((struct telex_cb *)(skb)->cb)

#define TELEX_MAX_HEADER (MAX_HEADER + sizeof(struct ipv6hdr) + sizeof(struct telex_hdr))

static inline bool telex_before(u32 a, u32 b)
{
	return (s32)(a - b) < 0;
}

static inline u64 telex_now_us(void)
{
	return ktime_to_us(ktime_get());
}

/* -- address families ------------------------------------------------------------ */

struct telex_family {
	/* Sends a packet of a connected socket. */
	int (*xmit)(struct sock *sk, struct sk_buff *skb);
	/* The checksum of the pseudo header, for a packet of @len bytes. */
	__sum16 (*pseudo_sum)(const struct sock *sk, unsigned int len);
	/* Sends @skb, which answers @to, without a socket. Consumes @skb. */
	void (*reply)(struct net *net, const struct sk_buff *to, struct sk_buff *skb);
	/* The payload that a packet on the socket's route has room for; routes it when it must. */
	u32 (*mss)(struct sock *sk);
	/* Gives the clone of a listener the addresses of the packet that opened it. */
	void (*init_child)(struct sock *child, const struct sock *listener,
			   const struct sk_buff *skb);
	/* The addresses of a received packet. */
	void (*packet_key)(const struct sk_buff *skb, struct telex_key *key);
	/* The addresses of a socket. */
	void (*socket_key)(const struct sock *sk, struct telex_key *key);
};

extern const struct telex_family telex_ipv4;
int telex_ipv4_register(void);
void telex_ipv4_unregister(void);

#if IS_ENABLED(CONFIG_IPV6)
extern const struct telex_family telex_ipv6;
int telex_ipv6_register(void);
void telex_ipv6_unregister(void);

static inline const struct telex_family *telex_family(const struct sock *sk)
{
	return sk->sk_family == AF_INET6 ? &telex_ipv6 : &telex_ipv4;
}

static inline const struct telex_family *telex_packet_family(const struct sk_buff *skb)
{
	return skb->protocol == htons(ETH_P_IPV6) ? &telex_ipv6 : &telex_ipv4;
}
#else
static inline int telex_ipv6_register(void)
{
	return 0;
}

static inline void telex_ipv6_unregister(void)
{
}

static inline const struct telex_family *telex_family(const struct sock *sk)
{
	return &telex_ipv4;
}

static inline const struct telex_family *telex_packet_family(const struct sk_buff *skb)
{
	return &telex_ipv4;
}
#endif

/* -- one network namespace ------------------------------------------------------- */

#define TELEX_PORT_BITS	6
#define TELEX_CONN_BITS	8

struct telex_net {
	spinlock_t		lock;	/* of both tables */
	struct hlist_head	ports[1 << TELEX_PORT_BITS];	/* by local port: bound sockets */
	struct hlist_head	conns[1 << TELEX_CONN_BITS];	/* by telex_key */
	siphash_key_t		secret;	/* of cookies, and of the hash of conns */
	/* Raw sockets, which replies without a connection are sent by. They hold no module. */
	struct sock		*reply_v4;
	struct sock		*reply_v6;
};

extern unsigned int telex_net_id;

static inline struct telex_net *telex_net(const struct net *net)
{
	return net_generic(net, telex_net_id);
}

/* -- socket.c -------------------------------------------------------------------- */

int telex_init_sock(struct sock *sk);
void telex_init_state(struct sock *sk);
int telex_connected(struct sock *sk);
void telex_close(struct sock *sk, long timeout);
int telex_disconnect(struct sock *sk, int flags);
void telex_shutdown(struct sock *sk, int how);
int telex_sendmsg(struct sock *sk, struct msghdr *msg, size_t len);
int telex_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len);
int telex_get_info(struct sock *sk, int name, char __user *value, int __user *length);
int telex_listen(struct socket *sock, int backlog);
__poll_t telex_poll(struct file *file, struct socket *sock, poll_table *wait);
void telex_done(struct sock *sk, int err);
void telex_abort(struct sock *sk, int err);
void telex_destroy(struct sock *sk);

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
struct sock *telex_accept(struct sock *sk, struct proto_accept_arg *arg);
#else
struct sock *telex_accept(struct sock *sk, int flags, int *err, bool kern);
#endif

/* -- ports.c --------------------------------------------------------------------- */

int telex_get_port(struct sock *sk, unsigned short port);
void telex_put_port(struct sock *sk);
bool telex_may_listen(struct sock *sk);
int telex_hash(struct sock *sk);
void telex_unhash(struct sock *sk);
struct sock *telex_lookup(struct net *net, const struct telex_key *key, int family, int ifindex);

/* -- input.c --------------------------------------------------------------------- */

int telex_receive(struct sk_buff *skb, int family, int ifindex);
int telex_backlog_rcv(struct sock *sk, struct sk_buff *skb);
void telex_icmp_error(struct sock *sk, u32 seq, int err, bool fatal, bool new_mtu);

/* -- output.c -------------------------------------------------------------------- */

void telex_queue(struct sock *sk, struct sk_buff *skb, u8 type, u8 flags);
void telex_push(struct sock *sk);
void telex_send(struct sock *sk, u8 type, u32 seq);
void telex_reply(const struct sk_buff *to, u8 type, u32 seq, u32 ack, u16 window);
u32 telex_offered_window(const struct sock *sk);
void telex_send_ack(struct sock *sk);

/* -- timing.c -------------------------------------------------------------------- */

void telex_init_timers(struct sock *sk);
void telex_stop_timers(struct sock *sk);
void telex_arm_timer(struct sock *sk);
void telex_arm_timer_for(struct sock *sk, unsigned long delay);
void telex_delay_ack(struct sock *sk);
void telex_rtt_sample(struct telex_sock *ts, u64 sent_us);
void telex_reduce_cwnd(struct telex_sock *ts);

#define TELEX_TIME_WAIT		HZ		/* see README.md: why so short */
#define TELEX_ORPHAN_WAIT	(60 * HZ)	/* for the peer's FIN, when nobody waits for it */

/* -- listing.c ------------------------------------------------------------------- */

int telex_listing_add(struct net *net);
void telex_listing_remove(struct net *net);

#endif
