// SPDX-License-Identifier: GPL-2.0
/*
 * References that a plugin takes by functions that are inline in the kernel's headers: an increment in the plugin's
 * own code, of which no import tells. The headers in include/, which objects of modules find before the kernel's of
 * the same name, include those and then let the plugin's calls come here. Calls within such a header are not seen: a
 * list or a timer that holds a socket.
 *
 * They are counted by object, tracker and place. Of several of one object nobody knows which is given back,
 * unless each has a tracker, and the kernel may give back what was handed to it: so they are told and left. A
 * record ends with its object (ledger_memory.h).
 *
 * The kernel's own functions are in brackets: without them the names are the macros.
 */
#include <linux/export.h>
#include <linux/kernel.h>
#include <linux/netdevice.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include "include/linux/netdevice.h"
#include "include/net/net_namespace.h"
#include "include/net/sock.h"
#include "ledger.h"

#define CALL(function, class_) \
	static const struct ledger_call call_##function = { .name = #function, .class = LEDGER_##class_ }

/* -- devices ------------------------------------------------------------------------------------------- */

#ifndef CONFIG_NET_DEV_REFCNT_TRACKER

CALL(dev_hold, DEVICE_REFERENCE);
CALL(netdev_hold, DEVICE_REFERENCE);
CALL(netdev_ref_replace, DEVICE_REFERENCE);

void libos_dev_hold(struct net_device *dev)
{
	(dev_hold)(dev);
	if (dev)
		libos_ledger_refer(&call_dev_hold, dev, NULL, _RET_IP_);
}
EXPORT_SYMBOL(libos_dev_hold);

/* Before it is given back: it may be the last. */
void libos_dev_put(struct net_device *dev)
{
	libos_ledger_unrefer(LEDGER_DEVICE_REFERENCE, dev, NULL, _RET_IP_);
	(dev_put)(dev);
}
EXPORT_SYMBOL(libos_dev_put);

void libos_netdev_hold(struct net_device *dev, netdevice_tracker *tracker, gfp_t gfp)
{
	(netdev_hold)(dev, tracker, gfp);
	if (dev)
		libos_ledger_refer(&call_netdev_hold, dev, tracker, _RET_IP_);
}
EXPORT_SYMBOL(libos_netdev_hold);

void libos_netdev_put(struct net_device *dev, netdevice_tracker *tracker)
{
	libos_ledger_unrefer(LEDGER_DEVICE_REFERENCE, dev, tracker, _RET_IP_);
	(netdev_put)(dev, tracker);
}
EXPORT_SYMBOL(libos_netdev_put);

/* Whose the old one was, the new one is: of the kernel's routes, too. */
void libos_netdev_ref_replace(struct net_device *odev, struct net_device *ndev, netdevice_tracker *tracker,
			      gfp_t gfp)
{
	bool ours = !odev || libos_ledger_unrefer(LEDGER_DEVICE_REFERENCE, odev, tracker, _RET_IP_);

	(netdev_ref_replace)(odev, ndev, tracker, gfp);
	if (ndev && ours)
		libos_ledger_refer(&call_netdev_ref_replace, ndev, tracker, _RET_IP_);
}
EXPORT_SYMBOL(libos_netdev_ref_replace);

#endif

/* -- namespaces ---------------------------------------------------------------------------------------- */

CALL(get_net, NETNS_REFERENCE);
CALL(maybe_get_net, NETNS_REFERENCE);

struct net *libos_get_net(struct net *net)
{
	libos_ledger_refer(&call_get_net, net, NULL, _RET_IP_);
	return (get_net)(net);
}
EXPORT_SYMBOL(libos_get_net);

struct net *libos_maybe_get_net(struct net *net)
{
	net = (maybe_get_net)(net);
	if (net)
		libos_ledger_refer(&call_maybe_get_net, net, NULL, _RET_IP_);
	return net;
}
EXPORT_SYMBOL(libos_maybe_get_net);

void libos_put_net(struct net *net)
{
	libos_ledger_unrefer(LEDGER_NETNS_REFERENCE, net, NULL, _RET_IP_);
	(put_net)(net);
}
EXPORT_SYMBOL(libos_put_net);

#ifdef CONFIG_NET_NS_REFCNT_TRACKER

void libos_net_tracked(struct net *net)
{
	libos_ledger_unrefer(LEDGER_NETNS_REFERENCE, net, NULL, _RET_IP_);
}
EXPORT_SYMBOL(libos_net_tracked);

#else

CALL(get_net_track, NETNS_REFERENCE);

struct net *libos_get_net_track(struct net *net, netns_tracker *tracker, gfp_t gfp)
{
	libos_ledger_refer(&call_get_net_track, net, tracker, _RET_IP_);
	return (get_net_track)(net, tracker, gfp);
}
EXPORT_SYMBOL(libos_get_net_track);

void libos_put_net_track(struct net *net, netns_tracker *tracker)
{
	libos_ledger_unrefer(LEDGER_NETNS_REFERENCE, net, tracker, _RET_IP_);
	(put_net_track)(net, tracker);
}
EXPORT_SYMBOL(libos_put_net_track);

#endif

/* -- sockets ------------------------------------------------------------------------------------------- */

CALL(sock_hold, SOCKET_REFERENCE);

void libos_sock_hold(struct sock *sk)
{
	(sock_hold)(sk);
	libos_ledger_refer(&call_sock_hold, sk, NULL, _RET_IP_);
}
EXPORT_SYMBOL(libos_sock_hold);

void libos_sock_put(struct sock *sk)
{
	libos_ledger_unrefer(LEDGER_SOCKET_REFERENCE, sk, NULL, _RET_IP_);
	(sock_put)(sk);
}
EXPORT_SYMBOL(libos_sock_put);

void libos_sock_put_not_last(struct sock *sk)
{
	libos_ledger_unrefer(LEDGER_SOCKET_REFERENCE, sk, NULL, _RET_IP_);
	(__sock_put)(sk);
}
EXPORT_SYMBOL(libos_sock_put_not_last);
