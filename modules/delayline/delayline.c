// SPDX-License-Identifier: GPL-2.0
/*
 * Delayline: a pair of Ethernet devices, and between them a wire that takes time and may lose.
 *
 * What one end sends waits in the other end's line until its delay has passed. Then that end's
 * timer schedules its NAPI, whose poll takes all that is due up the stack. So the receiving end
 * owns the line, the timer and the poll; the sending end the delay and the loss, which may differ
 * between the two directions.
 *
 * An end is made open, by itself, or as the other end of an open one, which IFLA_LINK names; they
 * may be in two network namespaces. When an end goes, the other is open again.
 *
 * Locking: `peer` is changed under RTNL and read under RCU. What the sender counts is written under
 * the lock of its only queue, what the receiver counts in its poll. line.lock guards the line.
 */
#include <linux/ethtool.h>
#include <linux/etherdevice.h>
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/random.h>
#include <linux/u64_stats_sync.h>
#include <net/rtnetlink.h>

#include "delayline_user.h"

#define DELAYLINE_MAX_DELAY (1000ULL * NSEC_PER_SEC)

struct delayline_count {
	u64_stats_t packets;
	u64_stats_t bytes;
	u64_stats_t lost; /* of the packets sent */
	u64_stats_t overrun; /* not sent: too many under way */
	u64_stats_t unplugged; /* not sent: no other end, or it is down */
	struct u64_stats_sync sync;
};

struct delayline {
	struct net_device *dev;
	struct delayline __rcu *peer;

	/* as a sender */
	u64 delay_ns;
	u32 loss;
	u32 limit;
	struct delayline_count sent;

	/* as a receiver */
	struct sk_buff_head line;
	struct hrtimer timer; /* for the head of the line */
	struct napi_struct napi;
	struct delayline_count received;
	u64 cut_off; /* under way when the device went down; under RTNL */
};

struct delayline_cb {
	u64 due_ns;
};

static struct delayline_cb *delayline_cb(const struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct delayline_cb) > sizeof_field(struct sk_buff, cb));
	return (struct delayline_cb *)skb->cb;
}

static void delayline_add(struct delayline_count *count, u64_stats_t *what, unsigned int bytes)
{
	u64_stats_update_begin(&count->sync);
	u64_stats_inc(what);
	u64_stats_add(&count->bytes, bytes);
	u64_stats_update_end(&count->sync);
}

/* -- sending --------------------------------------------------------------------------- */

/* Puts a packet into the line, behind all that is there. False when the line is full. */
static bool delayline_put(struct delayline *to, struct sk_buff *skb, u64 due_ns, u32 limit)
{
	const struct sk_buff *last;
	bool first;

	spin_lock_bh(&to->line.lock);
	if (skb_queue_len(&to->line) >= limit) {
		spin_unlock_bh(&to->line.lock);
		return false;
	}
	/* A wire keeps the order, also when its delay has just been made shorter. */
	last = skb_peek_tail(&to->line);
	if (last)
		due_ns = max(due_ns, delayline_cb(last)->due_ns);
	delayline_cb(skb)->due_ns = due_ns;
	first = !last;
	__skb_queue_tail(&to->line, skb);
	spin_unlock_bh(&to->line.lock);

	/* Others find the timer running, or the poll, which looks at the head when it ends. */
	if (first)
		hrtimer_start(&to->timer, ns_to_ktime(due_ns), HRTIMER_MODE_ABS_SOFT);
	return true;
}

static netdev_tx_t delayline_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct delayline *from = netdev_priv(dev), *to;
	unsigned int bytes = skb->len;
	u64 due_ns = ktime_get_ns() + READ_ONCE(from->delay_ns);
	u32 loss = READ_ONCE(from->loss);

	rcu_read_lock();
	to = rcu_dereference(from->peer);
	if (!to || !netif_running(to->dev)) {
		delayline_add(&from->sent, &from->sent.unplugged, 0);
		goto drop;
	}
	skb_tx_timestamp(skb);
	if (loss && get_random_u32() <= loss) {
		u64_stats_update_begin(&from->sent.sync);
		u64_stats_inc(&from->sent.lost);
		u64_stats_update_end(&from->sent.sync);
		delayline_add(&from->sent, &from->sent.packets, bytes);
		goto drop;
	}
	/* Sent, as far as the socket is concerned; and nothing of this netns goes there. */
	skb_orphan(skb);
	if (__dev_forward_skb(to->dev, skb) != NET_RX_SUCCESS) {
		delayline_add(&from->sent, &from->sent.unplugged, 0); /* too long for it; freed */
		goto out;
	}
	if (!delayline_put(to, skb, due_ns, READ_ONCE(from->limit))) {
		delayline_add(&from->sent, &from->sent.overrun, 0);
		goto drop;
	}
	delayline_add(&from->sent, &from->sent.packets, bytes);
