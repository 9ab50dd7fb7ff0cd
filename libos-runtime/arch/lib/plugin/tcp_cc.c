// SPDX-License-Identifier: GPL-2.0
/*
 * TCP congestion controls across a swap.
 *
 * Modules are linked with --wrap, so their registrations come here. During a swap the new module's
 * registration of a name that the old one has is held back until its init has succeeded. Then the new
 * ops take the old ones' place in the list in one step (tcp_update_congestion_control()), every socket
 * moves, and the old module's own exit may "unregister" what is already gone.
 */
#include <linux/bitops.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <net/inet_connection_sock.h>
#include <net/net_namespace.h>
#include <net/tcp.h>
#include <lkm/migrate.h>
#include <../kernel/module/internal.h>
#include "ledger.h"
#include "plugin.h"

int __wrap_tcp_register_congestion_control(struct tcp_congestion_ops *ca);
void __wrap_tcp_unregister_congestion_control(struct tcp_congestion_ops *ca);

enum cc_state {
	CC_LISTED, /* in the kernel's list */
	CC_HELD, /* of the swap's new module: waits for commit */
	CC_REPLACED, /* of the swap's old module: the new one has its place */
};

/* A registration by a plugin. */
struct cc {
	struct list_head node;
	struct tcp_congestion_ops *ops;
	struct cc *predecessor; /* of CC_HELD: whose place it will take */
	enum cc_state state;
};

static LIST_HEAD(registrations);
/* Changed from module init and exit, which may sleep and need not be serial. */
static DEFINE_MUTEX(registrations_lock);
static struct module *swap_from; /* the old module of the swap under way */

static struct cc *find_ops(const struct tcp_congestion_ops *ops)
{
	struct cc *cc;

	list_for_each_entry(cc, &registrations, node) {
		if (cc->ops == ops)
			return cc;
	}
	return NULL;
}

static struct cc *find_predecessor(const char *name)
{
	struct cc *cc;

	list_for_each_entry(cc, &registrations, node) {
		if (swap_from && cc->ops->owner == swap_from && cc->state == CC_LISTED &&
		    !strcmp(cc->ops->name, name))
			return cc;
	}
	return NULL;
}

/* What the kernel's own registration checks before it lists an ops (net/ipv4/tcp_cong.c). */
static int validate(const struct tcp_congestion_ops *ca)
{
	if (ca->ssthresh && ca->undo_cwnd && (ca->cong_avoid || ca->cong_control))
		return 0;
	pr_err("%s does not implement required ops\n", ca->name);
	return -EINVAL;
}

int __wrap_tcp_register_congestion_control(struct tcp_congestion_ops *ca)
{
	struct cc *cc = kzalloc(sizeof(*cc), GFP_KERNEL);
	int err;

	if (!cc)
		return -ENOMEM;
	cc->ops = ca;
	mutex_lock(&registrations_lock);
	cc->predecessor = find_predecessor(ca->name);
	if (cc->predecessor && ca->owner != swap_from) {
		cc->state = CC_HELD;
		err = validate(ca);
	} else {
		err = tcp_register_congestion_control(ca);
	}
	if (err)
		kfree(cc);
	else
		list_add_tail(&cc->node, &registrations);
	mutex_unlock(&registrations_lock);
	if (!err)
		libos_ledger_take(LEDGER_CC, ca, _RET_IP_);
	return err;
}

void __wrap_tcp_unregister_congestion_control(struct tcp_congestion_ops *ca)
{
	struct cc *cc;

	libos_ledger_give(LEDGER_CC, ca);
	mutex_lock(&registrations_lock);
	cc = find_ops(ca);
	if (cc && cc->state == CC_LISTED)
		tcp_unregister_congestion_control(ca);
	else if (cc)
		synchronize_rcu(); /* what the caller may count on */
	else
		pr_err("tcp: %s is not registered, and cannot be unregistered\n", ca->name);
	if (cc) {
		list_del(&cc->node);
		kfree(cc);
	}
	mutex_unlock(&registrations_lock);
}

bool libos_cc_owned(struct module *mod)
{
	struct cc *cc;
	bool owned = false;

	mutex_lock(&registrations_lock);
	list_for_each_entry(cc, &registrations, node)
		owned |= cc->ops->owner == mod;
	mutex_unlock(&registrations_lock);
	return owned;
}

