// SPDX-License-Identifier: GPL-2.0
/*
 * What the ledger knows of each kind of thing: its words, whether one is still there, how it is taken back.
 *
 * Whether something is pending is asked of the object, which may be memory that was freed and has another
 * use by now, if it is not the module's own to tell us. So it must say three things that no other memory
 * says: the function that it will call, its state, and a link that leads back to it.
 */
#include <linux/cdev.h>
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/kallsyms.h>
#include <linux/kernfs.h>
#include <linux/kthread.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter/x_tables.h>
#include <linux/notifier.h>
#include <linux/proc_fs.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <net/act_api.h>
#include <net/genetlink.h>
#include <net/mptcp.h>
#include <net/net_namespace.h>
#include <net/netfilter/nf_tables.h>
#include <net/pkt_cls.h>
#include <net/protocol.h>
#include <net/rtnetlink.h>
#include <net/sch_generic.h>
#include <net/sock.h>
#include <net/tcp.h>
#include <../fs/proc/internal.h>
#include <../mm/slab.h>
#include "ledger.h"
#include "plugin.h"

void __wrap_tcp_unregister_congestion_control(struct tcp_congestion_ops *ca);

DECLARE_PER_CPU(struct hrtimer_cpu_base, hrtimer_bases); /* kernel/time/hrtimer.c */

/* A word that may be anywhere. */
static unsigned long word(const void *at)
{
	unsigned long value = 0;

	return copy_from_kernel_nofault(&value, at, sizeof(value)) ? 0 : value;
}

static u8 byte(const void *at)
{
	u8 value = 0;

	return copy_from_kernel_nofault(&value, at, sizeof(value)) ? 0 : value;
}

static void *key(const struct ledger_record *record)
{
	return (void *)ledger_key(record);
}

/* -- is it there ------------------------------------------------------------------------------------- */

static bool timer_is_pending(const struct timer_list *timer, const void *function)
{
	const void *link = (void *)word(&timer->entry.pprev);

	return word(&timer->function) == (unsigned long)function && link &&
	       word(link) == (unsigned long)&timer->entry;
}

static bool timer_there(const struct ledger_record *record)
{
	return timer_is_pending(key(record), record->function);
}

/* On one of the kernel's clocks, and said to be so. */
static bool hrtimer_there(const struct ledger_record *record)
{
	const struct hrtimer *timer = key(record);
	const struct hrtimer_cpu_base *cpu = this_cpu_ptr(&hrtimer_bases);
	unsigned long base = word(&timer->base);

	return word(&timer->function) == (unsigned long)record->function &&
	       base >= (unsigned long)&cpu->clock_base[0] &&
	       base < (unsigned long)&cpu->clock_base[HRTIMER_MAX_CLOCK_BASES] &&
	       byte(&timer->state) & HRTIMER_STATE_ENQUEUED;
}

static bool work_is_queued(const struct work_struct *work, const void *function)
{
	const struct list_head *next = (void *)word(&work->entry.next);

	return word(&work->func) == (unsigned long)function &&
	       word(&work->data) & WORK_STRUCT_PENDING && next && next != &work->entry &&
	       word(&next->prev) == (unsigned long)&work->entry;
}

static bool work_there(const struct ledger_record *record)
{
	return work_is_queued(key(record), record->function);
}

static bool delayed_work_there(const struct ledger_record *record)
{
	const struct delayed_work *work = key(record);

	return work_is_queued(&work->work, record->function) ||
	       (word(&work->work.func) == (unsigned long)record->function &&
		timer_is_pending(&work->timer, delayed_work_timer_fn));
}

static bool tasklet_there(const struct ledger_record *record)
{
	const struct tasklet_struct *tasklet = key(record);

	return word(&tasklet->func) == (unsigned long)record->function &&
	       word(&tasklet->state) & BIT(TASKLET_STATE_SCHED);
}

/* Memory that is still allocated from here on: the allocator would have told of its end. */

static bool thread_there(const struct ledger_record *record)
{
	const struct task_struct *task = key(record);

	return !(task->flags & PF_EXITING);
}

