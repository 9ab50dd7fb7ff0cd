// SPDX-License-Identifier: GPL-2.0
/*
 * Flowmeter: how much each flow sends, as a netfilter hook, and a match on its rate.
 *
 * A flow is what goes one way between two addresses and ports by one protocol. Two hooks count
 * every packet once, as it is before any rule or NAT: PREROUTING what comes in by a device, OUTPUT
 * what is sent here. The xtables match looks the packet's flow up and compares its rate.
 *
 * The rate is a moving average. Per slot of 1/8 second it goes an eighth of the way to what the
 * slot saw, so what is one second old counts for 1/e, about. Slots are closed when the flow is
 * looked at.
 *
 * Flows are in a hash table of their netns, found under RCU. flowmeter_net.lock guards its changes,
 * flowmeter_flow.lock one flow's numbers; it is taken alone, or inside the former.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/hash.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/module.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/siphash.h>
#include <linux/workqueue.h>
#include <net/ipv6.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "xt_flowmeter_user.h"

#define FLOWMETER_HASH_BITS 9
#define FLOWMETER_SLOT (NSEC_PER_SEC / 8)
#define FLOWMETER_MAX_SLOTS 200	/* (7/8)^200 of any rate is nothing */
#define FLOWMETER_SWEEP HZ

static unsigned int max_flows __read_mostly = 4096;
module_param(max_flows, uint, 0644);
MODULE_PARM_DESC(max_flows, "flows that a netns may have (default 4096); others are not metered");

static unsigned int idle_seconds __read_mostly = 60;
module_param(idle_seconds, uint, 0644);
MODULE_PARM_DESC(idle_seconds, "a flow is forgotten when it was silent for so long (default 60)");

/* Without padding, for it is hashed and compared as bytes. IPv4 stands as ::ffff:a.b.c.d. */
struct flowmeter_key {
	struct in6_addr source;
	struct in6_addr dest;
	__be16 sport; /* 0 without ports, and in fragments but the first */
	__be16 dport;
	u32 protocol;
};

struct flowmeter_flow {
	struct hlist_node node;
	struct flowmeter_key key;
	struct rcu_head rcu;

	spinlock_t lock; /* of what follows */
	u64 packets;
	u64 bytes;
	u64 rate; /* bytes per second */
	u64 slot_bytes;
	u64 slot_start; /* ns */
	unsigned long seen; /* jiffies */
};

struct flowmeter_net {
	spinlock_t lock; /* of changes of the table */
	struct hlist_head flows[1 << FLOWMETER_HASH_BITS];
	unsigned int count;
	atomic64_t unmetered; /* packets for whose flow there was no room */
	siphash_key_t secret;
	struct delayed_work sweep;
};

static unsigned int flowmeter_net_id __read_mostly;

static struct flowmeter_net *flowmeter_net(const struct net *net)
{
	return net_generic(net, flowmeter_net_id);
}

/* -- which flow ------------------------------------------------------------------------ */

static bool flowmeter_has_ports(u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		return true;
	}
	return false;
}

static void flowmeter_ports(const struct sk_buff *skb, int offset, struct flowmeter_key *key)
{
	__be16 buffer[2];
	const __be16 *ports;

	ports = skb_header_pointer(skb, offset, sizeof(buffer), buffer);
	if (!ports)
		return; /* cut off: it counts without */
	key->sport = ports[0];
	key->dport = ports[1];
}

/* False for what is no proper packet: it gets no flow, and others will drop it. */
static bool flowmeter_key(const struct sk_buff *skb, u8 family, struct flowmeter_key *key)
{
	int offset = skb_network_offset(skb);

	memset(key, 0, sizeof(*key));
	if (family == NFPROTO_IPV4) {
		struct iphdr buffer;
		const struct iphdr *iph;

		iph = skb_header_pointer(skb, offset, sizeof(buffer), &buffer);
		if (!iph)
			return false;
		ipv6_addr_set_v4mapped(iph->saddr, &key->source);
		ipv6_addr_set_v4mapped(iph->daddr, &key->dest);
		key->protocol = iph->protocol;
		if (!(iph->frag_off & htons(IP_OFFSET)) && flowmeter_has_ports(iph->protocol))
			flowmeter_ports(skb, offset + iph->ihl * 4, key);
	} else {
		struct ipv6hdr buffer;
		const struct ipv6hdr *ip6h;
		__be16 frag_off;
		u8 next;

		ip6h = skb_header_pointer(skb, offset, sizeof(buffer), &buffer);
		if (!ip6h)
			return false;
		key->source = ip6h->saddr;
		key->dest = ip6h->daddr;
		next = ip6h->nexthdr;
		offset = ipv6_skip_exthdr(skb, offset + sizeof(*ip6h), &next, &frag_off);
		if (offset < 0)
			return false;
		key->protocol = next;
		if (!(frag_off & htons(IP6_OFFSET)) && flowmeter_has_ports(next))
			flowmeter_ports(skb, offset, key);
	}
	return true;
}

