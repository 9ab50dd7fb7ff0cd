// SPDX-License-Identifier: GPL-2.0
/*
 * TELEX: /proc/net/telex, the sockets of a netns.
 */
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "telex.h"

static const char *telex_state_name(const struct sock *sk)
{
	static const char *const names[] = {
		[TCP_ESTABLISHED] = "ESTABLISHED",
		[TCP_SYN_SENT] = "OPEN-SENT",
		[TCP_SYN_RECV] = "CONFIRM-SENT",
		[TCP_FIN_WAIT1] = "FIN-WAIT-1",
		[TCP_FIN_WAIT2] = "FIN-WAIT-2",
		[TCP_CLOSE] = "CLOSED",
		[TCP_CLOSE_WAIT] = "CLOSE-WAIT",
		[TCP_LAST_ACK] = "LAST-ACK",
		[TCP_LISTEN] = "LISTEN",
		[TCP_CLOSING] = "CLOSING",
	};
	int state = READ_ONCE(sk->sk_state);

	if (telex_in_time_wait(sk))
		return "TIME-WAIT";
	return state < ARRAY_SIZE(names) && names[state] ? names[state] : "UNKNOWN";
}

static void telex_show_address(struct seq_file *seq, const struct sock *sk,
			       const struct in6_addr *address, __be16 port)
{
	if (sk->sk_family == AF_INET6)
		seq_printf(seq, " [%pI6c]:%u", address, ntohs(port));
	else
		seq_printf(seq, " %pI4:%u", &address->s6_addr32[3], ntohs(port));
}

/* Numbers may change while they are printed: each is right, together they are not one moment. */
static void telex_show_socket(struct seq_file *seq, struct telex_sock *ts)
{
	struct sock *sk = (struct sock *)ts;
	struct telex_key key;

	telex_family(sk)->socket_key(sk, &key);
	seq_puts(seq, telex_state_name(sk));
	telex_show_address(seq, sk, &key.local, htons(inet_sk(sk)->inet_num));
	telex_show_address(seq, sk, &key.remote, key.rport);
	seq_printf(seq, " %d %d %u %u %u %u %u %u %lu\n", READ_ONCE(sk->sk_wmem_queued),
		   atomic_read(&sk->sk_rmem_alloc), READ_ONCE(ts->srtt_us), READ_ONCE(ts->rto_us),
		   READ_ONCE(ts->cwnd), READ_ONCE(ts->retransmits), READ_ONCE(ts->timeouts),
		   from_kuid_munged(seq_user_ns(seq), sock_i_uid(sk)), sock_i_ino(sk));
}

static int telex_show(struct seq_file *seq, void *unused)
{
	struct telex_net *tn = telex_net(seq_file_single_net(seq));
	struct telex_sock *ts;
	int i;

	seq_puts(seq, "state local remote tx_queue rx_queue srtt_us rto_us cwnd retransmits timeouts uid inode\n");
	rcu_read_lock();
	for (i = 0; i < ARRAY_SIZE(tn->ports); i++) {
		hlist_for_each_entry_rcu(ts, &tn->ports[i], port_node) {
			/* Those with a connection come below. */
			if (hlist_unhashed_lockless(&ts->conn_node))
				telex_show_socket(seq, ts);
		}
	}
	for (i = 0; i < ARRAY_SIZE(tn->conns); i++) {
		hlist_for_each_entry_rcu(ts, &tn->conns[i], conn_node)
			telex_show_socket(seq, ts);
	}
	rcu_read_unlock();
	return 0;
}

int telex_listing_add(struct net *net)
{
	if (IS_ENABLED(CONFIG_PROC_FS) &&
	    !proc_create_net_single("telex", 0444, net->proc_net, telex_show, NULL))
		return -ENOMEM;
	return 0;
}

void telex_listing_remove(struct net *net)
{
	remove_proc_entry("telex", net->proc_net);
}
