// SPDX-License-Identifier: GPL-2.0
/*
 * TELEX: sockets. What processes call, and how a connection ends.
 */
#include <linux/poll.h>
#include <net/ip.h>

#include "telex.h"

/* -- begin ----------------------------------------------------------------------- */

static void telex_init_numbers(struct telex_sock *ts)
{
	memset_startat(ts, 0, snd_una);
	ts->cwnd = 10; /* RFC 6928 */
	ts->ssthresh = U32_MAX;
	ts->rto_us = USEC_PER_SEC; /* RFC 6298, 2.1 */
	ts->rcv_truesize = SKB_TRUESIZE(TELEX_MAX_HEADER + ETH_DATA_LEN);
}

/* What a new socket and the child of a listener have in common. */
void telex_init_state(struct sock *sk)
{
	struct telex_sock *ts = telex_sk(sk);

	INIT_HLIST_NODE(&ts->port_node);
	INIT_HLIST_NODE(&ts->conn_node);
	INIT_LIST_HEAD(&ts->accept_queue);
	INIT_LIST_HEAD(&ts->accept_node);
	__skb_queue_head_init(&ts->rtx_queue);
	__skb_queue_head_init(&ts->ofo_queue);
	telex_init_numbers(ts);
	telex_init_timers(sk);
	sock_prot_inuse_add(sock_net(sk), sk->sk_prot, 1);
}