static bool proc_there(const struct ledger_record *record)
{
	const struct proc_dir_entry *entry = key(record);

	return !RB_EMPTY_NODE(&entry->subdir_node);
}

static bool debugfs_there(const struct ledger_record *record)
{
	struct dentry *dentry = key(record);

	return !d_unhashed(dentry);
}

static bool sysfs_there(const struct ledger_record *record)
{
	const struct kernfs_node *node = record->pin;

	return node && !RB_EMPTY_NODE(&node->rb);
}

static bool netdev_there(const struct ledger_record *record)
{
	const struct net_device *dev = key(record);

	return dev->reg_state == NETREG_REGISTERED;
}

/* device_destroy() knows it by its number. */
static bool device_there(const struct ledger_record *record)
{
	return device_is_registered(key(record));
}

static bool file_there(const struct ledger_record *record)
{
	struct file *file = key(record);

	return file_count(file);
}

static int leave_reference(struct ledger_record *record)
{
	strscpy(record->place->sum.why, "nothing tells whether it was handed over");
	return -EPERM;
}

#ifdef CONFIG_REF_TRACKER

static bool is_of_namespace(const struct ref_tracker_dir *dir)
{
	return !strncmp(dir->name, "net ", 4); /* no device has a blank in its name */
}

/* The namespace whose references do not keep it alive has another directory. */
static bool is_of_passive(const struct ref_tracker_dir *dir)
{
	return !strcmp(dir->name, "net notrefcnt");
}

unsigned long libos_ledger_owner(const struct ref_tracker_dir *dir)
{
	if (is_of_passive(dir))
		return (unsigned long)container_of(dir, struct net, notrefcnt_tracker);
	if (is_of_namespace(dir))
		return (unsigned long)container_of(dir, struct net, refcnt_tracker);
	return (unsigned long)container_of(dir, struct net_device, refcnt_tracker);
}

unsigned long libos_ledger_references(const struct net_device *dev)
{
	return (unsigned long)&dev->refcnt_tracker;
}

/* Of those without a tracker only the number is known. */
static bool reference_there(const struct ledger_record *record)
{
	const struct ref_tracker_dir *dir = (void *)record->count;
	const struct list_head *at;

	if (!ledger_more(record))
		return refcount_read(&dir->no_tracker) > 1;
	list_for_each(at, &dir->list) {
		if ((unsigned long)at == ledger_more(record)) /* a tracker begins with its node */
			return true;
	}
	return false;
}

static int put_reference(struct ledger_record *record)
{
	struct ref_tracker *tracker = (void *)ledger_more(record);
	struct ref_tracker_dir *dir = (void *)record->count;

	if (!tracker)
		return leave_reference(record);
	if (is_of_passive(dir))
		__netns_tracker_free(key(record), &tracker, false);
	else if (is_of_namespace(dir))
		put_net_track(key(record), &tracker);
	else
		netdev_put(key(record), &tracker);
	return 0;
}

static void reference_name(const struct ledger_record *record, char *name, size_t len)
{
	const struct net_device *dev = key(record);

	strscpy(name, is_of_namespace((void *)record->count) ? "network namespace" : dev->name, len);
}

#else

unsigned long libos_ledger_owner(const struct ref_tracker_dir *dir)
{
	return 0;
}

unsigned long libos_ledger_references(const struct net_device *dev)
{
	return 0;
}

static bool reference_there(const struct ledger_record *record)
{
	return true;
}

static int put_reference(struct ledger_record *record)
{
	return -EOPNOTSUPP;
}

static void reference_name(const struct ledger_record *record, char *name, size_t len)
{
	name[0] = 0;
}

#endif

bool libos_ledger_there(const struct ledger_record *record)
{
	const struct ledger_kind *kind = &libos_ledger_kinds[record->class];

	return !kind->there || kind->there(record);
}

bool libos_ledger_is_of(const struct ledger_record *object, const struct ledger_record *cache)
{
	const struct slab *slab = virt_to_slab(key(object));

	return slab && slab->slab_cache == key(cache);
}

static bool is_cache(const struct ledger_record *record)
{
	return record->class == LEDGER_CACHE;
}