static struct hlist_head *flowmeter_head(struct flowmeter_net *fn, const struct flowmeter_key *key)
{
	u32 hash = siphash(key, sizeof(*key), &fn->secret);

	return &fn->flows[hash >> (32 - FLOWMETER_HASH_BITS)];
}

/* Under RCU, or fn->lock. */
static struct flowmeter_flow *flowmeter_find(struct hlist_head *head,
					     const struct flowmeter_key *key)
{
	struct flowmeter_flow *flow;

	hlist_for_each_entry_rcu(flow, head, node, true) {
		if (!memcmp(&flow->key, key, sizeof(*key)))
			return flow;
	}
	return NULL;
}

/* Finds or makes it; NULL when there is no room. Under RCU. */
static struct flowmeter_flow *flowmeter_get(struct flowmeter_net *fn,
					    const struct flowmeter_key *key)
{
	struct hlist_head *head = flowmeter_head(fn, key);
	struct flowmeter_flow *flow = flowmeter_find(head, key), *made;

	if (flow)
		return flow;
	if (READ_ONCE(fn->count) >= READ_ONCE(max_flows))
		return NULL;
	made = kzalloc(sizeof(*made), GFP_ATOMIC);
	if (!made)
		return NULL;
	made->key = *key;
	spin_lock_init(&made->lock);
	made->slot_start = ktime_get_ns();
	made->seen = jiffies;

	spin_lock_bh(&fn->lock);
	flow = flowmeter_find(head, key); /* another CPU may have been faster */
	if (!flow) {
		flow = made;
		hlist_add_head_rcu(&flow->node, head);
		WRITE_ONCE(fn->count, fn->count + 1);
	}
	spin_unlock_bh(&fn->lock);
	if (flow != made)
		kfree(made);
	return flow;
}

/* -- how much -------------------------------------------------------------------------- */

/* Closes the slots that are over. */
static void flowmeter_advance(struct flowmeter_flow *flow)
{
	u64 slots = div_u64(ktime_get_ns() - flow->slot_start, FLOWMETER_SLOT);

	if (!slots)
		return;
	flow->slot_start += slots * FLOWMETER_SLOT;
	for (slots = min_t(u64, slots, FLOWMETER_MAX_SLOTS); slots; slots--) {
		flow->rate -= DIV_ROUND_UP_ULL(flow->rate, 8);
		flow->rate += flow->slot_bytes; /* an eighth of slot_bytes per 1/8 s */
		flow->slot_bytes = 0;
	}
}

static void flowmeter_count(struct flowmeter_flow *flow, unsigned int bytes)
{
	spin_lock_bh(&flow->lock);
	flowmeter_advance(flow);
	flow->packets++;
	flow->bytes += bytes;
	flow->slot_bytes += bytes;
	WRITE_ONCE(flow->seen, jiffies);
	spin_unlock_bh(&flow->lock);
}

static unsigned int flowmeter_hook(void *priv, struct sk_buff *skb,
				   const struct nf_hook_state *state)
{
	struct flowmeter_net *fn = flowmeter_net(state->net);
	struct flowmeter_flow *flow;
	struct flowmeter_key key;

	/* What was sent here to ourselves was counted at OUTPUT. Hooks run under RCU. */
	if (state->in && state->in->flags & IFF_LOOPBACK)
		return NF_ACCEPT;
	if (!flowmeter_key(skb, state->pf, &key))
		return NF_ACCEPT;
	flow = flowmeter_get(fn, &key);
	if (flow)
		flowmeter_count(flow, skb->len);
	else
		atomic64_inc(&fn->unmetered);
	return NF_ACCEPT;
}