/* Wakes those who wait to send, once a third of the buffer is free (sk_stream_wait_memory()). */
static void telex_write_space(struct sock *sk)
{
	struct socket_wq *wq;

	if (!__sk_stream_is_writeable(sk, 1))
		return;
	/* Pairs with the barrier in telex_poll(): what was freed is seen, or NOSPACE is. */
	smp_mb();
	rcu_read_lock();
	wq = rcu_dereference(sk->sk_wq);
	if (sk->sk_socket && test_and_clear_bit(SOCK_NOSPACE, &sk->sk_socket->flags)) {
		if (skwq_has_sleeper(wq))
			wake_up_interruptible_poll(&wq->wait,
						   EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
		sk_wake_async(sk, SOCK_WAKE_SPACE, POLL_OUT);
	}
	rcu_read_unlock();
}

int telex_init_sock(struct sock *sk)
{
	telex_init_state(sk);
	/* Space is counted by the queues, not by the packets on their way (sock_wfree()). */
	sock_set_flag(sk, SOCK_USE_WRITE_QUEUE);
	sock_set_flag(sk, SOCK_RCU_FREE);
	sk->sk_write_space = telex_write_space;
	return 0;
}

/* connect() has the addresses, the ports and a route: enters the tables and asks for a cookie. */
int telex_connected(struct sock *sk)
{
	struct telex_sock *ts = telex_sk(sk);
	int err;

	inet_sk_set_state(sk, TCP_SYN_SENT);
	err = telex_hash(sk);
	if (err) {
		inet_sk_set_state(sk, TCP_CLOSE);
		return err;
	}
	ts->snd_una = get_random_u32();
	ts->snd_nxt = ts->snd_una + 1;
	ts->write_seq = ts->snd_nxt;
	ts->recover = ts->snd_una;
	ts->opened_us = telex_now_us();
	telex_send(sk, TELEX_OPEN, ts->snd_una);
	telex_arm_timer(sk);
	return 0;
}

int telex_listen(struct socket *sock, int backlog)
{
	struct sock *sk = sock->sk;
	int err = -EINVAL;

	lock_sock(sk);
	if (sock->state != SS_UNCONNECTED)
		goto out;
	if (sk->sk_state == TCP_CLOSE) {
		err = -EADDRINUSE;
		if (!inet_sk(sk)->inet_num && telex_get_port(sk, 0))
			goto out;
		inet_sk(sk)->inet_sport = htons(inet_sk(sk)->inet_num);
		WRITE_ONCE(sk->sk_max_ack_backlog, backlog);
		if (!telex_may_listen(sk))
			goto out;
	} else if (sk->sk_state != TCP_LISTEN) {
		goto out;
	}
	WRITE_ONCE(sk->sk_max_ack_backlog, backlog);
	err = 0;
out:
	release_sock(sk);
	return err;
}

/* Waits for a child; called with the socket locked. */
static int telex_wait_for_child(struct sock *sk, long timeo)
{
	struct telex_sock *ts = telex_sk(sk);
	DEFINE_WAIT(wait);
	int err = 0;

	for (;;) {
		/* One child wakes one process. */
		prepare_to_wait_exclusive(sk_sleep(sk), &wait, TASK_INTERRUPTIBLE);
		if (!list_empty(&ts->accept_queue))
			break;
		err = -EINVAL;
		if (sk->sk_state != TCP_LISTEN)
			break;
		err = -EAGAIN;
		if (!timeo)
			break;
		err = sock_intr_errno(timeo);
		if (signal_pending(current))
			break;
		err = 0;
		release_sock(sk);
		timeo = schedule_timeout(timeo);
		lock_sock(sk);
	}
	finish_wait(sk_sleep(sk), &wait);
	return err;
}

static struct sock *telex_take_child(struct sock *sk, int flags, int *err)
{
	struct telex_sock *ts = telex_sk(sk), *child = NULL;

	lock_sock(sk);
	*err = -EINVAL;
	if (sk->sk_state == TCP_LISTEN)
		*err = telex_wait_for_child(sk, sock_rcvtimeo(sk, flags & O_NONBLOCK));
	if (!*err) {
		child = list_first_entry(&ts->accept_queue, struct telex_sock, accept_node);
		list_del_init(&child->accept_node);
		sk_acceptq_removed(sk);
	}
	release_sock(sk);
	return (struct sock *)child;
}

/* Only the signature differs between kernels. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
struct sock *telex_accept(struct sock *sk, struct proto_accept_arg *arg)
{
	return telex_take_child(sk, arg->flags, &arg->err);
}
#else
struct sock *telex_accept(struct sock *sk, int flags, int *err, bool kern)
{
	return telex_take_child(sk, flags, err);
}
#endif

/* -- messages -------------------------------------------------------------------- */

/* Copies a message into segments. They are queued together or not at all. */
static int telex_make_segments(struct sock *sk, struct msghdr *msg, size_t len,
			       struct sk_buff_head *segments)
{
	u32 mss = telex_sk(sk)->mss;
	struct sk_buff *skb;
	size_t part;
	int err;

	do {
		part = min_t(size_t, len, mss);
		skb = alloc_skb(TELEX_MAX_HEADER + part, sk->sk_allocation);
		if (!skb) {
			err = -ENOBUFS;
			goto out_purge;
		}
		__skb_queue_tail(segments, skb);
		skb_reserve(skb, TELEX_MAX_HEADER);
		err = memcpy_from_msg(skb_put(skb, part), msg, part);
		if (err)
			goto out_purge;
		len -= part;
	} while (len);
	return 0;

out_purge:
	__skb_queue_purge(segments);
	return err;
}

int telex_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)
{
	struct telex_sock *ts = telex_sk(sk);
	struct sk_buff_head segments;
	struct sk_buff *skb;
	long timeo;
	int err;

	if (msg->msg_flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (len > TELEX_MAX_MESSAGE)
		return -EMSGSIZE;
	__skb_queue_head_init(&segments);

	lock_sock(sk);
	timeo = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
	if (sk->sk_state == TCP_LISTEN || (sk->sk_state == TCP_CLOSE && !inet_sk(sk)->inet_dport)) {
		err = -ENOTCONN;
		goto out;
	}
	if ((1 << sk->sk_state) & (TCPF_SYN_SENT | TCPF_SYN_RECV)) {
		err = sk_stream_wait_connect(sk, &timeo);
		if (err)
			goto out_error;
	}
	/* A message is taken whole when there is any room: it need not fit into the buffer. */
	while (!sk_stream_memory_free(sk)) {
		err = sk_stream_wait_memory(sk, &timeo);
		if (err)
			goto out_error;
	}
	err = -EPIPE;
	if (sk->sk_err || sk->sk_shutdown & SEND_SHUTDOWN)
		goto out_error;

	ts->mss = telex_family(sk)->mss(sk);
	err = telex_make_segments(sk, msg, len, &segments);
	if (err)
		goto out;
	while ((skb = __skb_dequeue(&segments)))
		telex_queue(sk, skb, TELEX_DATA, skb_queue_empty(&segments) ? TELEX_END : 0);
	telex_push(sk);
	err = len;
	goto out;

out_error:
	/* EPIPE: the reason if there is one, and SIGPIPE otherwise. */
	err = sk_stream_error(sk, msg->msg_flags, err);
out:
	release_sock(sk);
	return err;
}

/* Waits until a whole message is there. 1: it is; 0: there will be none. */
static int telex_wait_message(struct sock *sk, int flags)
{
	long timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT);
	struct telex_sock *ts = telex_sk(sk);

	while (!ts->rcv_messages) {
		if (sk->sk_err)
			return sock_error(sk);
		if (sk->sk_shutdown & RCV_SHUTDOWN)
			return 0;
		if (sk->sk_state == TCP_CLOSE || sk->sk_state == TCP_LISTEN)
			return -ENOTCONN;
		if (!timeo)
			return -EAGAIN;
		if (signal_pending(current))
			return sock_intr_errno(timeo);
		sk_wait_data(sk, &timeo, skb_peek_tail(&sk->sk_receive_queue));
	}
	return 1;
}