out:
	rcu_read_unlock();
	return NETDEV_TX_OK;

drop:
	rcu_read_unlock();
	kfree_skb(skb);
	return NETDEV_TX_OK;
}

/* -- receiving ------------------------------------------------------------------------- */

static enum hrtimer_restart delayline_timer(struct hrtimer *timer)
{
	struct delayline *to = container_of(timer, struct delayline, timer);

	napi_schedule(&to->napi);
	return HRTIMER_NORESTART;
}

/* The head of the line, if it is due; else, or when there is none, NULL. */
static struct sk_buff *delayline_take(struct delayline *to, u64 now_ns)
{
	struct sk_buff *skb;

	spin_lock_bh(&to->line.lock);
	skb = skb_peek(&to->line);
	if (skb && delayline_cb(skb)->due_ns <= now_ns)
		__skb_unlink(skb, &to->line);
	else
		skb = NULL;
	spin_unlock_bh(&to->line.lock);
	return skb;
}

static void delayline_arm(struct delayline *to)
{
	const struct sk_buff *head;

	spin_lock_bh(&to->line.lock);
	head = skb_peek(&to->line);
	if (head)
		hrtimer_start(&to->timer, ns_to_ktime(delayline_cb(head)->due_ns),
			      HRTIMER_MODE_ABS_SOFT);
	spin_unlock_bh(&to->line.lock);
}

static int delayline_poll(struct napi_struct *napi, int budget)
{
	struct delayline *to = container_of(napi, struct delayline, napi);
	struct sk_buff *skb;
	int done = 0;

	while (done < budget && (skb = delayline_take(to, ktime_get_ns()))) {
		/* eth_type_trans() has taken the header off. */
		delayline_add(&to->received, &to->received.packets, skb->len + ETH_HLEN);
		/* What the sender still has a clone of, GRO must not take apart. */
		if (skb_shared(skb) || skb_unclone(skb, GFP_ATOMIC))
			netif_receive_skb(skb);
		else
			napi_gro_receive(napi, skb);
		done++;
	}
	if (done < budget) {
		/* In this order, so that napi_disable() waits for it: see delayline_stop(). */
		delayline_arm(to);
		napi_complete_done(napi, done);
	}
	return done;
}

/* -- up and down ----------------------------------------------------------------------- */

static int delayline_open(struct net_device *dev)
{
	struct delayline *end = netdev_priv(dev);
	struct delayline *peer = rtnl_dereference(end->peer);

	napi_enable(&end->napi);
	if (peer && netif_running(peer->dev)) {
		netif_carrier_on(dev);
		netif_carrier_on(peer->dev);
	}
	return 0;
}

static int delayline_stop(struct net_device *dev)
{
	struct delayline *end = netdev_priv(dev);
	struct delayline *peer = rtnl_dereference(end->peer);

	netif_carrier_off(dev);
	if (peer)
		netif_carrier_off(peer->dev);
	/* Those who saw us running have put their packet into the line after this. */
	synchronize_net();
	napi_disable(&end->napi);
	hrtimer_cancel(&end->timer);
	end->cut_off += skb_queue_len(&end->line);
	skb_queue_purge(&end->line);
	return 0;
}

static void delayline_join(struct delayline *a, struct delayline *b)
{
	rcu_assign_pointer(a->peer, b);
	rcu_assign_pointer(b->peer, a);
	if (netif_running(a->dev) && netif_running(b->dev)) {
		netif_carrier_on(a->dev);
		netif_carrier_on(b->dev);
	}
}

/* However the device goes. After this comes a grace period (unregister_netdevice_many()). */
static void delayline_uninit(struct net_device *dev)
{
	struct delayline *end = netdev_priv(dev);
	struct delayline *peer = rtnl_dereference(end->peer);

	if (!peer)
		return;
	RCU_INIT_POINTER(end->peer, NULL);
	RCU_INIT_POINTER(peer->peer, NULL);
	netif_carrier_off(peer->dev);
}

/* -- statistics ------------------------------------------------------------------------ */

struct delayline_sums {
	u64 packets;
	u64 bytes;
	u64 lost;
	u64 overrun;
	u64 unplugged;
};

static struct delayline_sums delayline_read(const struct delayline_count *count)
{
	struct delayline_sums sums;
	unsigned int start;

	do {
		start = u64_stats_fetch_begin(&count->sync);
		sums.packets = u64_stats_read(&count->packets);
		sums.bytes = u64_stats_read(&count->bytes);
		sums.lost = u64_stats_read(&count->lost);
		sums.overrun = u64_stats_read(&count->overrun);
		sums.unplugged = u64_stats_read(&count->unplugged);
	} while (u64_stats_fetch_retry(&count->sync, start));
	return sums;
}

