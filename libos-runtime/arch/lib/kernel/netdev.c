// SPDX-License-Identifier: GPL-2.0
/*
 * Ethernet devices whose wire is the host's: a tap, a socket to another stack. Frames go out straight from
 * the socket buffer's pieces; they come in from the host's interrupt, and through NAPI, so that GRO and
 * the softirq budget are the kernel's own.
 */
#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <linux/virtio_net.h>
#include <linux/workqueue.h>
#include "libos.h"

#define RX_QUEUE_LIMIT 1024 /* frames, as a real ring would have */

struct wire {
	struct net_device *dev;
	struct napi_struct napi;
	struct sk_buff_head rx;
	void *cookie; /* the host's */
	bool vnet_hdr; /* the wire carries offload metadata */
	struct work_struct offloads; /* the device's features shall say so */
};

#define WIRE_OFFLOADS (NETIF_F_HW_CSUM | NETIF_F_TSO | NETIF_F_TSO6)

static_assert(sizeof(struct libos_frame_meta) == sizeof(struct virtio_net_hdr));

static netdev_tx_t wire_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct wire *wire = netdev_priv(dev);
	struct libos_iov iov[MAX_SKB_FRAGS + 1];
	struct virtio_net_hdr meta = { };
	unsigned int n = 0, len = skb->len;
	bool undone = skb_is_gso(skb) || skb->ip_summed == CHECKSUM_PARTIAL;
	int err;

	/* A frame that waited while the wire got another end may be one that this end has no use for. */
	if (wire->vnet_hdr ? virtio_net_hdr_from_skb(skb, &meta, true, false, 0) : undone) {
		dev->stats.tx_errors++;
		dev_kfree_skb_any(skb);
		return NETDEV_TX_OK;
	}
	iov[n++] = (struct libos_iov){ skb->data, skb_headlen(skb) };
	for (unsigned int i = 0; i < skb_shinfo(skb)->nr_frags; i++) {
		const skb_frag_t *frag = &skb_shinfo(skb)->frags[i];

		iov[n++] = (struct libos_iov){ skb_frag_address(frag), skb_frag_size(frag) };
	}

	err = libos_host->net_xmit(wire->cookie, (struct libos_frame_meta *)&meta, iov, n);
	if (err == -EAGAIN) {
		netif_stop_queue(dev);
		return NETDEV_TX_BUSY; /* back into the qdisc */
	}
	if (err) {
		dev->stats.tx_dropped++;
	} else {
		dev->stats.tx_packets++;
		dev->stats.tx_bytes += len;
	}
	dev_consume_skb_any(skb);
	return NETDEV_TX_OK;
}

static int wire_poll(struct napi_struct *napi, int budget)
{
	struct wire *wire = container_of(napi, struct wire, napi);
	struct sk_buff *skb;
	int done = 0;

	while (done < budget && (skb = skb_dequeue(&wire->rx))) {
		napi_gro_receive(napi, skb);
		done++;
	}
	if (done < budget && napi_complete_done(napi, done) && !skb_queue_empty(&wire->rx))
		napi_schedule(napi);
	return done;
}

static int wire_open(struct net_device *dev)
{
	struct wire *wire = netdev_priv(dev);

	napi_enable(&wire->napi);
	netif_start_queue(dev);
	return 0;
}

static int wire_stop(struct net_device *dev)
{
	struct wire *wire = netdev_priv(dev);

	netif_stop_queue(dev);
	napi_disable(&wire->napi);
	skb_queue_purge(&wire->rx);
	return 0;
}

/* What one end is given to finish, another one may not be; who comes after it is not known before. */
static netdev_features_t wire_fix_features(struct net_device *dev, netdev_features_t features)
{
	struct wire *wire = netdev_priv(dev);

	return wire->vnet_hdr ? features : features & ~WIRE_OFFLOADS;
}

/* At each frame: holds from the moment that the other end changes, when fix_features() has yet to be asked. */
static netdev_features_t wire_features_check(struct sk_buff *skb, struct net_device *dev,
					     netdev_features_t features)
{
	return wire_fix_features(dev, features);
}

static void wire_update_features(struct work_struct *work)
{
	struct wire *wire = container_of(work, struct wire, offloads);

	rtnl_lock();
	netdev_update_features(wire->dev);
	rtnl_unlock();
}

static const struct net_device_ops wire_ops = {
	.ndo_open = wire_open,
	.ndo_stop = wire_stop,
	.ndo_start_xmit = wire_xmit,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
	.ndo_fix_features = wire_fix_features,
	.ndo_features_check = wire_features_check,
};