void libos_cc_begin(struct module *from)
{
	mutex_lock(&registrations_lock);
	swap_from = from;
	mutex_unlock(&registrations_lock);
}

void libos_cc_abort(void)
{
	struct cc *cc, *next;

	mutex_lock(&registrations_lock);
	swap_from = NULL;
	/* A module that failed after it registered has usually unregistered; one that died has not. */
	list_for_each_entry_safe(cc, next, &registrations, node) {
		if (cc->state != CC_HELD)
			continue;
		list_del(&cc->node);
		kfree(cc);
	}
	mutex_unlock(&registrations_lock);
}

struct move {
	const struct tcp_congestion_ops *from, *to;
	const struct libos_keep *keep; /* NULL: the new init() starts from scratch */
	/* The new code's own way to take over the old state, in place of `keep`. */
	int (*migrate)(struct sock *sk, const void *state, size_t size, u32 version);
	u32 version; /* of the old state */
	bool drain;
	struct libos_swap_report *report;
};

#define PRIV_BITS (ICSK_CA_PRIV_SIZE * 8)

static u64 get_bits(const u8 *from, unsigned int bit, unsigned int bits)
{
	u64 value = 0;

	for (unsigned int i = 0; i < bits; i++, bit++)
		value |= (u64)(from[bit / 8] >> bit % 8 & 1) << i;
	return value;
}

static void put_bits(u8 *to, unsigned int bit, unsigned int bits, u64 value)
{
	for (unsigned int i = 0; i < bits; i++, bit++) {
		to[bit / 8] &= ~(1 << bit % 8);
		to[bit / 8] |= (value >> i & 1) << bit % 8;
	}
}

/* Arrays and structures keep their size; an integer gets the other width with its value. */
static void keep_member(u8 *to, const u8 *from, const struct libos_member *m)
{
	u64 value;

	if (m->from_bit + m->from_bits > PRIV_BITS || m->to_bit + m->to_bits > PRIV_BITS)
		return;
	if (m->from_bits == m->to_bits && !(m->from_bit % 8) && !(m->to_bit % 8) && !(m->to_bits % 8)) {
		memcpy(to + m->to_bit / 8, from + m->from_bit / 8, m->to_bits / 8);
		return;
	}
	if (m->from_bits > 64 || m->to_bits > 64)
		return;
	value = get_bits(from, m->from_bit, m->from_bits);
	if (m->is_signed)
		value = sign_extend64(value, m->from_bits - 1);
	put_bits(to, m->to_bit, m->to_bits, value);
}

/* What LKM_MIGRATE() left in the module; NULL for none. */
static const struct lkm_migrate *migrate_of(const struct tcp_congestion_ops *ops)
{
	return (void *)find_kallsyms_symbol_value(ops->owner, "lkm_migrate_");
}

static u32 state_version(const struct tcp_congestion_ops *ops)
{
	const struct lkm_migrate *migrate = migrate_of(ops);

	return migrate ? migrate->version : 0;
}

/* The old code's release() of a state that has been copied away, and that nobody took over. */
static void release_state(struct sock *sk, const struct tcp_congestion_ops *ops, const u8 *state)
{
	struct inet_connection_sock *icsk = inet_csk(sk);
	u8 fresh[ICSK_CA_PRIV_SIZE];

	if (!ops->release)
		return;
	memcpy(fresh, icsk->icsk_ca_priv, sizeof(fresh));
	memcpy(icsk->icsk_ca_priv, state, sizeof(fresh));
	ops->release(sk);
	memcpy(icsk->icsk_ca_priv, fresh, sizeof(fresh));
}

static void migrate_state(struct sock *sk, const struct move *move, const u8 *state)
{
	int err = move->migrate(sk, state, ICSK_CA_PRIV_SIZE, move->version);

	if (!err) {
		move->report->migrated++;
		return;
	}
	move->report->unmigrated++;
	move->report->migrate_error = err;
	release_state(sk, move->from, state);
}

/*
 * Moves one socket, as tcp_reinit_congestion_control() would, but what the connection has learned
 * stays: an init that starts from scratch must not shrink the window or the pacing of a live flow.
 */
