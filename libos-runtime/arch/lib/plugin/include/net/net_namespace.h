/* SPDX-License-Identifier: GPL-2.0 */
/* A plugin's references to namespaces: see ../../references.c. */
#ifndef _LIBOS_PLUGIN_NET_NAMESPACE_H
#define _LIBOS_PLUGIN_NET_NAMESPACE_H

#include_next <net/net_namespace.h>

struct net *libos_get_net(struct net *net);
struct net *libos_maybe_get_net(struct net *net);
void libos_put_net(struct net *net);

#ifdef CONFIG_NET_NS_REFCNT_TRACKER

/* What has a tracker is seen by it, and is no plain reference any more. */
void libos_net_tracked(struct net *net);

static inline void libos_netns_tracker_alloc(struct net *net, netns_tracker *tracker, gfp_t gfp)
{
	libos_net_tracked(net);
	netns_tracker_alloc(net, tracker, gfp);
}

#define netns_tracker_alloc(net, tracker, gfp) libos_netns_tracker_alloc(net, tracker, gfp)

#else

struct net *libos_get_net_track(struct net *net, netns_tracker *tracker, gfp_t gfp);
void libos_put_net_track(struct net *net, netns_tracker *tracker);

#define get_net_track(net, tracker, gfp) libos_get_net_track(net, tracker, gfp)
#define put_net_track(net, tracker) libos_put_net_track(net, tracker)

#endif

#define get_net(net) libos_get_net(net)
#define maybe_get_net(net) libos_maybe_get_net(net)
#define put_net(net) libos_put_net(net)

#endif
