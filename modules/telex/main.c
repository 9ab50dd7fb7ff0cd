// SPDX-License-Identifier: GPL-2.0
/*
 * TELEX: reliable messages over IP protocol 253. How the module comes and goes.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/random.h>
#include <net/inet_common.h>

#include "telex.h"

unsigned int telex_net_id __read_mostly;

static int __net_init telex_net_init(struct net *net)
{
	struct telex_net *tn = telex_net(net);
	int err;

	/* The memory comes zeroed: the tables are empty. */
	spin_lock_init(&tn->lock);
	get_random_bytes(&tn->secret, sizeof(tn->secret));

	err = inet_ctl_sock_create(&tn->reply_v4, PF_INET, SOCK_RAW, IPPROTO_TELEX, net);
	if (err)
		return err;
	if (IS_ENABLED(CONFIG_IPV6) && ipv6_mod_enabled()) {
		err = inet_ctl_sock_create(&tn->reply_v6, PF_INET6, SOCK_RAW, IPPROTO_TELEX, net);
		if (err)
			goto out_v4;
	}
	err = telex_listing_add(net);
	if (err)
		goto out_v6;
	return 0;

out_v6:
	inet_ctl_sock_destroy(tn->reply_v6);
out_v4:
	inet_ctl_sock_destroy(tn->reply_v4);
	return err;
}

/* Each socket holds its netns, those that are still closing too, so the tables are empty again. */
static void __net_exit telex_net_exit(struct net *net)
{
	struct telex_net *tn = telex_net(net);

	telex_listing_remove(net);
	inet_ctl_sock_destroy(tn->reply_v6);
	inet_ctl_sock_destroy(tn->reply_v4);
}

static struct pernet_operations telex_net_ops = {
	.init = telex_net_init,
	.exit = telex_net_exit,
	.id = &telex_net_id,
	.size = sizeof(struct telex_net),
};

static int __init telex_register(void)
{
	int err;

	BUILD_BUG_ON(sizeof(struct telex_cb) > sizeof_field(struct sk_buff, cb));
	BUILD_BUG_ON(sizeof(struct telex_hdr) != 24);

	/* The namespaces first: what arrives, and what opens a socket, finds them ready. */
	err = register_pernet_subsys(&telex_net_ops);
	if (err)
		return err;
	err = telex_ipv4_register();
	if (err)
		goto out_net;
	err = telex_ipv6_register();
	if (err)
		goto out_ipv4;
	return 0;

out_ipv4:
	telex_ipv4_unregister();
out_net:
	unregister_pernet_subsys(&telex_net_ops);
	return err;
}

/*
 * Runs only when no socket is left: each holds a reference on the module, by proto.owner, until it
 * is freed; and none can be made while the module goes. What is left are the packets.
 */
static void __exit telex_unregister(void)
{
	telex_ipv6_unregister();
	telex_ipv4_unregister();
	unregister_pernet_subsys(&telex_net_ops);
}

module_init(telex_register);
module_exit(telex_unregister);

/* What socket() asks for: families 2 and 10, protocol 253, type 5, SOCK_SEQPACKET. */
MODULE_ALIAS_NET_PF_PROTO_TYPE(PF_INET, 253, 5);
MODULE_ALIAS_NET_PF_PROTO_TYPE(PF_INET6, 253, 5);
MODULE_DESCRIPTION("Reliable messages over IP protocol 253");
MODULE_LICENSE("GPL");
