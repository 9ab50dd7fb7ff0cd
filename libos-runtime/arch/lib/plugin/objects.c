// SPDX-License-Identifier: GPL-2.0
/*
 * Objects that the kernel allocates for a module, by a size in the module's table of operations: sockets, qdiscs,
 * devices, a namespace's data. While such a table is registered, the size in it is larger than the module's own, so
 * that each object has room for members that the next build's structure has besides. Out-of-tree modules only:
 * those of the image have no debug information, and are not renewed.
 */
#include <linux/list.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>
#include <net/rtnetlink.h>
#include <net/pkt_sched.h>
#include <net/sch_generic.h>
#include <net/sock.h>
#include <../kernel/module/internal.h>
#include "ledger.h"
#include "plugin.h"

extern atomic_t dev_unreg_count; /* net/core/dev.c: devices that are gone but for their last references */

struct kind {
	struct list_head node;
	struct module *mod;
	const void *ops;
	u8 class;
	struct libos_objects objects;
};

static LIST_HEAD(kinds);

static void set_size(const struct libos_objects *objects, u64 size)
{
	if (objects->width == sizeof(u32))
		*(u32 *)objects->size_at = size;
	else
		*(u64 *)objects->size_at = size;
}

static bool describe(u8 class, void *ops, struct libos_objects *objects)
{
	switch (class) {
	case LEDGER_PROTO:
		objects->one = "socket";
		objects->size_at = &((struct proto *)ops)->obj_size;
		objects->width = sizeof(((struct proto *)ops)->obj_size);
		break;
	case LEDGER_QDISC:
		objects->one = "qdisc";
		objects->size_at = &((struct Qdisc_ops *)ops)->priv_size;
		objects->width = sizeof(((struct Qdisc_ops *)ops)->priv_size);
		break;
	case LEDGER_LINK_TYPE:
		objects->one = "device";
		objects->size_at = &((struct rtnl_link_ops *)ops)->priv_size;
		objects->width = sizeof(((struct rtnl_link_ops *)ops)->priv_size);
		break;
	case LEDGER_PERNET:
		objects->one = "namespace";
		objects->size_at = (void *)&((struct pernet_operations *)ops)->size;
		objects->width = sizeof(((struct pernet_operations *)ops)->size);
		break;
	default:
		return false;
	}
	objects->size = objects->width == sizeof(u32) ? *(u32 *)objects->size_at : *(u64 *)objects->size_at;
	return objects->size;
}

static struct kind *find(const void *ops)
{
	struct kind *kind;

	list_for_each_entry(kind, &kinds, node) {
		if (kind->ops == ops)
			return kind;
	}
	return NULL;
}

/* What an object of that size gets, so that the next build's has a place in it. */
u64 libos_objects_room(const struct module *mod, u64 size)
{
	if (!test_bit(TAINT_OOT_MODULE, &mod->taints))
		return size;
	return size + round_up(max(size / 4, 64ULL), 64);
}

/* Before the table is registered. Without memory for it there is no room, which is no harm. */
void libos_objects_registering(struct module *mod, u8 class, void *ops)
{
	struct libos_objects objects = { };
	struct kind *kind;

	if (!describe(class, ops, &objects) || find(ops))
		return;
	objects.room = libos_objects_room(mod, objects.size);
	if (objects.room == objects.size)
		return;
	kind = kzalloc(sizeof(*kind), GFP_KERNEL);
	if (!kind)
		return;
	kind->mod = mod;
	kind->ops = ops;
	kind->class = class;
	kind->objects = objects;
	set_size(&kind->objects, objects.room);
	list_add_tail(&kind->node, &kinds);
}

/* It is not registered any more, or never was. */
void libos_objects_unregistered(const void *ops)
{
	struct kind *kind = find(ops);

	if (!kind)
		return;
	set_size(&kind->objects, kind->objects.size);
	list_del(&kind->node);
	kfree(kind);
}

/* The module goes: its tables are not to be touched. */
void libos_objects_close(const struct module *mod)
{
	struct kind *kind, *next;

	list_for_each_entry_safe(kind, next, &kinds, node) {
		if (kind->mod != mod)
			continue;
		list_del(&kind->node);
		kfree(kind);
	}
}