static void delayline_get_stats(struct net_device *dev, struct rtnl_link_stats64 *stats)
{
	struct delayline *end = netdev_priv(dev);
	struct delayline_sums sent = delayline_read(&end->sent);
	struct delayline_sums received = delayline_read(&end->received);

	stats->tx_packets = sent.packets;
	stats->tx_bytes = sent.bytes;
	stats->tx_dropped = sent.overrun + sent.unplugged;
	stats->tx_carrier_errors = sent.unplugged;
	stats->rx_packets = received.packets;
	stats->rx_bytes = received.bytes;
	stats->rx_dropped = READ_ONCE(end->cut_off);
}

static const char delayline_strings[][ETH_GSTRING_LEN] = {
	"sent_lost",		/* of tx_packets, those that the other end never gets */
	"sent_overrun",		/* dropped instead: too many under way */
	"sent_unplugged",	/* dropped instead: the other end is missing, down, or too small */
	"under_way",		/* to this end */
	"cut_off",		/* were under way to this end when it went down */
};

static int delayline_get_sset_count(struct net_device *dev, int set)
{
	return set == ETH_SS_STATS ? ARRAY_SIZE(delayline_strings) : -EOPNOTSUPP;
}

static void delayline_get_strings(struct net_device *dev, u32 set, u8 *data)
{
	if (set == ETH_SS_STATS)
		memcpy(data, delayline_strings, sizeof(delayline_strings));
}

static void delayline_get_ethtool_stats(struct net_device *dev, struct ethtool_stats *stats,
					u64 *data)
{
	struct delayline *end = netdev_priv(dev);
	struct delayline_sums sent = delayline_read(&end->sent);

	data[0] = sent.lost;
	data[1] = sent.overrun;
	data[2] = sent.unplugged;
	data[3] = skb_queue_len_lockless(&end->line);
	data[4] = end->cut_off;
}

static void delayline_get_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, KBUILD_MODNAME, sizeof(info->driver));
}

static const struct ethtool_ops delayline_ethtool_ops = {
	.get_drvinfo = delayline_get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_ts_info = ethtool_op_get_ts_info,
	.get_sset_count = delayline_get_sset_count,
	.get_strings = delayline_get_strings,
	.get_ethtool_stats = delayline_get_ethtool_stats,
};

/* -- the device ------------------------------------------------------------------------ */

static int delayline_get_iflink(const struct net_device *dev)
{
	const struct delayline *end = netdev_priv(dev);
	const struct delayline *peer;
	int index = 0;

	rcu_read_lock();
	peer = rcu_dereference(end->peer);
	if (peer)
		index = READ_ONCE(peer->dev->ifindex);
	rcu_read_unlock();
	return index;
}

static const struct net_device_ops delayline_netdev_ops = {
	.ndo_open = delayline_open,
	.ndo_stop = delayline_stop,
	.ndo_uninit = delayline_uninit,
	.ndo_start_xmit = delayline_xmit,
	.ndo_get_stats64 = delayline_get_stats,
	.ndo_get_iflink = delayline_get_iflink,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_set_mac_address = eth_mac_addr,
};

static void delayline_setup(struct net_device *dev)
{
	struct delayline *end = netdev_priv(dev);

	ether_setup(dev);
	dev->netdev_ops = &delayline_netdev_ops;
	dev->ethtool_ops = &delayline_ethtool_ops;
	dev->needs_free_netdev = true;
	dev->priv_flags &= ~IFF_TX_SKB_SHARING; /* cb and the line are ours */
	dev->priv_flags |= IFF_LIVE_ADDR_CHANGE;
	dev->min_mtu = ETH_MIN_MTU;
	dev->max_mtu = ETH_MAX_MTU;
	/* No segmentation: what is lost or delayed is a packet as on a wire. */
	dev->features = NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HIGHDMA | NETIF_F_HW_CSUM;
	dev->hw_features = dev->features;

	end->dev = dev;
	end->limit = 10000;
	skb_queue_head_init(&end->line);
	hrtimer_init(&end->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_SOFT);
	end->timer.function = delayline_timer;
	u64_stats_init(&end->sent.sync);
	u64_stats_init(&end->received.sync);
	netif_napi_add(dev, &end->napi, delayline_poll);
}

/* -- configuration --------------------------------------------------------------------- */

/* Not const: in 6.1 a policy wants to be able to write to them. */
static struct netlink_range_validation delayline_delay_range = { .max = DELAYLINE_MAX_DELAY };

static const struct nla_policy delayline_policy[IFLA_DELAYLINE_MAX + 1] = {
	[IFLA_DELAYLINE_DELAY] = NLA_POLICY_FULL_RANGE(NLA_U64, &delayline_delay_range),
	[IFLA_DELAYLINE_LOSS] = { .type = NLA_U32 },
	[IFLA_DELAYLINE_LIMIT] = NLA_POLICY_MIN(NLA_U32, 1),
};

