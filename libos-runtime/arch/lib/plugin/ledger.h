/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ledger: what each plugin holds, and where in its code it asked for it.
 *
 * Plugins are linked with --wrap, so that a call of theirs to a function of ledger_table.h comes to
 * __wrap_FUNCTION (ledger_stubs.S), which lets ledger.c record it and then calls the function. Whether what
 * was recorded is still there is asked of the object itself (ledger_classes.c) or told by the allocator
 * (ledger_memory.h), for much of it is given back by the kernel and not by the module.
 *
 * Nothing in here is locked: it does not sleep, and on one CPU nothing comes between.
 */
#ifndef _LIBOS_LEDGER_H
#define _LIBOS_LEDGER_H

#include <linux/hashtable.h>
#include <linux/list.h>
#include <linux/types.h>

struct module;

enum ledger_class {
	LEDGER_ACTION,
	LEDGER_CACHE,
	LEDGER_CC,
	LEDGER_CDEV,
	LEDGER_CHRDEV,
	LEDGER_CHRDEV_REGION,
	LEDGER_CLASSIFIER,
	LEDGER_CRYPTO,
	LEDGER_DEBUGFS,
	LEDGER_DELAYED_WORK,
	LEDGER_DEVICE,
	LEDGER_DEVICE_REFERENCE,
	LEDGER_FAMILY,
	LEDGER_FILE,
	LEDGER_GENL,
	LEDGER_HRTIMER,
	LEDGER_IP_PROTOCOL,
	LEDGER_KERNEL_SOCKET,
	LEDGER_KOBJECT,
	LEDGER_LINK_TYPE,
	LEDGER_MEMORY,
	LEDGER_MODULE_REF,
	LEDGER_MPTCP_SCHEDULER,
	LEDGER_NETDEV,
	LEDGER_NETDEV_MEMORY,
	LEDGER_NETLINK,
	LEDGER_NETNS_REFERENCE,
	LEDGER_NFT_EXPR,
	LEDGER_NFT_OBJ,
	LEDGER_NF_HOOK,
	LEDGER_NOTIFIER,
	LEDGER_OBJECT,
	LEDGER_OFFLOAD,
	LEDGER_PACKET_BUFFER,
	LEDGER_PACKET_TYPE,
	LEDGER_PERCPU,
	LEDGER_PERNET,
	LEDGER_PROC,
	LEDGER_PROTO,
	LEDGER_PROTOSW,
	LEDGER_QDISC,
	LEDGER_RCU,
	LEDGER_REFERENCE,
	LEDGER_REGISTRATION,
	LEDGER_RTNL_MESSAGE,
	LEDGER_RX_HANDLER,
	LEDGER_SOCKET,
	LEDGER_SOCKET_REFERENCE,
	LEDGER_SYSCTL,
	LEDGER_SYSFS,
	LEDGER_SYSFS_GROUP,
	LEDGER_TASKLET,
	LEDGER_THREAD,
	LEDGER_TIMER,
	LEDGER_ULP,
	LEDGER_WORK,
	LEDGER_WORKQUEUE,
	LEDGER_XT_MATCH,
	LEDGER_XT_TABLE,
	LEDGER_XT_TARGET,
	LEDGER_CLASSES,
	LEDGER_ANY_MEMORY = LEDGER_CLASSES, /* whatever is at the address */
};

/* How a function of the table is undone. */
enum ledger_how { HOW_OWN, HOW_K, HOW_MK, HOW_KM, HOW_KC, HOW_MC, HOW_MKC };

/* A line of ledger_table.h. */
struct ledger_call {
	const char *name;
	const char *undo;
	u8 class;
	u8 op; /* take, give, arm */
	u8 key, more, count; /* where from */
	u8 done;
	u8 how;
};

/* A place in a module's code that asks for something. Kept as long as the module, whatever becomes of the code. */
struct ledger_place {
	struct hlist_node hash; /* by the address of the call, while the code is there */
	struct list_head node; /* in ledger.places, in the order of first use */
	struct ledger *ledger;
	const struct ledger_call *call;
	u32 build; /* struct libos_plugin's */
	u64 at; /* in the build's file, of the byte before the return address */

	/* For a listing or an audit. */
	struct {
		u32 n, taken, vanished;
		unsigned long not_key; /* of the first */
		bool others; /* that are of another key */
		u64 bytes;
		char what[64]; /* of the first: a name, a function */
		char why[96]; /* one is left */
	} sum;
};

/* One thing that is held. Its addresses are inverted: what looks for pointers must not find these. */
struct ledger_record {
	struct hlist_node hash; /* by key */
	struct list_head node; /* in ledger.records, in the order they were made */
	struct ledger_place *place;
	unsigned long not_key, not_more;
	void *function; /* that a timer or the like will call; a plain address, to be moved by a swap */
	u64 count;
	u8 class;
	bool leaked; /* is of the audit under way */
	bool left;
	bool calls; /* is memory that points into the module's code */
	void *pin; /* a reference of ours to what must not go before the record */
};