/* In the caller's network namespace, down. */
int libos_netdev_add(void *cookie, const char *name, const uint8_t mac[6], unsigned int mtu,
		     unsigned int vnet_hdr, struct libos_netdev **out)
{
	struct net_device *dev = alloc_etherdev(sizeof(struct wire));
	struct wire *wire;
	int err;

	if (!dev)
		return -ENOMEM;
	wire = netdev_priv(dev);
	wire->dev = dev;
	wire->cookie = cookie;
	wire->vnet_hdr = vnet_hdr;
	skb_queue_head_init(&wire->rx);
	dev_net_set(dev, current->nsproxy->net_ns);
	strscpy(dev->name, name, sizeof(dev->name));
	dev->netdev_ops = &wire_ops;
	dev->mtu = mtu;
	dev->max_mtu = ETH_MAX_MTU;
	eth_hw_addr_set(dev, mac);
	dev->hw_features = NETIF_F_SG | WIRE_OFFLOADS;
	dev->features = dev->hw_features; /* what is wanted: register_netdev() asks what there is */
	INIT_WORK(&wire->offloads, wire_update_features);
	netif_napi_add(dev, &wire->napi, wire_poll);

	err = register_netdev(dev);
	if (err) {
		free_netdev(dev);
		return err;
	}
	*out = (struct libos_netdev *)wire;
	return 0;
}

void libos_netdev_del(struct libos_netdev *netdev)
{
	struct wire *wire = (struct wire *)netdev;

	cancel_work_sync(&wire->offloads);
	unregister_netdev(wire->dev);
	free_netdev(wire->dev);
}

/* Interrupt: a frame of the wire. */
int libos_netdev_rx(struct libos_netdev *netdev, const struct libos_frame_meta *meta,
		    const struct libos_iov *frame, unsigned int n, size_t len)
{
	struct wire *wire = (struct wire *)netdev;
	struct net_device *dev = wire->dev;
	struct sk_buff *skb;

	if (!netif_running(dev) || len < ETH_HLEN)
		return -ENETDOWN;
	if (skb_queue_len(&wire->rx) >= RX_QUEUE_LIMIT)
		goto drop;
	/* Large frames come with GSO; pages keep them out of the slab's big orders. */
	skb = alloc_skb_with_frags(NET_SKB_PAD + NET_IP_ALIGN + min_t(size_t, len, 256),
				   len > 256 ? len - 256 : 0, PAGE_ALLOC_COSTLY_ORDER,
				   &(int){ 0 }, GFP_ATOMIC);
	if (!skb)
		goto drop;
	skb_reserve(skb, NET_SKB_PAD + NET_IP_ALIGN);
	skb_put(skb, min_t(size_t, len, 256));
	if (len > 256) {
		skb->data_len = len - 256;
		skb->len = len;
	}
	skb->dev = dev;
	for (size_t at = 0; n; at += frame->len, frame++, n--)
		skb_store_bits(skb, at, frame->base, frame->len);
	if (wire->vnet_hdr && virtio_net_hdr_to_skb(skb, (struct virtio_net_hdr *)meta, true)) {
		kfree_skb(skb);
		goto drop;
	}
	skb->protocol = eth_type_trans(skb, dev);
	dev->stats.rx_packets++;
	dev->stats.rx_bytes += len;
	skb_queue_tail(&wire->rx, skb);
	napi_schedule(&wire->napi);
	return 0;
drop:
	dev->stats.rx_dropped++;
	return -ENOMEM;
}

void libos_netdev_carrier(struct libos_netdev *netdev, int on)
{
	struct net_device *dev = ((struct wire *)netdev)->dev;

	if (on)
		netif_carrier_on(dev);
	else
		netif_carrier_off(dev);
}

void libos_netdev_room(struct libos_netdev *netdev)
{
	netif_wake_queue(((struct wire *)netdev)->dev);
}

void libos_netdev_vnet_hdr(struct libos_netdev *netdev, int on)
{
	struct wire *wire = (struct wire *)netdev;

	if (wire->vnet_hdr == !!on)
		return;
	wire->vnet_hdr = on;
	schedule_work(&wire->offloads);
}

void libos_netdev_log(struct libos_netdev *netdev, const char *text)
{
	if (net_ratelimit())
		netdev_notice(((struct wire *)netdev)->dev, "%s\n", text);
}