int telex_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len)
{
	struct telex_sock *ts = telex_sk(sk);
	size_t whole = 0, copied = 0;
	struct sk_buff *skb, *next;
	u32 window, granted;
	bool end = false;
	int err;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;

	lock_sock(sk);
	err = telex_wait_message(sk, flags);
	if (err <= 0)
		goto out;

	skb_queue_walk_safe(&sk->sk_receive_queue, skb, next) {
		size_t part = min_t(size_t, skb->len, len - copied);

		err = skb_copy_datagram_msg(skb, 0, msg, part);
		if (err)
			goto out;
		copied += part;
		whole += skb->len;
		if (TELEX_CB(skb)->flags & TELEX_END)
			break;
	}
	err = flags & MSG_TRUNC ? whole : copied;
	msg->msg_flags |= copied < whole ? MSG_TRUNC : MSG_EOR;
	if (flags & MSG_PEEK)
		goto out;

	/* The message goes, also what did not fit, as with other sockets that keep bounds. */
	while (!end) {
		skb = __skb_dequeue(&sk->sk_receive_queue);
		end = TELEX_CB(skb)->flags & TELEX_END;
		kfree_skb(skb);
	}
	ts->rcv_messages--;

	/* Say that there is room again, once that is twice what the peer knows of. */
	window = telex_offered_window(sk);
	granted = ts->rcv_edge - ts->rcv_nxt;
	if (sk->sk_state != TCP_CLOSE && window > granted && window >= 2 * granted)
		telex_send_ack(sk);
out:
	release_sock(sk);
	return err;
}

__poll_t telex_poll(struct file *file, struct socket *sock, poll_table *wait)
{
	struct sock *sk = sock->sk;
	struct telex_sock *ts = telex_sk(sk);
	u8 shutdown, state;
	__poll_t mask = 0;

	sock_poll_wait(file, sock, wait);
	state = READ_ONCE(sk->sk_state);
	if (state == TCP_LISTEN)
		return list_empty_careful(&ts->accept_queue) ? 0 : EPOLLIN | EPOLLRDNORM;

	shutdown = READ_ONCE(sk->sk_shutdown);
	if (READ_ONCE(sk->sk_err))
		mask |= EPOLLERR;
	if (shutdown == SHUTDOWN_MASK || state == TCP_CLOSE)
		mask |= EPOLLHUP;
	if (shutdown & RCV_SHUTDOWN)
		mask |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if ((1 << state) & (TCPF_SYN_SENT | TCPF_SYN_RECV))
		return mask;

	if (READ_ONCE(ts->rcv_messages))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (shutdown & SEND_SHUTDOWN || __sk_stream_is_writeable(sk, 1)) {
		mask |= EPOLLOUT | EPOLLWRNORM;
	} else {
		sk_set_bit(SOCKWQ_ASYNC_NOSPACE, sk);
		set_bit(SOCK_NOSPACE, &sock->flags);
		/* Pairs with the barrier in telex_write_space(). */
		smp_mb__after_atomic();
		if (__sk_stream_is_writeable(sk, 1))
			mask |= EPOLLOUT | EPOLLWRNORM;
	}
	return mask;
}

