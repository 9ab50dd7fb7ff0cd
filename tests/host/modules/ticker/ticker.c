// SPDX-License-Identifier: GPL-2.0
/*
 * A module that holds a bit of everything that has pointers into its code: a timer that never stops, a
 * proc file, a list of objects with callbacks, a wait in the middle of a write. "ticks step sum total met" can
 * be read in /proc/ticker.
 *
 * VARIANT 1 counts by one, 2 by ten. 3 has a new member in its objects, 4 a new one at their end, 5 a
 * variable more and another init, 6 one parameter more, 7 is 1 with a comment.
 */
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

static int step = VARIANT == 2 ? 10 : 1;
module_param(step, int, 0644);
#if VARIANT == 6
static int extra;
module_param(extra, int, 0644);
#endif

enum object_kind { PLAIN, FANCY };

struct object {
#if VARIANT == 3
	u64 in_front;
#endif
	struct list_head node;
	int (*value)(const struct object *object);
	enum object_kind kind;
	int weight;
#if VARIANT == 4
	u64 at_the_end;
#endif
};

static LIST_HEAD(objects);
static unsigned long ticks, total;
static struct timer_list timer;
static DECLARE_WAIT_QUEUE_HEAD(bell);
static bool rung;
static unsigned int waiting[2]; /* in the code of variant 2, and in that of the others */
static unsigned long met; /* how often one found others waiting in another variant's code */
#if VARIANT == 5
static unsigned long fresh = 7;
#endif

static int value(const struct object *object)
{
	return object->weight * (VARIANT == 2 ? 100 : 1);
}

static int add_object(int weight)
{
	struct object *object = kzalloc(sizeof(*object), GFP_KERNEL);

	if (!object)
		return -ENOMEM;
	object->value = value;
	object->kind = FANCY;
	object->weight = weight;
	list_add_tail(&object->node, &objects);
	return 0;
}

static void tick(struct timer_list *unused)
{
	static unsigned long last;

	last = jiffies;
	ticks += step;
#if VARIANT == 5
	ticks += fresh;
#endif
	mod_timer(&timer, last + 1);
}

static int show(struct seq_file *file, void *unused)
{
	struct object *object;
	int sum = 0;

	list_for_each_entry(object, &objects, node)
		sum += object->value(object);
	seq_printf(file, "%lu %d %d %lu %lu\n", ticks, step, sum, total, met);
	return 0;
}

static int open(struct inode *inode, struct file *file)
{
	return single_open(file, show, NULL);
}

static struct task_struct *thread;

static int sleep_in_here(void *unused)
{
	while (!kthread_should_stop())
		wait_event_interruptible(bell, kthread_should_stop());
	return 0;
}

/* "add N" makes an object; "wait" sleeps in here until "ring"; "thread" starts one that always does. */
static ssize_t write(struct file *file, const char __user *from, size_t len, loff_t *at)
{
	char text[16] = "";
	int weight, err = 0;

	if (copy_from_user(text, from, min(len, sizeof(text) - 1)))
		return -EFAULT;
	if (sscanf(text, "add %d", &weight) == 1) {
		err = add_object(weight);
	} else if (!strncmp(text, "wait", 4)) {
		rung = false;
		met += waiting[VARIANT == 2];
		waiting[VARIANT != 2]++;
		err = wait_event_interruptible(bell, rung);
		waiting[VARIANT != 2]--;
	} else if (!strncmp(text, "thread", 6) && !thread) {
		thread = kthread_run(sleep_in_here, NULL, "ticker");
	} else if (!strncmp(text, "ring", 4)) {
		rung = true;
		wake_up(&bell);
	}
	total += VARIANT == 2 ? 1000 : 1;
	return err ?: len;
}

static const struct proc_ops ops = {
	.proc_open = open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
	.proc_write = write,
};

static int __init ticker_init(void)
{
	if (!proc_create("ticker", 0600, NULL, &ops))
		return -ENOMEM;
	timer_setup(&timer, tick, 0);
	mod_timer(&timer, jiffies + 1);
	if (VARIANT == 5)
		return proc_create("ticker5", 0600, NULL, &ops) ? 0 : -ENOMEM;
	return add_object(1);
}

static void __exit ticker_exit(void)
{
	struct object *object, *next;

	if (thread)
		kthread_stop(thread);
	timer_delete_sync(&timer);
	remove_proc_entry("ticker", NULL);
	list_for_each_entry_safe(object, next, &objects, node)
		kfree(object);
	pr_info("ticker: variant %d ends\n", VARIANT);
}

module_init(ticker_init);
module_exit(ticker_exit);
MODULE_DESCRIPTION("everything that points into a module");
MODULE_LICENSE("GPL");