struct ledger_record *libos_ledger_cache_of(const struct ledger_record *object)
{
	const struct slab *slab = virt_to_slab(key(object));
	struct ledger_record *cache;

	cache = slab ? libos_ledger_find((unsigned long)slab->slab_cache, is_cache) : NULL;
	/* Two modules' caches of one size can be one. */
	return cache && cache->place->ledger == object->place->ledger ? cache : NULL;
}

/* -- what a record keeps besides the key ---------------------------------------------------------------- */

static struct kernfs_node *find_entry(const struct kobject *kobj, const char *name)
{
	struct rb_node *at;

	if (!kobj->sd || kernfs_type(kobj->sd) != KERNFS_DIR)
		return NULL;
	for (at = rb_first(&kobj->sd->dir.children); at; at = rb_next(at)) {
		struct kernfs_node *node = rb_entry(at, struct kernfs_node, rb);

		if (!strcmp(node->name, name))
			return node;
	}
	return NULL;
}

static const char *group_name(const struct attribute_group *group)
{
	if (group->name)
		return group->name;
	if (group->attrs && group->attrs[0])
		return group->attrs[0]->name;
	return group->bin_attrs && group->bin_attrs[0] ? group->bin_attrs[0]->attr.name : "";
}

void libos_ledger_taken(struct ledger_record *record)
{
	const struct ledger_record *cache;
	const void *object = key(record);
	struct kernfs_node *node;

	switch (record->class) {
	case LEDGER_TIMER:
		record->function = (void *)((const struct timer_list *)object)->function;
		break;
	case LEDGER_HRTIMER:
		record->function = (void *)((const struct hrtimer *)object)->function;
		break;
	case LEDGER_WORK:
	case LEDGER_DELAYED_WORK:
		record->function = (void *)((const struct work_struct *)object)->func;
		break;
	case LEDGER_TASKLET:
		record->function = (void *)((const struct tasklet_struct *)object)->func;
		break;
	case LEDGER_OBJECT:
		cache = libos_ledger_cache_of(record);
		if (cache)
			record->count = cache->count;
		else if (virt_to_slab(object))
			record->count = kmem_cache_size(virt_to_slab(object)->slab_cache);
		break;
	case LEDGER_MEMORY:
		/* A string: how long it is can be told afterwards only. */
		if (!record->count)
			record->count = ksize(object);
		break;
	case LEDGER_SYSFS:
	case LEDGER_SYSFS_GROUP:
		node = find_entry((void *)ledger_more(record),
				  record->class == LEDGER_SYSFS ?
					  ((const struct attribute *)object)->name :
					  group_name(object));
		if (node && !record->pin) {
			kernfs_get(node);
			record->pin = node;
		}
		break;
	}
}

void libos_ledger_dropped(struct ledger_record *record)
{
	if (record->pin)
		kernfs_put(record->pin);
	record->pin = NULL;
}

int libos_ledger_protocol(const struct rtnl_msg_handler *handler)
{
	return handler->protocol;
}

/* -- taking back ------------------------------------------------------------------------------------------ */

static int cancel_timer(struct ledger_record *record)
{
	timer_delete_sync(key(record));
	return 0;
}

static int cancel_hrtimer(struct ledger_record *record)
{
	hrtimer_cancel(key(record));
	return 0;
}

static int cancel_work_item(struct ledger_record *record)
{
	cancel_work_sync(key(record));
	return 0;
}

static int cancel_delayed_item(struct ledger_record *record)
{
	cancel_delayed_work_sync(key(record));
	return 0;
}

static int kill_tasklet(struct ledger_record *record)
{
	tasklet_kill(key(record));
	return 0;
}

static int wait_for_rcu(struct ledger_record *record)
{
	rcu_barrier();
	return 0;
}

static int delete_device(struct ledger_record *record)
{
	struct net_device *dev = key(record);

	rtnl_lock();
	if (dev->reg_state == NETREG_REGISTERED)
		unregister_netdevice(dev);
	rtnl_unlock();
	return 0;
}