int telex_get_info(struct sock *sk, int name, char __user *value, int __user *length)
{
	struct telex_sock *ts = telex_sk(sk);
	struct telex_info info;
	int len;

	if (name != TELEX_INFO)
		return -ENOPROTOOPT;
	if (get_user(len, length))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;

	lock_sock(sk);
	info = (struct telex_info){
		.state = sk->sk_state,
		.mss = ts->mss,
		.srtt_us = ts->srtt_us,
		.rttvar_us = ts->rttvar_us,
		.rto_us = ts->rto_us,
		.cwnd = ts->cwnd,
		.ssthresh = ts->ssthresh,
		.send_window = ts->snd_edge - ts->snd_una,
		.receive_window = ts->rcv_edge - ts->rcv_nxt,
		.in_flight = skb_queue_len(&ts->rtx_queue) - ts->sacked_out - ts->lost_out,
		.unsent = skb_queue_len(&sk->sk_write_queue),
		.sent = ts->sent,
		.received = ts->received,
		.retransmits = ts->retransmits,
		.timeouts = ts->timeouts,
		.duplicates = ts->duplicates,
	};
	release_sock(sk);

	len = min_t(int, len, sizeof(info));
	if (put_user(len, length) || copy_to_user(value, &info, len))
		return -EFAULT;
	return 0;
}

/* -- end ------------------------------------------------------------------------- */

static void telex_purge_unsent(struct sock *sk)
{
	struct telex_sock *ts = telex_sk(sk);
	struct sk_buff *skb;

	while ((skb = __skb_dequeue(&sk->sk_write_queue)) ||
	       (skb = __skb_dequeue(&ts->rtx_queue))) {
		sk_wmem_queued_add(sk, -skb->truesize);
		kfree_skb(skb);
	}
	ts->sacked_out = 0;
	ts->lost_out = 0;
}

static void telex_purge_received(struct sock *sk)
{
	struct telex_sock *ts = telex_sk(sk);

	__skb_queue_purge(&sk->sk_receive_queue);
	__skb_queue_purge(&ts->ofo_queue);
	ts->rcv_messages = 0;
	ts->rcv_partial = 0;
}

/* Gives up what the protocol holds of a closed socket that no process has any more. */
void telex_destroy(struct sock *sk)
{
	WARN_ON_ONCE(!sock_flag(sk, SOCK_DEAD) || sk->sk_state != TCP_CLOSE);
	telex_put_port(sk);
	telex_purge_received(sk);
	sock_prot_inuse_add(sock_net(sk), sk->sk_prot, -1);
	sock_put(sk);
}

/*
 * The connection is over, for the reason @err or for none. What was received may still be read.
 * The caller holds the lock, and a reference: an orphan's own one goes here.
 */
void telex_done(struct sock *sk, int err)
{
	if (sk->sk_state == TCP_CLOSE)
		return;
	telex_unhash(sk);
	telex_stop_timers(sk);
	telex_purge_unsent(sk);
	__skb_queue_purge(&telex_sk(sk)->ofo_queue);
	inet_sk_set_state(sk, TCP_CLOSE);
	WRITE_ONCE(sk->sk_shutdown, SHUTDOWN_MASK);
	if (err)
		WRITE_ONCE(sk->sk_err, err);

	if (sock_flag(sk, SOCK_DEAD)) {
		telex_destroy(sk);
		return;
	}
	if (!(sk->sk_userlocks & SOCK_BINDPORT_LOCK))
		telex_put_port(sk);
	sk->sk_state_change(sk);
	if (err)
		sk_error_report(sk);
}

/* The same, and the peer is told. */
void telex_abort(struct sock *sk, int err)
{
	if (sk->sk_state != TCP_CLOSE && sk->sk_state != TCP_SYN_SENT)
		telex_send(sk, TELEX_RESET, telex_sk(sk)->snd_nxt);
	telex_done(sk, err);
}

