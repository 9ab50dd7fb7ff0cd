/* SPDX-License-Identifier: GPL-2.0 */
/* A plugin's references to devices: see ../../references.c. With trackers, the kernel's own functions call what the ledger sees. */
#ifndef _LIBOS_PLUGIN_NETDEVICE_H
#define _LIBOS_PLUGIN_NETDEVICE_H

#include_next <linux/netdevice.h>

#ifndef CONFIG_NET_DEV_REFCNT_TRACKER

void libos_dev_hold(struct net_device *dev);
void libos_dev_put(struct net_device *dev);
void libos_netdev_hold(struct net_device *dev, netdevice_tracker *tracker, gfp_t gfp);
void libos_netdev_put(struct net_device *dev, netdevice_tracker *tracker);
void libos_netdev_ref_replace(struct net_device *odev, struct net_device *ndev,
			      netdevice_tracker *tracker, gfp_t gfp);

/* For __free(dev_put), which makes a name of it. */
DEFINE_FREE(libos_dev_put, struct net_device *, if (_T) libos_dev_put(_T))

#define dev_hold(dev) libos_dev_hold(dev)
#define dev_put(dev) libos_dev_put(dev)
#define netdev_hold(dev, tracker, gfp) libos_netdev_hold(dev, tracker, gfp)
#define netdev_put(dev, tracker) libos_netdev_put(dev, tracker)
#define netdev_ref_replace(odev, ndev, tracker, gfp) libos_netdev_ref_replace(odev, ndev, tracker, gfp)
#define __free_dev_put __free_libos_dev_put

#endif
#endif