struct visit {
	libos_objects_visit to;
	void *cookie;
	struct kind *kind;
};

static void visit(const struct visit *v, void *object)
{
	v->to(v->cookie, &v->kind->objects, object, "");
}

static void visit_socket(struct sock *sk, void *arg)
{
	const struct visit *v = arg;

	if (sk->sk_prot_creator == v->kind->ops)
		visit(v, sk);
}

#ifdef CONFIG_NET_SCHED
static void visit_qdisc(const struct visit *v, struct Qdisc *sch)
{
	if (sch && sch->ops == v->kind->ops)
		visit(v, qdisc_priv(sch));
}

/* Some are in two of these places. */
static void visit_qdiscs(const struct visit *v, struct net_device *dev)
{
	struct Qdisc *sch;
	unsigned int i;

	visit_qdisc(v, rcu_dereference_raw(dev->qdisc));
	for (i = 0; i < dev->num_tx_queues; i++)
		visit_qdisc(v, rcu_dereference_raw(netdev_get_tx_queue(dev, i)->qdisc_sleeping));
	if (rcu_dereference_raw(dev->ingress_queue))
		visit_qdisc(v, rcu_dereference_raw(rcu_dereference_raw(dev->ingress_queue)->qdisc_sleeping));
	hash_for_each(dev->qdisc_hash, i, sch, hash)
		visit_qdisc(v, sch);
}
#else
static void visit_qdiscs(const struct visit *v, struct net_device *dev)
{
}
#endif

static void visit_devices(const struct visit *v, struct net *net)
{
	struct net_device *dev;

	for_each_netdev(net, dev) {
		if (v->kind->class == LEDGER_QDISC)
			visit_qdiscs(v, dev);
		else if (dev->rtnl_link_ops == v->kind->ops && dev->priv_len >= v->kind->objects.room)
			v->to(v->cookie, &v->kind->objects, netdev_priv(dev), dev->name);
	}
}

static void visit_all(const struct visit *v)
{
	const struct pernet_operations *ops = v->kind->ops;
	struct net *net;

	if (v->kind->class == LEDGER_PROTO) {
		libos_for_each_socket(visit_socket, (void *)v);
		return;
	}
	rcu_read_lock();
	for_each_net_rcu(net) {
		if (v->kind->class != LEDGER_PERNET)
			visit_devices(v, net);
		else if (ops->id)
			visit(v, net_generic(net, *ops->id));
	}
	rcu_read_unlock();
}

/*
 * Does not sleep. -EAGAIN while a namespace or a device is half made or half gone: it is in no list then. 1 when
 * other modules, which may know the objects' structures, use this one.
 */
int libos_module_objects(const char *name, libos_objects_visit to, void *cookie)
{
	struct visit v = { .to = to, .cookie = cookie };
	bool listed = false;
	struct module *mod;
	int used;

	mutex_lock(&module_mutex);
	mod = find_module(name);
	used = mod && !list_empty(&mod->source_list);
	mutex_unlock(&module_mutex);
	if (!mod)
		return -ENOENT;
	list_for_each_entry(v.kind, &kinds, node) {
		if (v.kind->mod != mod)
			continue;
		listed |= v.kind->class != LEDGER_PROTO;
		visit(&v, NULL);
	}
	if (listed && (rtnl_is_locked() || rwsem_is_locked(&pernet_ops_rwsem) || atomic_read(&dev_unreg_count)))
		return -EAGAIN;
	list_for_each_entry(v.kind, &kinds, node) {
		if (v.kind->mod == mod)
			visit_all(&v);
	}
	return used;
}

static void tell_moved(void *cookie, struct libos_objects *kind, void *object, const char *called)
{
	libos_debug_objects_moved(object, kind->room);
}

/* After a swap that has rearranged them. */
void libos_objects_moved(const struct module *mod)
{
	struct visit v = { .to = tell_moved };

	if (!IS_ENABLED(CONFIG_DEBUG_OBJECTS))
		return;
	list_for_each_entry(v.kind, &kinds, node) {
		if (v.kind->mod == mod)
			visit_all(&v);
	}
}
