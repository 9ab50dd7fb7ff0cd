// SPDX-License-Identifier: GPL-2.0
/*
 * A module whose state is in memory that it asks for itself: items in a ring, each with a timer that never stops, and
 * slots of a slab cache in a hash table. "add" in /proc/blocks makes one of each. What can be read there is "items
 * slots ticks extra broken", the last of which counts links that do not lead where they should.
 *
 * VARIANT 2 has members in the middle of both that make an item too large for its block; 3 one that it has place for.
 * What cannot be: 4 changes what lies in an array, 5 a slot outgrows its place, 6 changes per-CPU data, 7 what is
 * allocated without a word of its type, 8 what is a variable with a value, too.
 */
#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/rculist.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

struct item {
	u64 id;
	struct list_head node; /* in the ring */
#if VARIANT == 2
	u64 extra[20];
#elif VARIANT == 3
	u64 extra[1];
#endif
	struct timer_list timer;
	struct item *before; /* the one that was made before it */
	u64 *id_at; /* into itself */
	unsigned long ticks;
};

struct slot {
	struct hlist_node node;
#if VARIANT == 2
	u64 extra;
#elif VARIANT == 5
	u64 extra[30];
#endif
	u64 id;
	struct item *item;
};

struct row {
	u64 a;
#if VARIANT == 4
	u64 extra;
#endif
	u64 b, c;
};

struct count {
	u64 n[9];
#if VARIANT == 6
	u64 extra;
#endif
};

struct hidden {
	u8 bytes[20];
#if VARIANT == 7
	u64 extra;
#endif
};

struct pair {
#if VARIANT == 8
	u64 b, a;
#else
	u64 a, b;
#endif
};

static LIST_HEAD(ring);
static DEFINE_HASHTABLE(slots, 4);
static struct kmem_cache *cache;
static struct item *newest;
static struct row *rows;
static struct count __percpu *counts;
static void *something;
static struct pair *pair;
static struct pair sums;
static unsigned long n;

static void tick(struct timer_list *timer)
{
	struct item *item = from_timer(item, timer, timer);

	item->ticks++;
#if VARIANT == 2 || VARIANT == 3
	item->extra[0]++;
#endif
	mod_timer(&item->timer, jiffies + 1);
}

static void mark(struct hidden *hidden)
{
	hidden->bytes[n % sizeof(hidden->bytes)]++;
}

static int add(void)
{
	struct item *item = kzalloc(sizeof(*item), GFP_KERNEL);
	struct slot *slot = kmem_cache_zalloc(cache, GFP_KERNEL);

	if (!item || !slot)
		return -ENOMEM;
	item->id = slot->id = ++n;
	item->id_at = &item->id;
	item->before = newest;
	newest = item;
	slot->item = item;
	list_add_tail(&item->node, &ring);
	hash_add(slots, &slot->node, slot->id);
	timer_setup(&item->timer, tick, 0);
	mod_timer(&item->timer, jiffies + 1);
	this_cpu_inc(counts->n[0]);
	mark(something);
	pair->a = n;
	sums.a += n;
	sums.b += pair->a;
	rows[3].c++;
	return 0;
}

static int show(struct seq_file *file, void *unused)
{
	unsigned long items = 0, found = 0, ticks = 0, extra = 0, broken = 0;
	struct item *item, *before = NULL;
	struct slot *slot;
	int i;

	list_for_each_entry(item, &ring, node) {
		broken += item->id != ++items || item->id_at != &item->id || item->before != before;
		broken += !timer_pending(&item->timer) || !item->ticks;
		ticks += item->ticks;
#if VARIANT == 2 || VARIANT == 3
		extra += item->extra[0];
#endif
		before = item;
	}
	hash_for_each(slots, i, slot, node) {
		broken += slot->item->id != slot->id;
		found++;
	}
	broken += newest != before || rows[3].c != n || this_cpu_read(counts->n[0]) != n;
	broken += sums.a != sums.b;
	seq_printf(file, "%lu %lu %lu %lu %lu\n", items, found, ticks, extra, broken);
	return 0;
}

static int open(struct inode *inode, struct file *file)
{
	return single_open(file, show, NULL);
}

static ssize_t write(struct file *file, const char __user *from, size_t len, loff_t *at)
{
	return add() ?: len;
}

static const struct proc_ops ops = {
	.proc_open = open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
	.proc_write = write,
};

static void end(void)
{
	struct item *item, *next;
	struct hlist_node *after;
	struct slot *slot;
	int i;

	list_for_each_entry_safe(item, next, &ring, node) {
		timer_shutdown_sync(&item->timer);
		kfree(item);
	}
	hash_for_each_safe(slots, i, after, slot, node)
		kmem_cache_free(cache, slot);
	kmem_cache_destroy(cache);
	free_percpu(counts);
	kfree(rows);
	kfree(something);
	kfree(pair);
}

static int __init blocks_init(void)
{
	cache = kmem_cache_create("blocks_slots", sizeof(struct slot), 0, 0, NULL);
	counts = alloc_percpu(struct count);
	rows = kcalloc(8, sizeof(*rows), GFP_KERNEL);
	something = kzalloc(sizeof(struct hidden), GFP_KERNEL);
	pair = kzalloc(sizeof(*pair), GFP_KERNEL);
	if (cache && counts && rows && something && pair && proc_create("blocks", 0600, NULL, &ops))
		return 0;
	end();
	return -ENOMEM;
}

static void __exit blocks_exit(void)
{
	remove_proc_entry("blocks", NULL);
	end();
}

module_init(blocks_init);
module_exit(blocks_exit);
MODULE_DESCRIPTION("state in memory of the module's own");
MODULE_LICENSE("GPL");
