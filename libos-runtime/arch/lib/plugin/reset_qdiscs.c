// SPDX-License-Identifier: GPL-2.0
/*
 * Ends the qdiscs of one module, and makes them anew with the options that they had once the module is loaded again.
 * Both are asked for by the messages that tc(8) sends: where a qdisc may be, and what takes its place meanwhile, is
 * the kernel's to know. What waits in the queues is dropped.
 */
#include <linux/file.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <net/net_namespace.h>
#include <net/netlink.h>
#include <net/sch_generic.h>
#include "plugin.h"

#ifdef CONFIG_NET_SCHED

/* A qdisc that is to be, or was, ended. */
struct ended {
	struct list_head node;
	char module[MODULE_NAME_LEN];
	struct net *net; /* with a reference */
	char what[64]; /* "qdisc pi2 8001: of eth0" */
	u32 waiting;
	struct sk_buff *message; /* makes it anew */
	struct tcmsg place;
};

static LIST_HEAD(all_ended);

static void forget(struct ended *ended)
{
	list_del(&ended->node);
	nlmsg_free(ended->message);
	put_net(ended->net);
	kfree(ended);
}

/* By name, for the module is another one when its next build is loaded. */
static void forget_all(const char *module)
{
	struct ended *ended, *next;

	list_for_each_entry_safe(ended, next, &all_ended, node) {
		if (!strcmp(ended->module, module))
			forget(ended);
	}
}

static bool is_known(const struct list_head *list, const struct net *net, const struct tcmsg *place)
{
	const struct ended *ended;

	list_for_each_entry(ended, list, node) {
		if (ended->net == net && !memcmp(&ended->place, place, sizeof(*place)))
			return true;
	}
	return false;
}

static int take_note(struct list_head *list, const struct module *mod, struct net_device *dev, struct Qdisc *sch)
{
	struct tcmsg place = { .tcm_ifindex = dev->ifindex };
	struct ended *ended;
	struct nlmsghdr *nlh;

	if (!sch || sch->ops->owner != mod)
		return 0;
	place.tcm_parent = sch->parent;
	place.tcm_handle = sch->handle;
	if (is_known(list, dev_net(dev), &place))
		return 0;
	ended = kzalloc(sizeof(*ended), GFP_KERNEL);
	if (!ended)
		return -ENOMEM;
	ended->place = place;
	ended->waiting = qdisc_qlen(sch);
	ended->net = get_net(dev_net(dev));
	strscpy(ended->module, mod->name, sizeof(ended->module));
	scnprintf(ended->what, sizeof(ended->what), "qdisc %s %x: of %s", sch->ops->id, TC_H_MAJ(sch->handle) >> 16,
		  dev->name);
	list_add_tail(&ended->node, list);
	ended->message = nlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	if (!ended->message)
		return -ENOMEM;
	nlh = nlmsg_put(ended->message, 0, 1, RTM_NEWQDISC, sizeof(place),
			NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
	*(struct tcmsg *)nlmsg_data(nlh) = place;
	if (nla_put_string(ended->message, TCA_KIND, sch->ops->id) ||
	    (sch->ops->dump && sch->ops->dump(sch, ended->message) < 0))
		return -EMSGSIZE;
	nlmsg_end(ended->message, nlh);
	return 0;
}

/* Some are in two of these places. */
static int take_note_of_all(struct list_head *list, const struct module *mod, struct net_device *dev)
{
	struct Qdisc *sch;
	unsigned int i;
	int err;

	err = take_note(list, mod, dev, rtnl_dereference(dev->qdisc));
	for (i = 0; i < dev->num_tx_queues && !err; i++)
		err = take_note(list, mod, dev, rtnl_dereference(netdev_get_tx_queue(dev, i)->qdisc_sleeping));
	if (rtnl_dereference(dev->ingress_queue) && !err)
		err = take_note(list, mod, dev,
				rtnl_dereference(rtnl_dereference(dev->ingress_queue)->qdisc_sleeping));
	hash_for_each(dev->qdisc_hash, i, sch, hash) {
		if (!err)
			err = take_note(list, mod, dev, sch);
	}
	return err;
}

static int collect(struct list_head *list, const struct module *mod)
{
	struct net_device *dev;
	struct net *net;
	int err = 0;

	down_read(&net_rwsem);
	rtnl_lock();
	for_each_net(net) {
		for_each_netdev(net, dev) {
			if (!err)
				err = take_note_of_all(list, mod, dev);
		}
	}
	rtnl_unlock();
	up_read(&net_rwsem);
	return err;
}

/* As a program would: the answer to the message. */
static int ask(struct net *net, const struct nlmsghdr *nlh)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct msghdr request = { .msg_name = &kernel, .msg_namelen = sizeof(kernel) };
	struct msghdr reply = { };
	struct {
		struct nlmsghdr nlh;
		struct nlmsgerr error;
	} answer = { };
	struct kvec vec = { .iov_base = (void *)nlh, .iov_len = nlh->nlmsg_len };
	struct socket *sock;
	struct file *file;
	int err;

	err = sock_create_kern(net, PF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &sock);
	if (err)
		return err;
	/* Whose rights count is asked of the socket's file. */
	file = sock_alloc_file(sock, O_CLOEXEC, NULL);
	if (IS_ERR(file))
		return PTR_ERR(file);
	err = kernel_sendmsg(sock, &request, &vec, 1, nlh->nlmsg_len);
	if (err >= 0) {
		vec = (struct kvec){ .iov_base = &answer, .iov_len = sizeof(answer) };
		err = kernel_recvmsg(sock, &reply, &vec, 1, sizeof(answer), MSG_DONTWAIT);
	}
	if (err >= 0)
		err = answer.nlh.nlmsg_type == NLMSG_ERROR ? answer.error.error : -EPROTO;
	fput(file);
	return err;
}