static int free_device(struct ledger_record *record)
{
	struct net_device *dev = key(record);

	if (dev->reg_state != NETREG_UNINITIALIZED && dev->reg_state != NETREG_UNREGISTERED)
		return -EBUSY;
	free_netdev(dev);
	return 0;
}

static int take_rx_handler(struct ledger_record *record)
{
	rtnl_lock();
	netdev_rx_handler_unregister(key(record));
	rtnl_unlock();
	return 0;
}

static int unregister_cc(struct ledger_record *record)
{
	__wrap_tcp_unregister_congestion_control(key(record));
	return 0;
}

static int remove_sysfs(struct ledger_record *record)
{
	struct kobject *kobj = (void *)ledger_more(record);

	sysfs_remove_file(kobj, key(record));
	return 0;
}

static int remove_sysfs_group(struct ledger_record *record)
{
	struct kobject *kobj = (void *)ledger_more(record);

	sysfs_remove_group(kobj, key(record));
	return 0;
}

static int close_file(struct ledger_record *record)
{
	return filp_close(key(record), NULL);
}

struct stopping {
	struct task_struct *task;
	struct completion done;
};

static int stop(void *arg)
{
	struct stopping *stopping = arg;

	kthread_stop(stopping->task);
	complete(&stopping->done);
	return 0;
}

/* A thread that does not look for its end would be waited for without one. */
static int stop_thread(struct ledger_record *record)
{
	struct stopping *stopping = kzalloc(sizeof(*stopping), GFP_KERNEL);
	struct task_struct *helper;

	if (!stopping)
		return -ENOMEM;
	stopping->task = key(record);
	init_completion(&stopping->done);
	helper = kthread_run(stop, stopping, "ledger");
	if (IS_ERR(helper)) {
		kfree(stopping);
		return PTR_ERR(helper);
	}
	if (!wait_for_completion_timeout(&stopping->done, HZ)) {
		strscpy(record->place->sum.why, "it does not end");
		return -ETIMEDOUT; /* what the helper still waits for is its own */
	}
	kfree(stopping);
	return 0;
}

/* -- the words ---------------------------------------------------------------------------------------------- */

enum { NAME_NONE, NAME_IN, NAME_AT, NAME_REFERENCE, NAME_NETNS, NAME_SOCKET, CALLS_AT, CALLS };

/* As %ps, without the module in brackets. */
static void function_name(unsigned long address, char *name, size_t len)
{
	char buffer[KSYM_NAME_LEN];
	unsigned long size, offset;
	char *mod;

	strscpy(name, kallsyms_lookup(address, &size, &offset, &mod, buffer) ?: "", len);
}

void libos_ledger_name(const struct ledger_record *record, char *name, size_t len)
{
	const struct ledger_kind *kind = &libos_ledger_kinds[record->class];
	const void *at = key(record) + kind->offset;

	name[0] = 0;
	switch (kind->name) {
	case NAME_AT:
		at = (void *)word(at);
		fallthrough;
	case NAME_IN:
		if (strncpy_from_kernel_nofault(name, at, len) < 0)
			name[0] = 0;
		name[len - 1] = 0;
		break;
	case NAME_REFERENCE:
		reference_name(record, name, len);
		break;
	case NAME_NETNS:
		strscpy(name, "network namespace", len);
		break;
	case NAME_SOCKET:
		scnprintf(name, len, "%s socket", ((const struct sock *)at)->sk_prot->name);
		break;
	case CALLS_AT:
		function_name(word(at), name, len);
		break;
	case CALLS:
		function_name((unsigned long)record->function, name, len);
		break;
	}
}

#define WORDS(one_, many_, verb_, undone_) \
	.one = one_, .many = many_, .verb = verb_, .undone = undone_
#define NAMED_IN(type, member) .name = NAME_IN, .offset = offsetof(type, member)
#define NAMED_AT(type, member) .name = NAME_AT, .offset = offsetof(type, member)
#define CALLING(type, member) .name = CALLS_AT, .offset = offsetof(type, member)
/* Counted by us, not by the kernel. */
#define REFERENCES                                              \
	WORDS("reference", "references", "taken", "given back"), \
	.phase = 4, .flags = LEDGER_HEAP | LEDGER_SUMMED | LEDGER_NO_CODE, .undo = leave_reference

