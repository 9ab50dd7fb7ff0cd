// SPDX-License-Identifier: GPL-2.0
/*
 * A congestion control whose state changes its meaning and not its structure. VARIANT 1 has no version and
 * counts in tens; 2 has version 2, counts in ones, and takes over; 3 has version 3 and refuses; 4 has version
 * 2, too, with other code. TCP_CC_INFO shows the count, and how often release() was called.
 */
#include <linux/errno.h>
#include <linux/inet_diag.h>
#include <linux/module.h>
#include <net/tcp.h>
#include <lkm/migrate.h>

struct state {
	u32 count; /* of init() and what was taken over */
	u32 from; /* version that it was taken over from */
};

static unsigned int released;

static void init(struct sock *sk)
{
	struct state *state = inet_csk_ca(sk);

	state->count = VARIANT == 1 ? 7 : VARIANT == 3 ? 300 : 1;
	state->from = 99;
}

#if VARIANT > 1
static int migrate(struct sock *sk, const void *old, size_t size, u32 version)
{
	const struct state *was = old;
	struct state *state = inet_csk_ca(sk);

	if (VARIANT == 3 || size != ICSK_CA_PRIV_SIZE)
		return -EOVERFLOW;
	state->count += was->count * 10;
	state->from = version;
	return 0;
}
LKM_MIGRATE(VARIANT == 3 ? 3 : 2, migrate);
#endif

static void release(struct sock *sk)
{
	const struct state *state = inet_csk_ca(sk);

	released++;
	pr_info("migratecc: released %u\n", state->count);
}

static size_t get_info(struct sock *sk, u32 ext, int *attr, union tcp_cc_info *info)
{
	const struct state *state = inet_csk_ca(sk);

	*attr = INET_DIAG_VEGASINFO;
	info->vegas.tcpv_rttcnt = state->count;
	info->vegas.tcpv_rtt = state->from;
	info->vegas.tcpv_minrtt = released;
	info->vegas.tcpv_enabled = VARIANT;
	return sizeof(struct tcpvegas_info);
}

static struct tcp_congestion_ops migratecc __read_mostly = {
	.init = init,
	.ssthresh = tcp_reno_ssthresh,
	.cong_avoid = tcp_reno_cong_avoid,
	.undo_cwnd = tcp_reno_undo_cwnd,
	.get_info = get_info,
	.release = release,
	.owner = THIS_MODULE,
	.name = "migratecc",
};

static int __init migratecc_register(void)
{
	BUILD_BUG_ON(sizeof(struct state) > ICSK_CA_PRIV_SIZE);
	return tcp_register_congestion_control(&migratecc);
}

static void __exit migratecc_unregister(void)
{
	tcp_unregister_congestion_control(&migratecc);
}

module_init(migratecc_register);
module_exit(migratecc_unregister);
MODULE_DESCRIPTION("congestion control with a migrate hook");
MODULE_LICENSE("GPL");