/*
 * Code of a module, newest first. Old code runs on in functions that are too short for a jump to the new one, so
 * the last few builds are known. Addresses are inverted here, too: they must not keep a build mapped.
 */
struct ledger_code {
	struct list_head node;
	unsigned long not_text, not_bias, size;
	u32 build;
};

#define LEDGER_CODES 4

/* What a module holds. */
struct ledger {
	struct list_head node;
	struct module *mod;
	struct list_head codes, places, records;
	unsigned int n_codes;
	u32 n, purge_at;
	bool incomplete; /* for want of memory */
};

static inline unsigned long ledger_key(const struct ledger_record *record)
{
	return ~record->not_key;
}

static inline unsigned long ledger_more(const struct ledger_record *record)
{
	return ~record->not_more;
}

/* ledger.c */
int libos_ledger_open(struct module *mod, unsigned long bias, u32 build);
void libos_ledger_renew(struct module *mod, unsigned long bias, u32 build);
struct ledger *libos_ledger_of(const struct module *mod);
struct ledger *libos_ledger_named(const char *module);
void libos_ledger_rehash(const struct module *mod);
void libos_ledger_close(struct ledger *ledger);
void libos_ledger_drop(struct ledger_record *record);
struct ledger_record *libos_ledger_put_back(const struct ledger_record *copy);
void libos_ledger_purge(struct ledger *ledger, bool all);
struct ledger_record *libos_ledger_find(unsigned long key, bool (*is)(const struct ledger_record *record));
struct ledger_record *libos_ledger_find_moved(unsigned long was, unsigned long now,
					      bool (*is)(const struct ledger_record *record));
unsigned int libos_ledger_begin_audit(struct ledger *ledger);
unsigned int libos_ledger_add_to_audit(struct ledger *ledger);
void *libos_ledger_function(const char *name);
/* For wrappers that are written by hand. `name` is a line of ledger_table.h or ledger.c's own. */
void libos_ledger_take(enum ledger_class class, const void *key, unsigned long caller);
void libos_ledger_give(enum ledger_class class, const void *key);
/* References (references.c): one more by code that called from there, one less; false: none is known. */
void libos_ledger_refer(const struct ledger_call *call, const void *object, const void *tracker, unsigned long caller);
bool libos_ledger_unrefer(enum ledger_class class, const void *object, const void *tracker, unsigned long caller);

/* ledger_classes.c */
struct ledger_kind {
	const char *one, *many; /* "timer pending" */
	const char *verb; /* "armed" */
	const char *undone; /* "cancelled" */
	bool (*there)(const struct ledger_record *record); /* NULL: as long as the record */
	int (*undo)(struct ledger_record *record); /* -errno: it is left, and sum.why says why */
	u8 phase; /* of the audit's clean-up */
	u8 flags;
	u8 name; /* how it is called, and where in the object */
	u16 offset;
};

#define LEDGER_HEAP 1 /* the key is memory: the record ends with it */
#define LEDGER_PENDING 2 /* ends by itself, which is not told */
#define LEDGER_COUNTED 4 /* several with one key */
#define LEDGER_BLOCK 8 /* is nothing but memory */
#define LEDGER_NO_CODE 16 /* has no pointer to the module's code */
#define LEDGER_SIZES 32 /* its table says how large the module's objects are, see objects.c */
#define LEDGER_SUMMED 64 /* several with one key: a record for each place, its count says how many */

extern const struct ledger_kind libos_ledger_kinds[LEDGER_CLASSES];
bool libos_ledger_there(const struct ledger_record *record);
/* Of the same module; NULL when the cache is not the module's own. */
struct ledger_record *libos_ledger_cache_of(const struct ledger_record *object);
/* An object of that slab cache. */
bool libos_ledger_is_of(const struct ledger_record *object, const struct ledger_record *cache);
void libos_ledger_taken(struct ledger_record *record);
void libos_ledger_dropped(struct ledger_record *record);
struct rtnl_msg_handler;
int libos_ledger_protocol(const struct rtnl_msg_handler *handler);
/* Of counted references (CONFIG_REF_TRACKER): whose directory that is, and which is a device's. */
struct net_device;
struct ref_tracker_dir;
unsigned long libos_ledger_owner(const struct ref_tracker_dir *dir);
unsigned long libos_ledger_references(const struct net_device *dev);
void libos_ledger_name(const struct ledger_record *record, char *name, size_t len);

/* audit.c, from kernel/module/main.c by module_main.h: the module's exit has run, its memory is still there. */
void libos_module_going(struct module *mod);

#endif