/*
 * Phases of a clean-up: what is pending ends before anything sleeps (0); threads before what they use goes (1);
 * what runs the module's code when it is taken back may give back other things itself (2); the rest of what
 * leads into the module (3); queues and references (4); memory (5) before what it is from (6).
 */
const struct ledger_kind libos_ledger_kinds[LEDGER_CLASSES] = {
	[LEDGER_THREAD] = { WORDS("kernel thread", "kernel threads", "started", "stopped"), .phase = 1,
			    .flags = LEDGER_HEAP, .there = thread_there, .undo = stop_thread,
			    NAMED_IN(struct task_struct, comm) },

	[LEDGER_PERNET] = { WORDS("set of namespace operations", "sets of namespace operations", "registered",
				  "unregistered"), .phase = 2, .flags = LEDGER_SIZES,
			    CALLING(struct pernet_operations, init) },
	[LEDGER_NETDEV] = { WORDS("network device", "network devices", "registered", "unregistered"), .phase = 2,
			    .flags = LEDGER_HEAP, .there = netdev_there, .undo = delete_device,
			    NAMED_IN(struct net_device, name) },
	[LEDGER_LINK_TYPE] = { WORDS("link type", "link types", "registered", "unregistered"), .phase = 2,
			       .flags = LEDGER_SIZES, NAMED_AT(struct rtnl_link_ops, kind) },
	[LEDGER_NOTIFIER] = { WORDS("notifier", "notifiers", "registered", "unregistered"), .phase = 2,
			      CALLING(struct notifier_block, notifier_call) },
	[LEDGER_CDEV] = { WORDS("character device", "character devices", "added", "deleted"), .phase = 2 },
	[LEDGER_DEVICE] = { WORDS("device", "devices", "registered", "unregistered"), .phase = 2,
			    .flags = LEDGER_HEAP, .there = device_there },
	[LEDGER_ACTION] = { WORDS("action", "actions", "registered", "unregistered"), .phase = 2,
			    NAMED_IN(struct tc_action_ops, kind) },
	[LEDGER_XT_TABLE] = { WORDS("table of rules", "tables of rules", "registered", "left"), .phase = 2 },
	[LEDGER_KERNEL_SOCKET] = { WORDS("kernel socket", "kernel sockets", "created", "released"), .phase = 2,
				   .flags = LEDGER_HEAP },
	[LEDGER_NETLINK] = { WORDS("netlink socket", "netlink sockets", "created", "released"), .phase = 2,
			     .flags = LEDGER_HEAP },

	[LEDGER_CC] = { WORDS("congestion control", "congestion controls", "registered", "unregistered"),
			.phase = 3, .undo = unregister_cc, NAMED_IN(struct tcp_congestion_ops, name) },
	[LEDGER_ULP] = { WORDS("upper layer protocol", "upper layer protocols", "registered", "unregistered"),
			 .phase = 3, NAMED_IN(struct tcp_ulp_ops, name) },
	[LEDGER_MPTCP_SCHEDULER] = { WORDS("MPTCP scheduler", "MPTCP schedulers", "registered", "unregistered"),
				     .phase = 3, NAMED_IN(struct mptcp_sched_ops, name) },
	[LEDGER_PROTO] = { WORDS("transport protocol", "transport protocols", "registered", "unregistered"),
			   .phase = 3, .flags = LEDGER_SIZES, NAMED_IN(struct proto, name) },
	[LEDGER_PROTOSW] = { WORDS("socket type", "socket types", "registered", "unregistered"), .phase = 3 },
	[LEDGER_FAMILY] = { WORDS("address family", "address families", "registered", "unregistered"),
			    .phase = 3 },
	[LEDGER_IP_PROTOCOL] = { WORDS("IP protocol handler", "IP protocol handlers", "registered",
				       "unregistered"), .phase = 3,
				 CALLING(struct net_protocol, handler) },
	[LEDGER_OFFLOAD] = { WORDS("offload", "offloads", "registered", "unregistered"), .phase = 3 },
	[LEDGER_PACKET_TYPE] = { WORDS("packet handler", "packet handlers", "registered", "unregistered"),
				 .phase = 3, CALLING(struct packet_type, func) },
	[LEDGER_RX_HANDLER] = { WORDS("receive handler", "receive handlers", "registered", "unregistered"),
				.phase = 3, .undo = take_rx_handler, NAMED_IN(struct net_device, name) },
	[LEDGER_NF_HOOK] = { WORDS("netfilter hook", "netfilter hooks", "registered", "unregistered"), .phase = 3,
			     CALLING(struct nf_hook_ops, hook) },
	[LEDGER_XT_MATCH] = { WORDS("match", "matches", "registered", "unregistered"), .phase = 3,
			      NAMED_IN(struct xt_match, name) },
	[LEDGER_XT_TARGET] = { WORDS("target", "targets", "registered", "unregistered"), .phase = 3,
			       NAMED_IN(struct xt_target, name) },
	[LEDGER_NFT_EXPR] = { WORDS("nftables expression", "nftables expressions", "registered", "unregistered"),
			      .phase = 3, NAMED_AT(struct nft_expr_type, name) },
	[LEDGER_NFT_OBJ] = { WORDS("nftables object type", "nftables object types", "registered",
				   "unregistered"), .phase = 3 },
	[LEDGER_QDISC] = { WORDS("qdisc", "qdiscs", "registered", "unregistered"), .phase = 3,
			   .flags = LEDGER_SIZES, NAMED_IN(struct Qdisc_ops, id) },
	[LEDGER_CLASSIFIER] = { WORDS("classifier", "classifiers", "registered", "unregistered"), .phase = 3,
				NAMED_IN(struct tcf_proto_ops, kind) },
	[LEDGER_GENL] = { WORDS("generic netlink family", "generic netlink families", "registered",
				"unregistered"), .phase = 3, NAMED_IN(struct genl_family, name) },
	[LEDGER_RTNL_MESSAGE] = { WORDS("registration of rtnetlink handlers", "registrations of rtnetlink handlers", "made",
					"taken back"), .phase = 3 },
	[LEDGER_CRYPTO] = { WORDS("algorithm", "algorithms", "registered", "unregistered"), .phase = 3 },
	[LEDGER_REGISTRATION] = { WORDS("registration", "registrations", "made", "taken back"), .phase = 3 },
	[LEDGER_CHRDEV] = { WORDS("character device", "character devices", "registered", "unregistered"),
			    .phase = 3, .name = NAME_IN },
	[LEDGER_CHRDEV_REGION] = { WORDS("range of device numbers", "ranges of device numbers", "taken",
					 "given back"), .phase = 3, .flags = LEDGER_NO_CODE },
	[LEDGER_PROC] = { WORDS("proc entry", "proc entries", "created", "removed"), .phase = 3,
			  .flags = LEDGER_HEAP, .there = proc_there, NAMED_AT(struct proc_dir_entry, name) },
	[LEDGER_DEBUGFS] = { WORDS("debugfs entry", "debugfs entries", "created", "removed"), .phase = 3,
			     .flags = LEDGER_HEAP, .there = debugfs_there,
			     NAMED_AT(struct dentry, d_name.name) },
	[LEDGER_SYSFS] = { WORDS("sysfs file", "sysfs files", "created", "removed"), .phase = 3,
			   .there = sysfs_there, .undo = remove_sysfs, NAMED_AT(struct attribute, name) },
	[LEDGER_SYSFS_GROUP] = { WORDS("sysfs group", "sysfs groups", "created", "removed"), .phase = 3,
				 .there = sysfs_there, .undo = remove_sysfs_group,
				 NAMED_AT(struct attribute_group, name) },
	[LEDGER_KOBJECT] = { WORDS("kernel object", "kernel objects", "added", "put"), .phase = 3,
			     NAMED_AT(struct kobject, name) },
	[LEDGER_SYSCTL] = { WORDS("sysctl table", "sysctl tables", "registered", "unregistered"), .phase = 3,
			    .flags = LEDGER_HEAP },
	[LEDGER_FILE] = { WORDS("file", "files", "opened", "closed"), .phase = 3,
			  .flags = LEDGER_HEAP | LEDGER_NO_CODE, .there = file_there, .undo = close_file },
	[LEDGER_MODULE_REF] = { WORDS("reference to a module", "references to modules", "taken", "given back"),
				.phase = 3, .flags = LEDGER_COUNTED | LEDGER_NO_CODE,
				NAMED_IN(struct module, name) },
	[LEDGER_REFERENCE] = { WORDS("reference", "references", "taken", "given back"), .phase = 4,
			       .flags = LEDGER_HEAP | LEDGER_COUNTED | LEDGER_NO_CODE, .there = reference_there,
			       .undo = put_reference, .name = NAME_REFERENCE },

	[LEDGER_DEVICE_REFERENCE] = { REFERENCES, NAMED_IN(struct net_device, name) },
	[LEDGER_NETNS_REFERENCE] = { REFERENCES, .name = NAME_NETNS },
	[LEDGER_SOCKET_REFERENCE] = { REFERENCES, .name = NAME_SOCKET },

	[LEDGER_TIMER] = { WORDS("timer pending", "timers pending", "armed", "cancelled"), .phase = 0,
			   .flags = LEDGER_PENDING, .there = timer_there, .undo = cancel_timer, .name = CALLS },
	[LEDGER_HRTIMER] = { WORDS("hrtimer pending", "hrtimers pending", "armed", "cancelled"), .phase = 0,
			     .flags = LEDGER_PENDING, .there = hrtimer_there, .undo = cancel_hrtimer,
			     .name = CALLS },
	[LEDGER_WORK] = { WORDS("work item pending", "work items pending", "queued", "cancelled"), .phase = 0,
			  .flags = LEDGER_PENDING, .there = work_there, .undo = cancel_work_item, .name = CALLS },
	[LEDGER_DELAYED_WORK] = { WORDS("delayed work item pending", "delayed work items pending", "queued",
					"cancelled"), .phase = 0, .flags = LEDGER_PENDING,
				  .there = delayed_work_there, .undo = cancel_delayed_item, .name = CALLS },
	[LEDGER_TASKLET] = { WORDS("tasklet pending", "tasklets pending", "scheduled", "killed"), .phase = 0,
			     .flags = LEDGER_PENDING, .there = tasklet_there, .undo = kill_tasklet,
			     .name = CALLS },
	[LEDGER_RCU] = { WORDS("RCU callback pending", "RCU callbacks pending", "asked for", "waited for"),
			 .phase = 0, .undo = wait_for_rcu, .name = CALLS },

	[LEDGER_WORKQUEUE] = { WORDS("workqueue", "workqueues", "created", "destroyed"), .phase = 4,
			       .flags = LEDGER_HEAP },

	[LEDGER_MEMORY] = { WORDS("block", "blocks", "allocated", "freed"), .phase = 5,
			    .flags = LEDGER_HEAP | LEDGER_BLOCK },
	[LEDGER_OBJECT] = { WORDS("object", "objects", "allocated", "freed"), .phase = 5,
			    .flags = LEDGER_HEAP | LEDGER_BLOCK },
	[LEDGER_PERCPU] = { WORDS("per-CPU block", "per-CPU blocks", "allocated", "freed"), .phase = 5,
			    .flags = LEDGER_HEAP | LEDGER_BLOCK },
	[LEDGER_PACKET_BUFFER] = { WORDS("packet buffer", "packet buffers", "allocated", "freed"), .phase = 5,
				   .flags = LEDGER_HEAP },
	[LEDGER_NETDEV_MEMORY] = { WORDS("network device", "network devices", "allocated", "freed"), .phase = 5,
				   .flags = LEDGER_HEAP, .undo = free_device,
				   NAMED_IN(struct net_device, name) },
	[LEDGER_SOCKET] = { WORDS("socket", "sockets", "allocated", "freed"), .phase = 5, .flags = LEDGER_HEAP },
	[LEDGER_CACHE] = { WORDS("slab cache", "slab caches", "created", "destroyed"), .phase = 6,
			   .flags = LEDGER_HEAP, NAMED_AT(struct kmem_cache, name) },
};
