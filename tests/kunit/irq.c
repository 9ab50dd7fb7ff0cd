// SPDX-License-Identifier: GPL-2.0
/* Interrupts: the flag nests, holds them back, and is as a handler expects it. */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/spinlock.h>
#include <linux/timer.h>

struct probe {
	struct hrtimer hrtimer;
	struct timer_list timer;
	struct tasklet_struct tasklet;
	struct completion ran;
	int runs;
	bool hardirq, softirq, task, irqs_off;
};

static void note_context(struct probe *probe)
{
	probe->runs++;
	probe->hardirq = in_hardirq();
	probe->softirq = in_serving_softirq();
	probe->task = in_task();
	probe->irqs_off = irqs_disabled();
	complete(&probe->ran);
}

static enum hrtimer_restart on_hrtimer(struct hrtimer *timer)
{
	note_context(container_of(timer, struct probe, hrtimer));
	return HRTIMER_NORESTART;
}

static void on_timer(struct timer_list *timer)
{
	note_context(container_of(timer, struct probe, timer));
}

static void on_tasklet(struct tasklet_struct *tasklet)
{
	note_context(container_of(tasklet, struct probe, tasklet));
}

static void flag_nests(struct kunit *test)
{
	unsigned long outer, inner;
	bool in_outer, in_inner, after_inner;

	KUNIT_EXPECT_FALSE(test, irqs_disabled());
	local_irq_save(outer);
	in_outer = irqs_disabled();
	local_irq_save(inner);
	in_inner = irqs_disabled();
	local_irq_restore(inner);
	after_inner = irqs_disabled();
	local_irq_restore(outer);

	KUNIT_EXPECT_TRUE(test, in_outer);
	KUNIT_EXPECT_TRUE(test, in_inner);
	KUNIT_EXPECT_TRUE(test, after_inner);
	KUNIT_EXPECT_FALSE(test, irqs_disabled());
}

static void locks_keep_the_flag(struct kunit *test)
{
	unsigned long flags;
	bool inside, between;
	spinlock_t lock; /* guards nothing */

	spin_lock_init(&lock);
	local_irq_disable();
	spin_lock_irqsave(&lock, flags);
	inside = irqs_disabled();
	spin_unlock_irqrestore(&lock, flags);
	between = irqs_disabled();
	local_irq_enable();

	KUNIT_EXPECT_TRUE(test, inside);
	KUNIT_EXPECT_TRUE(test, between);
	KUNIT_EXPECT_FALSE(test, irqs_disabled());
}

static void a_task_is_in_no_interrupt(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, in_task());
	KUNIT_EXPECT_FALSE(test, in_interrupt());
	KUNIT_EXPECT_EQ(test, preempt_count() & ~PREEMPT_MASK, 0);
}

static void a_disabled_interrupt_waits(struct kunit *test)
{
	struct probe probe = {};
	unsigned long flags;
	int runs_while_off;

	init_completion(&probe.ran);
	hrtimer_init_on_stack(&probe.hrtimer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	probe.hrtimer.function = on_hrtimer;

	local_irq_save(flags);
	hrtimer_start(&probe.hrtimer, ns_to_ktime(100 * NSEC_PER_USEC), HRTIMER_MODE_REL_HARD);
	mdelay(3);
	runs_while_off = probe.runs;
	local_irq_restore(flags);

	KUNIT_EXPECT_EQ(test, runs_while_off, 0);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&probe.ran, 10 * HZ), 0);
	KUNIT_EXPECT_EQ(test, probe.runs, 1);
	hrtimer_cancel(&probe.hrtimer);
	destroy_hrtimer_on_stack(&probe.hrtimer);
}

