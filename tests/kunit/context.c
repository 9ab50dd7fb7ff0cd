// SPDX-License-Identifier: GPL-2.0
/* What a module may count on: RCU, per-CPU data, static keys, its name in back traces. */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/jump_label.h>
#include <linux/kallsyms.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/srcu.h>
#include <linux/stacktrace.h>
#include <linux/string.h>

#define CALLBACKS 100

struct counted {
	struct rcu_head rcu;
	int *count;
};

static void on_rcu(struct rcu_head *rcu)
{
	(*container_of(rcu, struct counted, rcu)->count)++;
}

static void rcu_barrier_waits_for_callbacks(struct kunit *test)
{
	struct counted *counted = kunit_kcalloc(test, CALLBACKS, sizeof(*counted), GFP_KERNEL);
	int count = 0;

	KUNIT_ASSERT_NOT_NULL(test, counted);
	for (int i = 0; i < CALLBACKS; i++) {
		counted[i].count = &count;
		call_rcu(&counted[i].rcu, on_rcu);
	}
	rcu_barrier();
	KUNIT_EXPECT_EQ(test, count, CALLBACKS);
}

/* Interrupts that hit a reader must not pass for the end of its section. */
static void a_reader_holds_off_callbacks(struct kunit *test)
{
	struct counted counted;
	int count = 0, count_inside;

	counted.count = &count;
	rcu_read_lock();
	call_rcu(&counted.rcu, on_rcu);
	for (int i = 0; i < 500; i++) {
		udelay(10);
		local_irq_disable();
		local_irq_enable();
	}
	count_inside = READ_ONCE(count);
	rcu_read_unlock();
	rcu_barrier();

	KUNIT_EXPECT_EQ(test, count_inside, 0);
	KUNIT_EXPECT_EQ(test, count, 1);
}

static void grace_periods_end(struct kunit *test)
{
	for (int i = 0; i < 20; i++) {
		synchronize_rcu();
		synchronize_rcu_expedited();
	}
}

struct reader {
	struct srcu_struct srcu;
	struct completion inside;
	bool left;
};

static int read_slowly(void *arg)
{
	struct reader *reader = arg;
	int index = srcu_read_lock(&reader->srcu);

	complete(&reader->inside);
	usleep_range(5000, 6000);
	WRITE_ONCE(reader->left, true);
	srcu_read_unlock(&reader->srcu, index);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static void a_sleeping_reader_holds_off_srcu(struct kunit *test)
{
	struct reader *reader = kunit_kzalloc(test, sizeof(*reader), GFP_KERNEL);
	struct task_struct *thread;

	KUNIT_ASSERT_NOT_NULL(test, reader);
	KUNIT_ASSERT_EQ(test, init_srcu_struct(&reader->srcu), 0);
	init_completion(&reader->inside);
	thread = kthread_run(read_slowly, reader, "arch_kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));

	wait_for_completion(&reader->inside);
	synchronize_srcu(&reader->srcu);
	KUNIT_EXPECT_TRUE(test, READ_ONCE(reader->left));
	kthread_stop(thread);
	cleanup_srcu_struct(&reader->srcu);
}

static DEFINE_PER_CPU(int, counter) = 7;

static void per_cpu_data_of_a_module(struct kunit *test)
{
	int __percpu *dynamic = alloc_percpu(int);
	int cpu;

	KUNIT_ASSERT_NOT_NULL(test, (void __force *)dynamic);
	for_each_possible_cpu(cpu) {
		KUNIT_EXPECT_EQ(test, per_cpu(counter, cpu), 7);
		KUNIT_EXPECT_EQ(test, *per_cpu_ptr(dynamic, cpu), 0);
	}
	preempt_disable();
	this_cpu_add(counter, 5);
	this_cpu_inc(*dynamic);
	KUNIT_EXPECT_EQ(test, this_cpu_read(counter), 12);
	KUNIT_EXPECT_EQ(test, this_cpu_xchg(counter, 7), 12);
	KUNIT_EXPECT_EQ(test, this_cpu_cmpxchg(*dynamic, 1, 3), 1);
	KUNIT_EXPECT_EQ(test, *this_cpu_ptr(dynamic), 3);
	preempt_enable();
	free_percpu(dynamic);
}

static DEFINE_STATIC_KEY_FALSE(off_at_first);
static DEFINE_STATIC_KEY_TRUE(on_at_first);

static void static_keys_switch_branches(struct kunit *test)
{
	for (int i = 0; i < 3; i++) {
		KUNIT_EXPECT_FALSE(test, static_branch_unlikely(&off_at_first));
		KUNIT_EXPECT_TRUE(test, static_branch_likely(&on_at_first));
		static_branch_enable(&off_at_first);
		static_branch_disable(&on_at_first);
		KUNIT_EXPECT_TRUE(test, static_branch_unlikely(&off_at_first));
		KUNIT_EXPECT_FALSE(test, static_branch_likely(&on_at_first));
		static_branch_disable(&off_at_first);
		static_branch_enable(&on_at_first);
	}
}

static void symbols_have_the_modules_name(struct kunit *test)
{
	char name[KSYM_SYMBOL_LEN];

	sprint_symbol(name, (unsigned long)symbols_have_the_modules_name);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(name, "symbols_have_the_modules_name"), "%s", name);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(name, "[arch_kunit]"), "%s", name);
}

static noinline unsigned int back_trace(unsigned long *entries, unsigned int size)
{
	return stack_trace_save(entries, size, 0);
}

static void back_traces_reach_through_a_module(struct kunit *test)
{
	unsigned long entries[16];
	char name[KSYM_SYMBOL_LEN];
	unsigned int n = back_trace(entries, ARRAY_SIZE(entries));
	bool own = false, kunit = false;

	for (unsigned int i = 0; i < n; i++) {
		sprint_symbol(name, entries[i]);
		own |= !!strstr(name, "back_traces_reach_through_a_module");
		kunit |= !!strstr(name, "kunit_try_run_case");
	}
	KUNIT_EXPECT_TRUE_MSG(test, own, "own frame not among %u", n);
	KUNIT_EXPECT_TRUE_MSG(test, kunit, "caller's frame not among %u", n);
}

static void a_module_counts_its_users(struct kunit *test)
{
	int before = module_refcount(THIS_MODULE);

	KUNIT_EXPECT_STREQ(test, THIS_MODULE->name, "arch_kunit");
	KUNIT_EXPECT_TRUE(test, try_module_get(THIS_MODULE));
	KUNIT_EXPECT_EQ(test, module_refcount(THIS_MODULE), before + 1);
	module_put(THIS_MODULE);
	KUNIT_EXPECT_EQ(test, module_refcount(THIS_MODULE), before);
}

static struct kunit_case context_cases[] = {
	KUNIT_CASE(rcu_barrier_waits_for_callbacks),
	KUNIT_CASE(a_reader_holds_off_callbacks),
	KUNIT_CASE(grace_periods_end),
	KUNIT_CASE(a_sleeping_reader_holds_off_srcu),
	KUNIT_CASE(per_cpu_data_of_a_module),
	KUNIT_CASE(static_keys_switch_branches),
	KUNIT_CASE(symbols_have_the_modules_name),
	KUNIT_CASE(back_traces_reach_through_a_module),
	KUNIT_CASE(a_module_counts_its_users),
	{}
};

static struct kunit_suite context_suite = {
	.name = "arch_context",
	.test_cases = context_cases,
};

kunit_test_suite(context_suite);
