// SPDX-License-Identifier: GPL-2.0
/*
 * TELEX: the tables of a netns. Which sockets have which port, and which have which connection.
 *
 * A bound socket is in `ports`, a connected one in `conns`. Children of a listener are in `conns`
 * only: they share their listener's port, and may outlive it.
 */
#include <linux/hash.h>
#include <net/ip.h>

#include "telex.h"

static struct hlist_head *telex_port_head(struct telex_net *tn, u16 port)
{
	return &tn->ports[hash_32(port, TELEX_PORT_BITS)];
}

static struct hlist_head *telex_conn_head(struct telex_net *tn, const struct telex_key *key)
{
	u32 hash = siphash(key, offsetofend(struct telex_key, rport), &tn->secret);

	return &tn->conns[hash >> (32 - TELEX_CONN_BITS)];
}

static bool telex_same_key(const struct telex_key *a, const struct telex_key *b)
{
	return a->lport == b->lport && a->rport == b->rport &&
	       ipv6_addr_equal(&a->remote, &b->remote) && ipv6_addr_equal(&a->local, &b->local);
}

/* An IPv4 socket that is bound to no address has ::ffff:0.0.0.0 for one. */
static bool telex_any_address(const struct in6_addr *address)
{
	return ipv6_addr_any(address) ||
	       (ipv6_addr_v4mapped(address) && !address->s6_addr32[3]);
}

/* Each bound to @sk's port, may they not both be? A listener takes its address for itself. */
static bool telex_conflict(const struct sock *sk, const struct sock *other, bool listens)
{
	struct telex_key mine, theirs;

	if (other == sk || other->sk_family != sk->sk_family ||
	    inet_sk(other)->inet_num != inet_sk(sk)->inet_num)
		return false;
	if (sk->sk_bound_dev_if && other->sk_bound_dev_if &&
	    sk->sk_bound_dev_if != other->sk_bound_dev_if)
		return false;
	telex_family(sk)->socket_key(sk, &mine);
	telex_family(other)->socket_key(other, &theirs);
	if (!telex_any_address(&mine.local) && !telex_any_address(&theirs.local) &&
	    !ipv6_addr_equal(&mine.local, &theirs.local))
		return false;
	if (listens)
		return other->sk_state == TCP_LISTEN;
	return !sk->sk_reuse || !other->sk_reuse || other->sk_state == TCP_LISTEN;
}

static bool telex_port_is_free(struct telex_net *tn, struct sock *sk, u16 port, bool listens)
{
	const struct telex_sock *other;

	inet_sk(sk)->inet_num = port;
	hlist_for_each_entry(other, telex_port_head(tn, port), port_node) {
		if (telex_conflict(sk, (const struct sock *)other, listens))
			return false;
	}
	return true;
}

/* For bind(), and for connect() of a socket that is not bound. Nonzero when there is no port. */
int telex_get_port(struct sock *sk, unsigned short port)
{
	struct telex_net *tn = telex_net(sock_net(sk));
	int err = -EADDRINUSE;
	int low, high;

	spin_lock_bh(&tn->lock);
	if (port) {
		if (telex_port_is_free(tn, sk, port, false))
			err = 0;
	} else {
		u32 range, offset, i;

		inet_get_local_port_range(sock_net(sk), &low, &high);
		range = high - low + 1;
		/* At random, so that who does not see the packets cannot tell the port. */
		offset = get_random_u32();
		for (i = 0; i < range && err; i++) {
			if (telex_port_is_free(tn, sk, low + (offset + i) % range, false))
				err = 0;
		}
	}
	if (err)
		inet_sk(sk)->inet_num = 0;
	else
		hlist_add_head_rcu(&telex_sk(sk)->port_node,
				   telex_port_head(tn, inet_sk(sk)->inet_num));
	spin_unlock_bh(&tn->lock);
	return err;
}

void telex_put_port(struct sock *sk)
{
	struct telex_net *tn = telex_net(sock_net(sk));

	spin_lock_bh(&tn->lock);
	hlist_del_init_rcu(&telex_sk(sk)->port_node);
	spin_unlock_bh(&tn->lock);
	inet_sk(sk)->inet_num = 0;
}

/* Makes a bound socket a listener, unless there is one with its address and port. */
bool telex_may_listen(struct sock *sk)
{
	struct telex_net *tn = telex_net(sock_net(sk));
	bool free;

	spin_lock_bh(&tn->lock);
	free = telex_port_is_free(tn, sk, inet_sk(sk)->inet_num, true);
	if (free)
		inet_sk_set_state(sk, TCP_LISTEN);
	spin_unlock_bh(&tn->lock);
	return free;
}

/* Enters a connection. -EADDRNOTAVAIL when there is the same already. */
int telex_hash(struct sock *sk)
{
	struct telex_net *tn = telex_net(sock_net(sk));
	struct telex_sock *ts = telex_sk(sk);
	const struct telex_sock *other;
	struct hlist_head *head;
	int err = 0;

	telex_family(sk)->socket_key(sk, &ts->key);
	head = telex_conn_head(tn, &ts->key);
	spin_lock_bh(&tn->lock);
	hlist_for_each_entry(other, head, conn_node) {
		if (telex_same_key(&other->key, &ts->key))
			err = -EADDRNOTAVAIL;
	}
	if (!err)
		hlist_add_head_rcu(&ts->conn_node, head);
	spin_unlock_bh(&tn->lock);
	return err;
}

void telex_unhash(struct sock *sk)
{
	struct telex_net *tn = telex_net(sock_net(sk));

	spin_lock_bh(&tn->lock);
	hlist_del_init_rcu(&telex_sk(sk)->conn_node);
	spin_unlock_bh(&tn->lock);
}

static bool telex_on_device(const struct sock *sk, int ifindex)
{
	int bound = READ_ONCE(sk->sk_bound_dev_if);

	return !bound || bound == ifindex;
}

/*
 * The socket that a packet is for, with a reference: the connection, or a listener, if possible one
 * that is bound to the very address.
 */
struct sock *telex_lookup(struct net *net, const struct telex_key *key, int family, int ifindex)
{
	struct telex_net *tn = telex_net(net);
	struct sock *found = NULL;
	struct telex_sock *ts;

	rcu_read_lock();
	hlist_for_each_entry_rcu(ts, telex_conn_head(tn, key), conn_node) {
		struct sock *sk = (struct sock *)ts;

		if (telex_same_key(&ts->key, key) && telex_on_device(sk, ifindex)) {
			found = sk;
			goto out;
		}
	}
	hlist_for_each_entry_rcu(ts, telex_port_head(tn, ntohs(key->lport)), port_node) {
		struct sock *sk = (struct sock *)ts;
		struct telex_key bound;

		if (sk->sk_state != TCP_LISTEN || sk->sk_family != family ||
		    inet_sk(sk)->inet_num != ntohs(key->lport) || !telex_on_device(sk, ifindex))
			continue;
		telex_family(sk)->socket_key(sk, &bound);
		if (ipv6_addr_equal(&bound.local, &key->local)) {
			found = sk;
			break;
		}
		if (telex_any_address(&bound.local))
			found = sk;
	}
out:
	if (found && !refcount_inc_not_zero(&found->sk_refcnt))
		found = NULL;
	rcu_read_unlock();
	return found;
}