static int end(const struct ended *ended)
{
	struct {
		struct nlmsghdr nlh;
		struct tcmsg place;
	} message = {
		.nlh = { .nlmsg_len = sizeof(message), .nlmsg_type = RTM_DELQDISC,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.place = ended->place,
	};

	return ask(ended->net, &message.nlh);
}

/* -EBUSY: one is there by default, and would be again; or it will be, and holds the module. */
static int check(const struct list_head *list, const struct module *mod, struct libos_reset *reset)
{
	const struct ended *ended;

	list_for_each_entry(ended, list, node) {
		if (ended->place.tcm_handle)
			continue;
		scnprintf(reset->who, reset->who_len, "%s is there by default", ended->what);
		return -EBUSY;
	}
	if (default_qdisc_ops->owner == mod) {
		scnprintf(reset->who, reset->who_len, "net.core.default_qdisc names it");
		return -EBUSY;
	}
	return 0;
}

/* Before anything of the module's ends: whether its qdiscs can. */
int libos_check_qdiscs(const struct module *mod, struct libos_reset *reset)
{
	struct ended *ended, *next;
	LIST_HEAD(list);
	int err;

	err = collect(&list, mod) ?: check(&list, mod, reset);
	list_for_each_entry_safe(ended, next, &list, node)
		forget(ended);
	return err;
}

int libos_reset_qdiscs(const struct module *mod, struct libos_reset *reset)
{
	struct ended *ended, *next;
	LIST_HEAD(list);
	char what[128];
	int err;

	forget_all(mod->name);
	err = collect(&list, mod) ?: check(&list, mod, reset);
	list_for_each_entry_safe(ended, next, &list, node) {
		if (!err)
			err = end(ended);
		if (err) {
			forget(ended);
			continue;
		}
		scnprintf(what, sizeof(what), "%s, with %u packets in it; it is made anew with its options",
			  ended->what, ended->waiting);
		reset->ended(reset->cookie, what);
		list_move_tail(&ended->node, &all_ended);
	}
	return err;
}

/* The module is loaded again, in whichever build. */
void libos_remake_qdiscs(const char *module)
{
	struct ended *ended, *next;
	int err;

	list_for_each_entry_safe(ended, next, &all_ended, node) {
		if (strcmp(ended->module, module))
			continue;
		err = ask(ended->net, nlmsg_hdr(ended->message));
		if (err)
			pr_warn("%s: %s cannot be made anew: error %d\n", module, ended->what, -err);
		else
			pr_info("%s: %s is made anew\n", module, ended->what);
		forget(ended);
	}
}

#else

int libos_check_qdiscs(const struct module *mod, struct libos_reset *reset)
{
	return 0;
}

int libos_reset_qdiscs(const struct module *mod, struct libos_reset *reset)
{
	return 0;
}

void libos_remake_qdiscs(const char *module)
{
}

#endif
