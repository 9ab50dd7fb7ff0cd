// SPDX-License-Identifier: GPL-2.0
/*
 * One of each kind of thing that other parts of the network stack call: a generic netlink family, a packet handler, an
 * upper layer protocol, an expression of nftables, a target of iptables. Each counts by STEP, and /proc/kinds has the
 * five numbers. VARIANT 1 counts by one, 2 by a thousand.
 */
#include <linux/if_ether.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter/x_tables.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <net/genetlink.h>
#include <net/netfilter/nf_tables.h>
#include <net/tcp.h>

#define STEP (VARIANT == 2 ? 1000UL : 1UL)

static unsigned long asked, received, sent, evaluated, targeted;

/* -- a generic netlink family ------------------------------------------------------------- */

static struct genl_family kinds_family;

static int kinds_ask(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *answer = genlmsg_new(nla_total_size(sizeof(u32)), GFP_KERNEL);
	void *head;

	if (!answer)
		return -ENOMEM;
	asked += STEP;
	head = genlmsg_put_reply(answer, info, &kinds_family, 0, 1);
	if (!head || nla_put_u32(answer, 1, STEP)) {
		nlmsg_free(answer);
		return -EMSGSIZE;
	}
	genlmsg_end(answer, head);
	return genlmsg_reply(answer, info);
}

static const struct genl_small_ops kinds_ops[] = {
	{ .cmd = 1, .doit = kinds_ask },
};

static struct genl_family kinds_family = {
	.name = "kinds",
	.version = 1,
	.module = THIS_MODULE,
	.small_ops = kinds_ops,
	.n_small_ops = ARRAY_SIZE(kinds_ops),
	.resv_start_op = 2,
};

/* -- a packet handler ----------------------------------------------------------------------- */

static int kinds_rcv(struct sk_buff *skb, struct net_device *dev, struct packet_type *type,
		     struct net_device *orig)
{
	received += STEP;
	consume_skb(skb);
	return 0;
}

static struct packet_type kinds_packets = {
	.type = htons(0x88b5), /* for experiments */
	.func = kinds_rcv,
};

/* -- an upper layer protocol ---------------------------------------------------------------- */

struct kinds_context {
	struct proto *below;
	u64 bytes;
};

static struct proto kinds_prot;

static int kinds_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)
{
	struct kinds_context *context = rcu_dereference_raw(inet_csk(sk)->icsk_ulp_data);

	context->bytes += size;
	sent += STEP * size;
	return context->below->sendmsg(sk, msg, size);
}

static int kinds_ulp_init(struct sock *sk)
{
	struct kinds_context *context;

	if (sk->sk_state != TCP_ESTABLISHED)
		return -ENOTCONN;
	context = kzalloc(sizeof(*context), GFP_KERNEL);
	if (!context)
		return -ENOMEM;
	context->below = sk->sk_prot;
	kinds_prot = *sk->sk_prot;
	kinds_prot.sendmsg = kinds_sendmsg;
	rcu_assign_pointer(inet_csk(sk)->icsk_ulp_data, context);
	WRITE_ONCE(sk->sk_prot, &kinds_prot);
	return 0;
}

static void kinds_ulp_release(struct sock *sk)
{
	struct kinds_context *context = rcu_dereference_raw(inet_csk(sk)->icsk_ulp_data);

	rcu_assign_pointer(inet_csk(sk)->icsk_ulp_data, NULL);
	kfree(context);
}

static struct tcp_ulp_ops kinds_ulp = {
	.name = "kinds",
	.owner = THIS_MODULE,
	.init = kinds_ulp_init,
	.release = kinds_ulp_release,
};

/* -- an expression of nftables -------------------------------------------------------------- */

struct kinds_expr {
	u32 evaluated;
};

static void kinds_eval(const struct nft_expr *expr, struct nft_regs *regs,
		       const struct nft_pktinfo *pkt)
{
	struct kinds_expr *priv = nft_expr_priv(expr);

	priv->evaluated++;
	evaluated += STEP;
}

static int kinds_expr_init(const struct nft_ctx *ctx, const struct nft_expr *expr,
			   const struct nlattr *const tb[])
{
	return 0;
}

static int kinds_expr_dump(struct sk_buff *skb, const struct nft_expr *expr, bool reset)
{
	return 0;
}

static struct nft_expr_type kinds_expr_type;

static const struct nft_expr_ops kinds_expr_ops = {
	.type = &kinds_expr_type,
	.size = NFT_EXPR_SIZE(sizeof(struct kinds_expr)),
	.eval = kinds_eval,
	.init = kinds_expr_init,
	.dump = kinds_expr_dump,
};

static struct nft_expr_type kinds_expr_type = {
	.name = "kinds",
	.ops = &kinds_expr_ops,
	.owner = THIS_MODULE,
};

/* -- a target of iptables ------------------------------------------------------------------- */

static unsigned int kinds_target(struct sk_buff *skb, const struct xt_action_param *par)
{
	targeted += STEP;
	return XT_CONTINUE;
}

static struct xt_target kinds_xt = {
	.name = "KINDS",
	.family = NFPROTO_IPV4,
	.target = kinds_target,
	.me = THIS_MODULE,
};

/* ---------------------------------------------------------------------------------------------- */

static int kinds_show(struct seq_file *seq, void *unused)
{
	seq_printf(seq, "%lu %lu %lu %lu %lu\n", asked, received, sent, evaluated, targeted);
	return 0;
}

static int __init kinds_start(void)
{
	int err = genl_register_family(&kinds_family);

	if (err)
		return err;
	err = nft_register_expr(&kinds_expr_type);
	if (err)
		goto no_expr;
	err = xt_register_target(&kinds_xt);
	if (err)
		goto no_target;
	err = tcp_register_ulp(&kinds_ulp);
	if (err)
		goto no_ulp;
	err = -ENOMEM;
	if (!proc_create_single("kinds", 0444, NULL, kinds_show))
		goto no_proc;
	dev_add_pack(&kinds_packets);
	return 0;

no_proc:
	tcp_unregister_ulp(&kinds_ulp);
no_ulp:
	xt_unregister_target(&kinds_xt);
no_target:
	nft_unregister_expr(&kinds_expr_type);
no_expr:
	genl_unregister_family(&kinds_family);
	return err;
}

static void __exit kinds_end(void)
{
	dev_remove_pack(&kinds_packets);
	remove_proc_entry("kinds", NULL);
	tcp_unregister_ulp(&kinds_ulp);
	xt_unregister_target(&kinds_xt);
	nft_unregister_expr(&kinds_expr_type);
	genl_unregister_family(&kinds_family);
}

module_init(kinds_start);
module_exit(kinds_end);
MODULE_DESCRIPTION("One of each kind, for tests of swaps");
MODULE_LICENSE("GPL");
