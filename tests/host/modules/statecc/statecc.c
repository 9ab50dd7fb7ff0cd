// SPDX-License-Identifier: GPL-2.0
/*
 * A congestion control with private state, which TCP_CC_INFO shows. VARIANT 2 has a member more, one less,
 * and two that are wider and elsewhere; 3 is like 2 and has a release().
 */
#include <linux/inet_diag.h>
#include <linux/module.h>
#include <net/tcp.h>

#if VARIANT == 1
struct state {
	u32 count;
	u32 gone;
	s16 negative;
	u8 flag : 1, level : 5;
	u16 list[3];
};
#else
struct state {
	u64 fresh;
	u8 level : 6, flag : 1;
	s32 negative;
	u64 count;
	u16 list[3];
};
#endif

static void init(struct sock *sk)
{
	struct state *state = inet_csk_ca(sk);

	state->count = 1;
	state->negative = -5;
	state->flag = 1;
	state->level = 21;
	state->list[2] = 12;
#if VARIANT != 1
	state->negative = 0;
	state->fresh = 77;
	state->flag = 0;
	state->level = 0;
	state->list[2] = 0;
#endif
}

static void cong_avoid(struct sock *sk, u32 ack, u32 acked)
{
	struct state *state = inet_csk_ca(sk);

	state->count++;
	tcp_reno_cong_avoid(sk, ack, acked);
}

static size_t get_info(struct sock *sk, u32 ext, int *attr, union tcp_cc_info *info)
{
	const struct state *state = inet_csk_ca(sk);

	*attr = INET_DIAG_VEGASINFO;
	info->vegas.tcpv_rttcnt = state->count;
	info->vegas.tcpv_rtt = state->negative;
	info->vegas.tcpv_minrtt = state->flag * 10000 + state->level * 100 + state->list[2];
	info->vegas.tcpv_enabled = VARIANT == 1 ? 0 : *(const u32 *)state;
	return sizeof(struct tcpvegas_info);
}

#if VARIANT == 3
static void release(struct sock *sk)
{
}
#endif

static struct tcp_congestion_ops statecc __read_mostly = {
	.init = init,
	.ssthresh = tcp_reno_ssthresh,
	.cong_avoid = cong_avoid,
	.undo_cwnd = tcp_reno_undo_cwnd,
	.get_info = get_info,
#if VARIANT == 3
	.release = release,
#endif
	.owner = THIS_MODULE,
	.name = "statecc",
};

static int __init statecc_register(void)
{
	BUILD_BUG_ON(sizeof(struct state) > ICSK_CA_PRIV_SIZE);
	return tcp_register_congestion_control(&statecc);
}

static void __exit statecc_unregister(void)
{
	tcp_unregister_congestion_control(&statecc);
}

module_init(statecc_register);
module_exit(statecc_unregister);
MODULE_DESCRIPTION("congestion control with state to be kept");
MODULE_LICENSE("GPL");
