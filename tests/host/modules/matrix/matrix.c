// SPDX-License-Identifier: GPL-2.0
/*
 * A congestion control that does one thing that a module must not do: that which the parameter "fault"
 * names, if this is VARIANT 2. Others work. Faults of a task's own are met when "trigger" is written.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/workqueue.h>
#include <net/tcp.h>

static char *fault = "";
module_param(fault, charp, 0444);

/* The compiler must not know, or what follows is no code any more. */
static int *volatile nowhere;
static volatile int zero;
static volatile bool for_ever = true;

static struct timer_list timer;
static DEFINE_MUTEX(lock);
static DEFINE_SPINLOCK(spinlock);

/* A variable, so that all variants have the same code, and go on in place of each other. */
static volatile int variant = VARIANT;

static bool is(const char *name)
{
	return variant == 2 && !strcmp(fault, name);
}

static noinline void dereference(void)
{
	*nowhere = 1;
}

static noinline void divide(void)
{
	zero = 100 / zero;
}

static noinline void assert_it(void)
{
	BUG();
}

static noinline int fill_stack(volatile char *above)
{
	volatile char room[1024];

	room[0] = above[0];
	return fill_stack(room) + room[0];
}

struct object {
	struct object *next;
	int value;
};

static noinline void use_after_free(void)
{
	struct object *object = kzalloc(sizeof(*object), GFP_ATOMIC);

	if (!object)
		return;
	object->next = object;
	barrier_data(object);
	kfree(object);
	barrier_data(object);
	object->next->value = 1;
}

static noinline void loop(void)
{
	while (for_ever)
		cpu_relax();
}

static noinline void loop_without_irqs(void)
{
	local_irq_disable();
	while (for_ever)
		cpu_relax();
	local_irq_enable();
}

static noinline void loop_with_irqs(void)
{
	while (for_ever) {
		local_irq_disable();
		cpu_relax();
		local_irq_enable();
	}
}

static noinline void loop_politely(void)
{
	while (for_ever)
		yield();
}

static noinline void lock_twice(void)
{
	mutex_lock(&lock);
	mutex_lock(&lock);
	mutex_unlock(&lock);
	mutex_unlock(&lock);
}

static noinline void sleep_with_spinlock(void)
{
	spin_lock(&spinlock);
	msleep(2);
	spin_unlock(&spinlock);
}

static noinline void sleep_in_softirq(void)
{
	msleep(1);
}

static noinline void warn(void)
{
	WARN(1, "matrix: this is not as it should be\n");
}

static void on_timer(struct timer_list *unused)
{
	if (is("null in a timer"))
		dereference();
	if (is("sleep in softirq"))
		sleep_in_softirq();
	if (is("warnings")) {
		warn();
		mod_timer(&timer, jiffies + msecs_to_jiffies(5));
	}
}

static struct tcp_congestion_ops matrix;

static const struct {
	const char *name;
	void (*met)(void);
} by_a_task[] = {
	{ "null", dereference },
	{ "division", divide },
	{ "bug", assert_it },
	{ "use after free", use_after_free },
	{ "loop", loop },
	{ "loop without irqs", loop_without_irqs },
	{ "loop with irqs", loop_with_irqs },
	{ "polite loop", loop_politely },
	{ "deadlock", lock_twice },
	{ "sleep with a spinlock", sleep_with_spinlock },
};

static struct pernet_operations netns_ops;

static noinline void unregister_twice(void)
{
	if (register_pernet_subsys(&netns_ops))
		return;
	unregister_pernet_subsys(&netns_ops);
	unregister_pernet_subsys(&netns_ops);
}

static int trigger_set(const char *val, const struct kernel_param *kp)
{
	char none = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(by_a_task); i++) {
		if (is(by_a_task[i].name))
			by_a_task[i].met();
	}
	if (is("full stack"))
		fill_stack(&none);
	if (is("double unregister"))
		unregister_twice();
	return 0;
}

static const struct kernel_param_ops trigger_ops = {
	.set = trigger_set,
};
module_param_cb(trigger, &trigger_ops, NULL, 0200);

static void cong_avoid(struct sock *sk, u32 ack, u32 acked)
{
	if (is("null in softirq") && in_serving_softirq())
		dereference();
	if (is("loop in softirq") && in_serving_softirq())
		loop();
	tcp_reno_cong_avoid(sk, ack, acked);
}

/* getsockopt(TCP_CC_INFO), with the socket's lock held. */
static size_t get_info(struct sock *sk, u32 ext, int *attr, union tcp_cc_info *info)
{
	if (is("null in a socket call"))
		dereference();
	return 0;
}

static struct tcp_congestion_ops matrix __read_mostly = {
	.ssthresh = tcp_reno_ssthresh,
	.cong_avoid = cong_avoid,
	.undo_cwnd = tcp_reno_undo_cwnd,
	.get_info = get_info,
	.owner = THIS_MODULE,
	.name = "matrix",
};

static int __init matrix_init(void)
{
	int err;

	if (is("null in init"))
		dereference();
	timer_setup(&timer, on_timer, 0);
	err = tcp_register_congestion_control(&matrix);
	if (err)
		return err;
	if (is("failing init")) {
		/* Half way: it takes back what it did. */
		tcp_unregister_congestion_control(&matrix);
		return -EADDRNOTAVAIL;
	}
	if (variant == 2)
		mod_timer(&timer, jiffies + msecs_to_jiffies(20));
	return 0;
}

static void __exit matrix_exit(void)
{
	if (is("null in exit"))
		dereference();
	timer_delete_sync(&timer);
	tcp_unregister_congestion_control(&matrix);
}

module_init(matrix_init);
module_exit(matrix_exit);
MODULE_DESCRIPTION("one fault of each kind");
MODULE_LICENSE("GPL");
