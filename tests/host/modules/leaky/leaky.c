// SPDX-License-Identifier: GPL-2.0
/*
 * Takes one thing of the kind that its parameter `leak` names, in its init or, where that would be over by then,
 * in its exit; and gives nothing back. "none" leaks nothing, and "given_references" gives back what it takes.
 */
#include <linux/cdev.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/etherdevice.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/inetdevice.h>
#include <linux/interrupt.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/rtnetlink.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/sysctl.h>
#include <linux/timer.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <net/genetlink.h>
#include <net/inet_common.h>
#include <net/net_namespace.h>
#include <net/pkt_cls.h>
#include <net/pkt_sched.h>
#include <net/protocol.h>
#include <net/rtnetlink.h>
#include <net/sock.h>
#include <net/tcp.h>

static char *leak = "none";
module_param(leak, charp, 0444);

static unsigned long calls; /* into this module, by what is leaked */
module_param(calls, ulong, 0444);

/* -- memory ------------------------------------------------------------------------------------------ */

struct thing {
	struct thing *next;
	u64 payload[20];
	struct rcu_head rcu;
};

static struct thing *things;

static int take_block(void)
{
	things = kmalloc(sizeof(*things), GFP_KERNEL);
	return things ? 0 : -ENOMEM;
}

/* A chain, of which the module has the first only. */
static int take_chain(void)
{
	for (int i = 0; i < 3; i++) {
		struct thing *thing = kzalloc(sizeof(*thing), GFP_KERNEL);

		if (!thing)
			return -ENOMEM;
		thing->next = things;
		things = thing;
	}
	return 0;
}

/* One that the kernel knows of: the idle task's journal_info is nobody's. */
static int take_handed(void)
{
	init_task.journal_info = kzalloc(sizeof(*things), GFP_KERNEL);
	return 0;
}

static int take_string(void)
{
	return kasprintf(GFP_KERNEL, "leaky %d", 42) ? 0 : -ENOMEM;
}

static int take_pages(void)
{
	return vmalloc(100000) ? 0 : -ENOMEM;
}

static int take_percpu(void)
{
	return __alloc_percpu(sizeof(struct thing), 8) ? 0 : -ENOMEM;
}

static int take_skb(void)
{
	return alloc_skb(1000, GFP_KERNEL) ? 0 : -ENOMEM;
}

static int take_cache(void)
{
	return kmem_cache_create("leaky_things", sizeof(struct thing), 0, 0, NULL) ? 0 : -ENOMEM;
}

static int take_object(void)
{
	struct kmem_cache *cache = kmem_cache_create("leaky_things", sizeof(struct thing), 0, 0, NULL);

	return cache && kmem_cache_alloc(cache, GFP_KERNEL) ? 0 : -ENOMEM;
}

/* One that the kernel knows of: its cache cannot go. */
static int take_handed_object(void)
{
	struct kmem_cache *cache = kmem_cache_create("leaky_things", sizeof(struct thing), 0, 0, NULL);

	init_task.journal_info = cache ? kmem_cache_alloc(cache, GFP_KERNEL) : NULL;
	return init_task.journal_info ? 0 : -ENOMEM;
}

/* -- what runs later ----------------------------------------------------------------------------------- */

static struct timer_list timer;
static struct hrtimer hrtimer;
static struct work_struct work;
static struct delayed_work delayed_work;
static struct tasklet_struct tasklet;

static void tick(struct timer_list *unused)
{
	calls++;
	mod_timer(&timer, jiffies + msecs_to_jiffies(5));
}

static int take_timer(void)
{
	timer_setup(&timer, tick, 0);
	mod_timer(&timer, jiffies + msecs_to_jiffies(5));
	return 0;
}

static enum hrtimer_restart hrtick(struct hrtimer *unused)
{
	calls++;
	hrtimer_forward_now(&hrtimer, ms_to_ktime(5));
	return HRTIMER_RESTART;
}