static int delayline_change(struct net_device *dev, struct nlattr *tb[], struct nlattr *data[],
			    struct netlink_ext_ack *extack)
{
	struct delayline *end = netdev_priv(dev);

	if (!data)
		return 0;
	if (data[IFLA_DELAYLINE_DELAY])
		WRITE_ONCE(end->delay_ns, nla_get_u64(data[IFLA_DELAYLINE_DELAY]));
	if (data[IFLA_DELAYLINE_LOSS])
		WRITE_ONCE(end->loss, nla_get_u32(data[IFLA_DELAYLINE_LOSS]));
	if (data[IFLA_DELAYLINE_LIMIT])
		WRITE_ONCE(end->limit, nla_get_u32(data[IFLA_DELAYLINE_LIMIT]));
	return 0;
}

/* The open end that IFLA_LINK names; NULL when it names none. */
static struct delayline *delayline_other_end(struct net *net, struct nlattr *tb[],
					     struct netlink_ext_ack *extack)
{
	struct net_device *dev;
	struct delayline *end;

	if (!tb[IFLA_LINK])
		return NULL;
	dev = __dev_get_by_index(net, nla_get_u32(tb[IFLA_LINK]));
	if (!dev)
		return ERR_PTR(-ENODEV);
	if (dev->netdev_ops != &delayline_netdev_ops) {
		NL_SET_ERR_MSG_ATTR(extack, tb[IFLA_LINK], "The other end is not a delayline");
		return ERR_PTR(-EINVAL);
	}
	end = netdev_priv(dev);
	if (rtnl_dereference(end->peer)) {
		NL_SET_ERR_MSG_ATTR(extack, tb[IFLA_LINK], "The other end is not open");
		return ERR_PTR(-EBUSY);
	}
	return end;
}

static int delayline_newlink(struct net *src_net, struct net_device *dev, struct nlattr *tb[],
			     struct nlattr *data[], struct netlink_ext_ack *extack)
{
	struct delayline *other = delayline_other_end(src_net, tb, extack);
	int err;

	if (IS_ERR(other))
		return PTR_ERR(other);
	if (!tb[IFLA_ADDRESS])
		eth_hw_addr_random(dev);
	err = delayline_change(dev, tb, data, extack);
	if (err)
		return err;
	err = register_netdevice(dev);
	if (err)
		return err;
	netif_carrier_off(dev);
	if (other)
		delayline_join(netdev_priv(dev), other);
	return 0;
}

static size_t delayline_get_size(const struct net_device *dev)
{
	return nla_total_size_64bit(sizeof(u64)) + 2 * nla_total_size(sizeof(u32));
}

static int delayline_fill_info(struct sk_buff *skb, const struct net_device *dev)
{
	const struct delayline *end = netdev_priv(dev);

	if (nla_put_u64_64bit(skb, IFLA_DELAYLINE_DELAY, READ_ONCE(end->delay_ns),
			      IFLA_DELAYLINE_PAD) ||
	    nla_put_u32(skb, IFLA_DELAYLINE_LOSS, READ_ONCE(end->loss)) ||
	    nla_put_u32(skb, IFLA_DELAYLINE_LIMIT, READ_ONCE(end->limit)))
		return -EMSGSIZE;
	return 0;
}

static struct net *delayline_get_link_net(const struct net_device *dev)
{
	const struct delayline *end = netdev_priv(dev);
	const struct delayline *peer = rtnl_dereference(end->peer);

	return dev_net(peer ? peer->dev : dev);
}

static struct rtnl_link_ops delayline_link_ops __read_mostly = {
	.kind = KBUILD_MODNAME,
	.priv_size = sizeof(struct delayline),
	.setup = delayline_setup,
	.maxtype = IFLA_DELAYLINE_MAX,
	.policy = delayline_policy,
	.newlink = delayline_newlink,
	.changelink = delayline_change,
	.dellink = unregister_netdevice_queue,
	.get_size = delayline_get_size,
	.fill_info = delayline_fill_info,
	.get_link_net = delayline_get_link_net,
};

static int __init delayline_register(void)
{
	return rtnl_link_register(&delayline_link_ops);
}

/* Takes all devices of the kind with it, in every netns. */
static void __exit delayline_unregister(void)
{
	rtnl_link_unregister(&delayline_link_ops);
}

module_init(delayline_register);
module_exit(delayline_unregister);

MODULE_ALIAS_RTNL_LINK(KBUILD_MODNAME);
MODULE_DESCRIPTION("A pair of Ethernet devices with a delay and loss between them");
MODULE_LICENSE("GPL");