static void a_hard_timer_runs_in_interrupt_context(struct kunit *test)
{
	struct probe probe = {};

	init_completion(&probe.ran);
	hrtimer_init_on_stack(&probe.hrtimer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	probe.hrtimer.function = on_hrtimer;
	hrtimer_start(&probe.hrtimer, ns_to_ktime(100 * NSEC_PER_USEC), HRTIMER_MODE_REL_HARD);

	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&probe.ran, 10 * HZ), 0);
	KUNIT_EXPECT_TRUE(test, probe.hardirq);
	KUNIT_EXPECT_TRUE(test, probe.irqs_off);
	KUNIT_EXPECT_FALSE(test, probe.task);
	KUNIT_EXPECT_FALSE(test, irqs_disabled());
	hrtimer_cancel(&probe.hrtimer);
	destroy_hrtimer_on_stack(&probe.hrtimer);
}

static void a_timer_runs_in_softirq_context(struct kunit *test)
{
	struct probe probe = {};

	init_completion(&probe.ran);
	timer_setup_on_stack(&probe.timer, on_timer, 0);
	mod_timer(&probe.timer, jiffies + 1);

	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&probe.ran, 10 * HZ), 0);
	KUNIT_EXPECT_TRUE(test, probe.softirq);
	KUNIT_EXPECT_FALSE(test, probe.hardirq);
	KUNIT_EXPECT_FALSE(test, probe.task);
	KUNIT_EXPECT_FALSE(test, probe.irqs_off);
	del_timer_sync(&probe.timer);
	destroy_timer_on_stack(&probe.timer);
}

static void disabled_bottom_halves_wait(struct kunit *test)
{
	struct probe probe = {};
	int runs_while_off;

	init_completion(&probe.ran);
	tasklet_setup(&probe.tasklet, on_tasklet);

	local_bh_disable();
	tasklet_schedule(&probe.tasklet);
	/* Interrupts may come and go: their exit must not run it either. */
	mdelay(3);
	runs_while_off = probe.runs;
	local_bh_enable();

	KUNIT_EXPECT_EQ(test, runs_while_off, 0);
	KUNIT_EXPECT_EQ(test, probe.runs, 1);
	KUNIT_EXPECT_TRUE(test, probe.softirq);
	tasklet_kill(&probe.tasklet);
}

/* A task that never sleeps, but leaves interrupts on now and then, holds up no timer. */
static void a_busy_task_is_interrupted(struct kunit *test)
{
	unsigned long start = jiffies;
	struct probe probe = {};
	int rounds;

	init_completion(&probe.ran);
	hrtimer_init_on_stack(&probe.hrtimer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	probe.hrtimer.function = on_hrtimer;
	hrtimer_start(&probe.hrtimer, ns_to_ktime(500 * NSEC_PER_USEC), HRTIMER_MODE_REL_HARD);

	for (rounds = 0; rounds < 1000000; rounds++) {
		if (READ_ONCE(probe.runs) && time_after(jiffies, start))
			break;
		local_irq_disable();
		udelay(10);
		local_irq_enable();
	}
	KUNIT_EXPECT_EQ(test, probe.runs, 1);
	KUNIT_EXPECT_TRUE(test, time_after(jiffies, start));
	hrtimer_cancel(&probe.hrtimer);
	destroy_hrtimer_on_stack(&probe.hrtimer);
}

static struct kunit_case irq_cases[] = {
	KUNIT_CASE(flag_nests),
	KUNIT_CASE(locks_keep_the_flag),
	KUNIT_CASE(a_task_is_in_no_interrupt),
	KUNIT_CASE(a_disabled_interrupt_waits),
	KUNIT_CASE(a_hard_timer_runs_in_interrupt_context),
	KUNIT_CASE(a_timer_runs_in_softirq_context),
	KUNIT_CASE(disabled_bottom_halves_wait),
	KUNIT_CASE(a_busy_task_is_interrupted),
	{}
};

static struct kunit_suite irq_suite = {
	.name = "arch_irq",
	.test_cases = irq_cases,
};

kunit_test_suite(irq_suite);

MODULE_DESCRIPTION("Tests of what an architecture supplies to the kernel");
MODULE_LICENSE("GPL");