static const struct nf_hook_ops flowmeter_hooks[] = {
	{
		.hook = flowmeter_hook,
		.pf = NFPROTO_IPV4,
		.hooknum = NF_INET_PRE_ROUTING,
		.priority = NF_IP_PRI_FIRST,
	},
	{
		.hook = flowmeter_hook,
		.pf = NFPROTO_IPV4,
		.hooknum = NF_INET_LOCAL_OUT,
		.priority = NF_IP_PRI_FIRST,
	},
	{
		.hook = flowmeter_hook,
		.pf = NFPROTO_IPV6,
		.hooknum = NF_INET_PRE_ROUTING,
		.priority = NF_IP6_PRI_FIRST,
	},
	{
		.hook = flowmeter_hook,
		.pf = NFPROTO_IPV6,
		.hooknum = NF_INET_LOCAL_OUT,
		.priority = NF_IP6_PRI_FIRST,
	},
};

/* -- the match ------------------------------------------------------------------------- */

static bool flowmeter_match(const struct sk_buff *skb, struct xt_action_param *par)
{
	struct flowmeter_net *fn = flowmeter_net(xt_net(par));
	const struct xt_flowmeter_info *info = par->matchinfo;
	struct flowmeter_flow *flow = NULL;
	struct flowmeter_key key;
	u64 rate = 0;

	if (flowmeter_key(skb, xt_family(par), &key))
		flow = flowmeter_find(flowmeter_head(fn, &key), &key);
	if (flow) {
		spin_lock_bh(&flow->lock);
		flowmeter_advance(flow);
		rate = flow->rate;
		spin_unlock_bh(&flow->lock);
	}
	return (rate > info->rate) ^ !!(info->flags & XT_FLOWMETER_INVERT);
}

static int flowmeter_check(const struct xt_mtchk_param *par)
{
	const struct xt_flowmeter_info *info = par->matchinfo;

	return info->flags & ~XT_FLOWMETER_INVERT ? -EINVAL : 0;
}

static struct xt_match flowmeter_matches[] __read_mostly = {
	{
		.name = "flowmeter",
		.revision = 0,
		.family = NFPROTO_IPV4,
		.match = flowmeter_match,
		.checkentry = flowmeter_check,
		.matchsize = sizeof(struct xt_flowmeter_info),
		.me = THIS_MODULE,
	},
	{
		.name = "flowmeter",
		.revision = 0,
		.family = NFPROTO_IPV6,
		.match = flowmeter_match,
		.checkentry = flowmeter_check,
		.matchsize = sizeof(struct xt_flowmeter_info),
		.me = THIS_MODULE,
	},
};

/* -- /proc/net/flowmeter --------------------------------------------------------------- */

static void flowmeter_show_flow(struct seq_file *seq, struct flowmeter_flow *flow)
{
	const struct flowmeter_key *key = &flow->key;
	u64 packets, bytes, rate;

	spin_lock_bh(&flow->lock);
	flowmeter_advance(flow);
	packets = flow->packets;
	bytes = flow->bytes;
	rate = flow->rate;
	spin_unlock_bh(&flow->lock);

	if (ipv6_addr_v4mapped(&key->source))
		seq_printf(seq, "%u %pI4:%u %pI4:%u", key->protocol, &key->source.s6_addr32[3],
			   ntohs(key->sport), &key->dest.s6_addr32[3], ntohs(key->dport));
	else
		seq_printf(seq, "%u [%pI6c]:%u [%pI6c]:%u", key->protocol, &key->source,
			   ntohs(key->sport), &key->dest, ntohs(key->dport));
	seq_printf(seq, " %llu %llu %llu\n", packets, bytes, rate);
}

static int flowmeter_show(struct seq_file *seq, void *unused)
{
	struct flowmeter_net *fn = flowmeter_net(seq_file_single_net(seq));
	struct flowmeter_flow *flow;
	int i;

	seq_printf(seq, "flows %u unmetered %lld\n", READ_ONCE(fn->count),
		   (long long)atomic64_read(&fn->unmetered));
	seq_puts(seq, "protocol source dest packets bytes bytes_per_second\n");
	rcu_read_lock();
	for (i = 0; i < ARRAY_SIZE(fn->flows); i++) {
		hlist_for_each_entry_rcu(flow, &fn->flows[i], node)
			flowmeter_show_flow(seq, flow);
	}
	rcu_read_unlock();
	return 0;
}