static void move_socket(struct sock *sk, void *arg)
{
	const struct move *move = arg;
	struct inet_connection_sock *icsk = inet_csk(sk);
	struct tcp_sock *tp = tcp_sk(sk);
	u32 cwnd, cwnd_cnt, ssthresh, prior_ssthresh;
	unsigned long pacing_rate;
	u8 state[ICSK_CA_PRIV_SIZE];

	if (!sk_is_tcp(sk) || icsk->icsk_ca_ops != move->from)
		return;
	/* Closed and without an owner: tcp_v4_destroy_sock() has given the reference back already. */
	if (sk->sk_state == TCP_CLOSE && sock_flag(sk, SOCK_DEAD))
		return;

	if (move->drain && icsk->icsk_ca_initialized)
		return;

	move->report->sockets++;
	__module_get(move->to->owner);
	if (icsk->icsk_ca_initialized && move->from->release && !move->migrate)
		move->from->release(sk);
	WRITE_ONCE(icsk->icsk_ca_ops, move->to);
	memcpy(state, icsk->icsk_ca_priv, sizeof(state));
	memset(icsk->icsk_ca_priv, 0, sizeof(icsk->icsk_ca_priv));
	if (icsk->icsk_ca_initialized) {
		move->report->established++;
		cwnd = tcp_snd_cwnd(tp);
		cwnd_cnt = tp->snd_cwnd_cnt;
		ssthresh = tp->snd_ssthresh;
		prior_ssthresh = tp->prior_ssthresh;
		pacing_rate = sk->sk_pacing_rate;
		tcp_init_congestion_control(sk);
		tcp_snd_cwnd_set(tp, cwnd);
		tp->snd_cwnd_cnt = cwnd_cnt;
		tp->snd_ssthresh = ssthresh;
		tp->prior_ssthresh = prior_ssthresh;
		WRITE_ONCE(sk->sk_pacing_rate, pacing_rate);
		if (move->migrate) {
			migrate_state(sk, move, state);
		} else if (move->keep && move->keep->n) {
			for (u32 i = 0; i < move->keep->n; i++)
				keep_member((u8 *)icsk->icsk_ca_priv, state, &move->keep->members[i]);
			move->report->kept++;
		}
	} else if (move->to->flags & TCP_CONG_NEEDS_ECN) {
		INET_ECN_xmit(sk);
	} else {
		INET_ECN_dontxmit(sk);
	}
	module_put(move->from->owner);
}

/* Namespaces whose default control is the old one; each holds a reference to its module. */
static void move_defaults(const struct move *move)
{
	struct net *net;

	down_read(&net_rwsem);
	for_each_net(net) {
		if (rcu_access_pointer(net->ipv4.tcp_congestion_control) != move->from)
			continue;
		__module_get(move->to->owner);
		rcu_assign_pointer(net->ipv4.tcp_congestion_control, move->to);
		module_put(move->from->owner);
		move->report->netns_defaults++;
	}
	up_read(&net_rwsem);
}

int libos_cc_commit(struct module *to, const struct libos_keep *keep, bool drain,
		    struct libos_swap_report *report)
{
	struct cc *cc;
	int err = 0;

	mutex_lock(&registrations_lock);
	list_for_each_entry(cc, &registrations, node) {
		struct move move = { .to = cc->ops, .keep = keep, .drain = drain,
				     .report = report };
		u64 start;

		if (cc->state != CC_HELD || cc->ops->owner != to)
			continue;
		move.from = cc->predecessor->ops;
		move.version = state_version(move.from);
		if (keep && migrate_of(move.to) && state_version(move.to) != move.version)
			move.migrate = migrate_of(move.to)->migrate;
		/* Its state may own memory, which release() frees and init() allocates. */
		if (keep && !move.migrate && (move.from->release || move.to->release)) {
			move.keep = NULL;
			report->releases = 1;
		}
		cc->ops->flags |= move.from->flags & TCP_CONG_NON_RESTRICTED;
		err = tcp_update_congestion_control(cc->ops, cc->predecessor->ops);
		if (err)
			break;
		cc->state = CC_LISTED;
		cc->predecessor->state = CC_REPLACED;

		start = libos_boot->host_ns();
		libos_for_each_socket(move_socket, &move);
		move_defaults(&move);
		report->transfer_ns += libos_boot->host_ns() - start;
	}
	swap_from = NULL;
	mutex_unlock(&registrations_lock);
	return err;
}