static int take_hrtimer(void)
{
	hrtimer_init(&hrtimer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	hrtimer.function = hrtick;
	hrtimer_start(&hrtimer, ms_to_ktime(5), HRTIMER_MODE_REL);
	return 0;
}

static void do_work(struct work_struct *unused)
{
	calls++;
}

static int take_work(void)
{
	INIT_WORK(&work, do_work);
	queue_work(system_wq, &work);
	return 0;
}

static int take_delayed_work(void)
{
	INIT_DELAYED_WORK(&delayed_work, do_work);
	queue_delayed_work(system_wq, &delayed_work, msecs_to_jiffies(20));
	return 0;
}

static void do_tasklet(unsigned long unused)
{
	calls++;
}

static int take_tasklet(void)
{
	tasklet_init(&tasklet, do_tasklet, 0);
	tasklet_disable(&tasklet); /* it stays scheduled */
	tasklet_schedule(&tasklet);
	tasklet_enable(&tasklet);
	return 0;
}

static void free_thing(struct rcu_head *head)
{
	calls++;
	kfree(container_of(head, struct thing, rcu));
}

static int take_rcu(void)
{
	struct thing *thing = kzalloc(sizeof(*thing), GFP_KERNEL);

	if (thing)
		call_rcu(&thing->rcu, free_thing);
	return 0;
}

static int sleep_until_stopped(void *unused)
{
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static int sleep_for_ever(void *unused)
{
	for (;; calls++)
		schedule_timeout_uninterruptible(msecs_to_jiffies(20));
	return 0;
}

static int take_thread(void)
{
	return PTR_ERR_OR_ZERO(kthread_run(sleep_until_stopped, NULL, "leaky"));
}

static int take_stubborn(void)
{
	return PTR_ERR_OR_ZERO(kthread_run(sleep_for_ever, NULL, "stubborn"));
}

static int take_workqueue(void)
{
	return alloc_workqueue("leaky", 0, 0) ? 0 : -ENOMEM;
}

/* -- entries ------------------------------------------------------------------------------------------- */

static int show(struct seq_file *file, void *unused)
{
	seq_printf(file, "%lu\n", ++calls);
	return 0;
}

static int take_proc(void)
{
	return proc_create_single("leaky", 0444, NULL, show) ? 0 : -ENOMEM;
}

static int take_proc_net(void)
{
	return proc_create_net_single("leaky", 0444, init_net.proc_net, show, NULL) ? 0 : -ENOMEM;
}

static int open_entry(struct inode *inode, struct file *file)
{
	return single_open(file, show, NULL);
}

static const struct file_operations entry_ops = {
	.owner = THIS_MODULE,
	.open = open_entry,
	.read = seq_read,
	.release = single_release,
};

static int take_debugfs(void)
{
	return PTR_ERR_OR_ZERO(debugfs_create_file("leaky", 0444, NULL, NULL, &entry_ops));
}

static ssize_t show_attribute(struct kobject *kobj, struct kobj_attribute *attribute, char *text)
{
	return sysfs_emit(text, "%lu\n", ++calls);
}

static struct kobj_attribute attribute = __ATTR(leaky, 0444, show_attribute, NULL);
static struct attribute *attributes[] = { &attribute.attr, NULL };
static const struct attribute_group group = { .name = "leaky_group", .attrs = attributes };

static int take_sysfs(void)
{
	return sysfs_create_file(kernel_kobj, &attribute.attr);
}

static int take_sysfs_group(void)
{
	return sysfs_create_group(kernel_kobj, &group);
}

static int knob;
static struct ctl_table knobs[] = {
	{ .procname = "leaky", .data = &knob, .maxlen = sizeof(knob), .mode = 0644,
	  .proc_handler = proc_dointvec },
};

static int take_sysctl(void)
{
	return register_net_sysctl(&init_net, "net/leaky", knobs) ? 0 : -ENOMEM;
}

static int take_chrdev(void)
{
	dev_t numbers;

	return alloc_chrdev_region(&numbers, 0, 1, "leaky");
}

static struct class *class;

static int make_device(void)
{
	class = class_create("leaky");
	return IS_ERR(class) ? PTR_ERR(class) :
			       PTR_ERR_OR_ZERO(device_create(class, NULL, MKDEV(240, 0), NULL, "leaky"));
}

static int destroy_device(void)
{
	device_destroy(class, MKDEV(240, 0));
	class_destroy(class);
	return 0;
}

/* -- registrations ---------------------------------------------------------------------------------------- */

static const struct genl_ops genl_ops[] = { };
static struct genl_family family = { .name = "leaky", .version = 1, .module = THIS_MODULE };

static int take_genl(void)
{
	return genl_register_family(&family);
}

static unsigned int hook(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	calls++;
	return NF_ACCEPT;
}

static const struct nf_hook_ops hooks[] = {
	{ .hook = hook, .pf = NFPROTO_IPV4, .hooknum = NF_INET_LOCAL_IN },
	{ .hook = hook, .pf = NFPROTO_IPV4, .hooknum = NF_INET_LOCAL_OUT },
};

static int take_nf_hook(void)
{
	return nf_register_net_hook(&init_net, &hooks[0]);
}

static int take_nf_hooks(void)
{
	return nf_register_net_hooks(&init_net, hooks, ARRAY_SIZE(hooks));
}

static int notified(struct notifier_block *block, unsigned long event, void *data)
{
	calls++;
	return NOTIFY_DONE;
}

static struct notifier_block notifier = { .notifier_call = notified };

static int take_notifier(void)
{
	return register_netdevice_notifier(&notifier);
}

static int __net_init enter_net(struct net *net)
{
	calls++;
	return proc_create_net_single("leaky", 0444, net->proc_net, show, NULL) ? 0 : -ENOMEM;
}

static void __net_exit leave_net(struct net *net)
{
	calls++;
	remove_proc_entry("leaky", net->proc_net);
}

static struct pernet_operations pernet = { .init = enter_net, .exit = leave_net };

/* What its exit takes back is not taken back twice. */
static int take_pernet(void)
{
	return register_pernet_subsys(&pernet);
}

static netdev_tx_t transmit(struct sk_buff *skb, struct net_device *dev)
{
	calls++;
	kfree_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops device_ops = { .ndo_start_xmit = transmit };

static void set_up(struct net_device *dev)
{
	ether_setup(dev);
	dev->netdev_ops = &device_ops;
	eth_hw_addr_random(dev);
}

static int take_device(void)
{
	struct net_device *dev = alloc_netdev(0, "leaky%d", NET_NAME_UNKNOWN, set_up);

	return dev ? register_netdev(dev) : -ENOMEM;
}

static int take_device_memory(void)
{
	return alloc_netdev(0, "leaky%d", NET_NAME_UNKNOWN, set_up) ? 0 : -ENOMEM;
}

static struct rtnl_link_ops link_ops = { .kind = "leaky", .setup = set_up };

static int take_link_type(void)
{
	return rtnl_link_register(&link_ops);
}

static int receive(struct sk_buff *skb, struct net_device *dev, struct packet_type *type,
		   struct net_device *orig)
{
	calls++;
	kfree_skb(skb);
	return NET_RX_SUCCESS;
}

static struct packet_type packet_type = { .type = cpu_to_be16(ETH_P_ALL), .func = receive };

static int take_packet_type(void)
{
	dev_add_pack(&packet_type);
	return 0;
}

static struct proto proto = { .name = "LEAKY", .owner = THIS_MODULE, .obj_size = sizeof(struct sock) };

static int take_proto(void)
{
	return proto_register(&proto, 1);
}

static int create(struct net *net, struct socket *sock, int protocol, int kern)
{
	calls++;
	return -EPROTONOSUPPORT;
}

static const struct net_proto_family address_family = { .family = PF_IEEE802154, .create = create };

static int take_family(void)
{
	return sock_register(&address_family);
}

static int handle(struct sk_buff *skb)
{
	calls++;
	kfree_skb(skb);
	return 0;
}

static const struct net_protocol ip_protocol = { .handler = handle, .no_policy = 1 };

static int take_ip_protocol(void)
{
	return inet_add_protocol(&ip_protocol, 200);
}

static int enqueue(struct sk_buff *skb, struct Qdisc *sch, struct sk_buff **to_free)
{
	calls++;
	return qdisc_drop(skb, sch, to_free);
}

static struct Qdisc_ops qdisc_ops = { .id = "leaky", .enqueue = enqueue, .owner = THIS_MODULE };

static int take_qdisc(void)
{
	return register_qdisc(&qdisc_ops);
}

static struct tcp_congestion_ops cc_ops = {
	.name = "leaky",
	.ssthresh = tcp_reno_ssthresh,
	.undo_cwnd = tcp_reno_undo_cwnd,
	.cong_avoid = tcp_reno_cong_avoid,
	.owner = THIS_MODULE,
};

static int take_cc(void)
{
	return tcp_register_congestion_control(&cc_ops);
}

static struct tcp_ulp_ops ulp_ops = { .name = "leaky", .owner = THIS_MODULE };

static int take_ulp(void)
{
	return tcp_register_ulp(&ulp_ops);
}

static int take_socket(void)
{
	struct socket *sock;

	return sock_create_kern(&init_net, PF_INET, SOCK_DGRAM, IPPROTO_UDP, &sock);
}

/* -- references ------------------------------------------------------------------------------------------------- */

static int holds = 3; /* a parameter, or the compiler makes three places of the one */
module_param(holds, int, 0444);

static int take_dev_hold(void)
{
	for (int i = 0; i < holds; i++)
		dev_hold(init_net.loopback_dev);
	return 0;
}

static int take_dev_by_name(void)
{
	return dev_get_by_name(&init_net, "lo") ? 0 : -ENODEV;
}

static int take_dev_by_address(void)
{
	return ip_dev_find(&init_net, htonl(INADDR_LOOPBACK)) ? 0 : -ENODEV;
}

static netdevice_tracker dev_tracker;

static int take_netdev_hold(void)
{
	netdev_hold(init_net.loopback_dev, &dev_tracker, GFP_KERNEL);
	return 0;
}

static int take_netdev_by_name(void)
{
	return netdev_get_by_name(&init_net, "lo", &dev_tracker, GFP_KERNEL) ? 0 : -ENODEV;
}

static int take_get_net(void)
{
	get_net(&init_net);
	return 0;
}

static int take_maybe_get_net(void)
{
	return maybe_get_net(&init_net) ? 0 : -ENODEV;
}

static netns_tracker net_tracker;

static int take_get_net_track(void)
{
	get_net_track(&init_net, &net_tracker, GFP_KERNEL);
	return 0;
}

static int take_sock_hold(void)
{
	sock_hold(init_net.genl_sock);
	return 0;
}

static struct tcf_exts exts;

/* One of each, given back in a way that goes with it. */
static int take_references(void)
{
	struct net_device *lo = init_net.loopback_dev;
	struct net_device *dev __free(dev_put) = dev_get_by_index(&init_net, lo->ifindex);
	int err = take_dev_hold() ?: take_dev_by_name() ?: take_dev_by_address() ?: take_netdev_hold();

	if (err)
		return err;
	netdev_ref_replace(lo, lo, &dev_tracker, GFP_KERNEL);
	netdev_put(lo, &dev_tracker);
	for (int i = 0; i <= holds; i++)
		dev_put(lo);
	netdev_tracker_alloc(lo, &dev_tracker, GFP_KERNEL);
	netdev_put(lo, &dev_tracker);
	err = take_netdev_by_name();
	if (err)
		return err;
	netdev_put(lo, &dev_tracker);

	err = take_get_net() ?: take_maybe_get_net() ?: take_get_net_track();
	if (err)
		return err;
	put_net(&init_net);
	put_net_track(&init_net, &net_tracker);
	netns_tracker_alloc(&init_net, &net_tracker, GFP_KERNEL);
	put_net_track(&init_net, &net_tracker);
	exts.net = &init_net;
	if (tcf_exts_get_net(&exts))
		tcf_exts_put_net(&exts);

	take_sock_hold();
	take_sock_hold();
	sock_put(init_net.genl_sock);
	__sock_put(init_net.genl_sock);
	return 0;
}

static struct socket *own;

/* Handed to a packet, which the kernel frees; `own` lives on. */
static int hand_over_socket(void)
{
	struct sk_buff *skb;
	int err = sock_create_kern(&init_net, PF_INET, SOCK_DGRAM, IPPROTO_UDP, &own);

	if (err)
		return err;
	skb = alloc_skb(100, GFP_KERNEL);
	if (!skb)
		return -ENOMEM;
	sock_hold(own->sk);
	skb->sk = own->sk;
	skb->destructor = sock_efree;
	kfree_skb(skb);
	return 0;
}

static int release_socket(void)
{
	sock_release(own);
	return 0;
}

static int put_devices(void)
{
	for (int i = 0; i < holds; i++)
		dev_put(init_net.loopback_dev);
	return 0;
}

/* ------------------------------------------------------------------------------------------------------------ */

static int take_many(void)
{
	return take_block() ?: take_timer() ?: take_proc() ?: take_notifier() ?: take_workqueue();
}

static const struct kind {
	const char *name;
	int (*take)(void);
	bool at_exit;
	bool fails; /* the init does, after it has taken it */
	int (*give)(void); /* at the exit */
} kinds[] = {
	{ "block", take_block },
	{ "chain", take_chain },
	{ "handed", take_handed },
	{ "string", take_string },
	{ "pages", take_pages },
	{ "percpu", take_percpu },
	{ "skb", take_skb },
	{ "cache", take_cache },
	{ "object", take_object },
	{ "handed_object", take_handed_object },
	{ "timer", take_timer },
	{ "hrtimer", take_hrtimer },
	{ "work", take_work, true },
	{ "delayed_work", take_delayed_work, true },
	{ "tasklet", take_tasklet, true },
	{ "rcu", take_rcu, true },
	{ "thread", take_thread },
	{ "stubborn", take_stubborn },
	{ "workqueue", take_workqueue },
	{ "proc", take_proc },
	{ "proc_net", take_proc_net },
	{ "debugfs", take_debugfs },
	{ "sysfs", take_sysfs },
	{ "sysfs_group", take_sysfs_group },
	{ "sysctl", take_sysctl },
	{ "chrdev", take_chrdev },
	{ "genl", take_genl },
	{ "nf_hook", take_nf_hook },
	{ "nf_hooks", take_nf_hooks },
	{ "notifier", take_notifier },
	{ "pernet", take_pernet },
	{ "device", take_device },
	{ "device_memory", take_device_memory },
	{ "link_type", take_link_type },
	{ "packet_type", take_packet_type },
	{ "proto", take_proto },
	{ "family", take_family },
	{ "ip_protocol", take_ip_protocol },
	{ "qdisc", take_qdisc },
	{ "cc", take_cc },
	{ "ulp", take_ulp },
	{ "socket", take_socket },
	{ "dev_hold", take_dev_hold },
	{ "dev_by_name", take_dev_by_name },
	{ "dev_by_address", take_dev_by_address },
	{ "netdev_hold", take_netdev_hold },
	{ "netdev_by_name", take_netdev_by_name },
	{ "get_net", take_get_net },
	{ "maybe_get_net", take_maybe_get_net },
	{ "get_net_track", take_get_net_track },
	{ "sock_hold", take_sock_hold },
	{ "given_references", take_references },
	{ "references_given_at_exit", take_dev_hold, .give = put_devices },
	{ "handed_socket", hand_over_socket, .give = release_socket },
	{ "device_given_by_number", make_device, .give = destroy_device },
	{ "many", take_many },
	{ "failing", take_many, false, true },
};

static const struct kind *find_kind(void)
{
	for (int i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strcmp(kinds[i].name, leak))
			return &kinds[i];
	}
	return NULL;
}

static int __init leaky_init(void)
{
	const struct kind *kind = find_kind();
	int err;

	if (!kind)
		return strcmp(leak, "none") ? -EINVAL : 0;
	if (kind->at_exit)
		return 0;
	err = kind->take();
	return err ?: kind->fails ? -ENODEV : 0;
}

static void __exit leaky_exit(void)
{
	const struct kind *kind = find_kind();

	if (kind && kind->at_exit)
		kind->take();
	if (kind && kind->give)
		kind->give();
}

module_init(leaky_init);
module_exit(leaky_exit);
MODULE_DESCRIPTION("gives nothing back");
MODULE_LICENSE("GPL");