/* -- coming and going ------------------------------------------------------------------ */

/* Forgets flows that were silent for so many jiffies. */
static void flowmeter_forget(struct flowmeter_net *fn, unsigned long idle)
{
	struct flowmeter_flow *flow;
	struct hlist_node *next;
	int i;

	for (i = 0; i < ARRAY_SIZE(fn->flows); i++) {
		spin_lock_bh(&fn->lock);
		hlist_for_each_entry_safe(flow, next, &fn->flows[i], node) {
			if (jiffies - READ_ONCE(flow->seen) < idle)
				continue;
			hlist_del_rcu(&flow->node);
			WRITE_ONCE(fn->count, fn->count - 1);
			kfree_rcu(flow, rcu);
		}
		spin_unlock_bh(&fn->lock);
	}
}

static void flowmeter_sweep(struct work_struct *work)
{
	struct flowmeter_net *fn = container_of(to_delayed_work(work), struct flowmeter_net, sweep);

	flowmeter_forget(fn, (unsigned long)READ_ONCE(idle_seconds) * HZ);
	schedule_delayed_work(&fn->sweep, FLOWMETER_SWEEP);
}

static int __net_init flowmeter_net_init(struct net *net)
{
	struct flowmeter_net *fn = flowmeter_net(net);
	int err;

	/* The memory comes zeroed: the table is empty. */
	spin_lock_init(&fn->lock);
	get_random_bytes(&fn->secret, sizeof(fn->secret));
	INIT_DELAYED_WORK(&fn->sweep, flowmeter_sweep);

	if (IS_ENABLED(CONFIG_PROC_FS) &&
	    !proc_create_net_single("flowmeter", 0444, net->proc_net, flowmeter_show, NULL))
		return -ENOMEM;
	err = nf_register_net_hooks(net, flowmeter_hooks, ARRAY_SIZE(flowmeter_hooks));
	if (err) {
		remove_proc_entry("flowmeter", net->proc_net);
		return err;
	}
	schedule_delayed_work(&fn->sweep, FLOWMETER_SWEEP);
	return 0;
}

static void __net_exit flowmeter_net_pre_exit(struct net *net)
{
	nf_unregister_net_hooks(net, flowmeter_hooks, ARRAY_SIZE(flowmeter_hooks));
}

/* Between the two is a grace period (ops_pre_exit_list()): no packet is in a hook any more. */
static void __net_exit flowmeter_net_exit(struct net *net)
{
	struct flowmeter_net *fn = flowmeter_net(net);

	remove_proc_entry("flowmeter", net->proc_net);
	cancel_delayed_work_sync(&fn->sweep);
	flowmeter_forget(fn, 0);
}

static struct pernet_operations flowmeter_net_ops = {
	.init = flowmeter_net_init,
	.pre_exit = flowmeter_net_pre_exit,
	.exit = flowmeter_net_exit,
	.id = &flowmeter_net_id,
	.size = sizeof(struct flowmeter_net),
};

static int __init flowmeter_register(void)
{
	int err;

	BUILD_BUG_ON(sizeof(struct flowmeter_key) != 40);

	err = register_pernet_subsys(&flowmeter_net_ops);
	if (err)
		return err;
	err = xt_register_matches(flowmeter_matches, ARRAY_SIZE(flowmeter_matches));
	if (err)
		unregister_pernet_subsys(&flowmeter_net_ops);
	return err;
}

static void __exit flowmeter_unregister(void)
{
	xt_unregister_matches(flowmeter_matches, ARRAY_SIZE(flowmeter_matches));
	unregister_pernet_subsys(&flowmeter_net_ops);
}

module_init(flowmeter_register);
module_exit(flowmeter_unregister);

/* What iptables and ip6tables ask for when a rule names the match. */
MODULE_ALIAS("ipt_flowmeter");
MODULE_ALIAS("ip6t_flowmeter");
MODULE_DESCRIPTION("Counts and rates of flows, and a match on the rate");
MODULE_LICENSE("GPL");