/* The children of a listener that nobody will accept. */
static void telex_abort_children(struct sock *sk)
{
	struct telex_sock *child, *next;

	list_for_each_entry_safe(child, next, &telex_sk(sk)->accept_queue, accept_node) {
		struct sock *csk = (struct sock *)child;

		list_del_init(&child->accept_node);
		sk_acceptq_removed(sk);
		/* Below the listener's lock, which is of the same class. */
		local_bh_disable();
		bh_lock_sock_nested(csk);
		sock_hold(csk);
		sock_orphan(csk);
		if (csk->sk_state == TCP_CLOSE)
			telex_destroy(csk); /* it was reset meanwhile */
		else
			telex_abort(csk, 0);
		bh_unlock_sock(csk);
		local_bh_enable();
		sock_put(csk);
	}
}

/* Queues the FIN, once. What is queued before it is sent first. */
static void telex_send_fin(struct sock *sk)
{
	struct sk_buff *skb;

	if (sk->sk_state == TCP_ESTABLISHED)
		inet_sk_set_state(sk, TCP_FIN_WAIT1);
	else if (sk->sk_state == TCP_CLOSE_WAIT)
		inet_sk_set_state(sk, TCP_LAST_ACK);
	else
		return;
	/* Small, and close() cannot fail for want of it. */
	skb = alloc_skb(TELEX_MAX_HEADER, sk->sk_allocation | __GFP_NOFAIL);
	skb_reserve(skb, TELEX_MAX_HEADER);
	telex_queue(sk, skb, TELEX_FIN, 0);
	telex_push(sk);
}

void telex_shutdown(struct sock *sk, int how)
{
	/* Before there is a connection it ends, as inet_shutdown() does it for TCP_SYN_SENT. */
	if (sk->sk_state == TCP_SYN_RECV)
		telex_abort(sk, 0);
	else if (how & SEND_SHUTDOWN)
		telex_send_fin(sk);
}

void telex_close(struct sock *sk, long timeout)
{
	lock_sock(sk);
	sock_hold(sk);
	WRITE_ONCE(sk->sk_shutdown, SHUTDOWN_MASK);

	switch (sk->sk_state) {
	case TCP_LISTEN:
		inet_sk_set_state(sk, TCP_CLOSE);
		telex_abort_children(sk);
		break;
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
		telex_abort(sk, 0);
		break;
	default:
		/* The peer must not believe that this was read (RFC 1122, 4.2.2.13). */
		if (!skb_queue_empty(&sk->sk_receive_queue) ||
		    (sock_flag(sk, SOCK_LINGER) && !sk->sk_lingertime))
			telex_abort(sk, 0);
		else
			telex_send_fin(sk);
		if (timeout)
			sk_stream_wait_close(sk, timeout);
	}

	/* From here on the protocol has the socket, until the peer has closed too. */
	sock_orphan(sk);
	if (sk->sk_state == TCP_CLOSE)
		telex_destroy(sk);
	else if (sk->sk_state == TCP_FIN_WAIT2 && !telex_in_time_wait(sk))
		telex_arm_timer_for(sk, TELEX_ORPHAN_WAIT);
	release_sock(sk);
	sock_put(sk);
}

/* connect() to AF_UNSPEC, or after one that failed: the socket is as new. */
int telex_disconnect(struct sock *sk, int flags)
{
	struct inet_sock *inet = inet_sk(sk);
	struct telex_sock *ts = telex_sk(sk);

	if (sk->sk_state == TCP_LISTEN) {
		inet_sk_set_state(sk, TCP_CLOSE);
		telex_abort_children(sk);
	}
	telex_abort(sk, 0);
	telex_purge_received(sk);
	if (!(sk->sk_userlocks & SOCK_BINDPORT_LOCK)) {
		telex_put_port(sk);
		inet->inet_sport = 0;
	}
	if (!(sk->sk_userlocks & SOCK_BINDADDR_LOCK))
		inet_reset_saddr(sk);
	inet->inet_dport = 0;
	sk_dst_reset(sk);
	WRITE_ONCE(sk->sk_shutdown, 0);
	WRITE_ONCE(sk->sk_err, 0);
	sk->sk_err_soft = 0;
	sock_reset_flag(sk, SOCK_DONE);
	telex_init_numbers(ts);
	return 0;
}
