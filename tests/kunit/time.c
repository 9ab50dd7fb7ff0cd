// SPDX-License-Identifier: GPL-2.0
/* Clocks, timers and delays: never early, never backwards, in the order of expiry. */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/jiffies.h>
#include <linux/timekeeping.h>
#include <linux/timer.h>

#define ALARMS 16

struct alarms;

struct alarm {
	struct hrtimer hrtimer;
	struct timer_list timer;
	struct alarms *all;
	ktime_t due, fired;
	unsigned long due_jiffies, fired_jiffies;
	int place; /* how many fired before it, -1: it did not fire */
};

struct alarms {
	struct alarm alarm[ALARMS];
	struct completion done;
	int fired, expected;
};

static void note(struct alarm *alarm)
{
	struct alarms *all = alarm->all;

	alarm->place = all->fired++;
	alarm->fired = ktime_get();
	alarm->fired_jiffies = jiffies;
	if (all->fired == all->expected)
		complete(&all->done);
}

static enum hrtimer_restart on_hrtimer(struct hrtimer *timer)
{
	note(container_of(timer, struct alarm, hrtimer));
	return HRTIMER_NORESTART;
}

static void on_timer(struct timer_list *timer)
{
	note(container_of(timer, struct alarm, timer));
}

static struct alarms *make_alarms(struct kunit *test, int expected)
{
	struct alarms *all = kunit_kzalloc(test, sizeof(*all), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, all);
	init_completion(&all->done);
	all->expected = expected;
	for (int i = 0; i < ALARMS; i++) {
		struct alarm *alarm = &all->alarm[i];

		alarm->all = all;
		alarm->place = -1;
		hrtimer_init(&alarm->hrtimer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS);
		alarm->hrtimer.function = on_hrtimer;
		timer_setup(&alarm->timer, on_timer, 0);
	}
	return all;
}

static void stop_alarms(struct alarms *all)
{
	for (int i = 0; i < ALARMS; i++) {
		hrtimer_cancel(&all->alarm[i].hrtimer);
		del_timer_sync(&all->alarm[i].timer);
	}
}

/* Starts them in a shuffled order: 7 is prime to ALARMS. */
static int shuffled(int i)
{
	return i * 7 % ALARMS;
}

static void timers_fire_in_order(struct kunit *test)
{
	struct alarms *all = make_alarms(test, ALARMS);
	unsigned long now = jiffies;

	for (int i = 0; i < ALARMS; i++) {
		int n = shuffled(i);
		struct alarm *alarm = &all->alarm[n];

		alarm->due_jiffies = now + 2 + 2 * n;
		mod_timer(&alarm->timer, alarm->due_jiffies);
	}
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&all->done, 10 * HZ), 0);
	stop_alarms(all);

	for (int i = 0; i < ALARMS; i++) {
		struct alarm *alarm = &all->alarm[i];

		KUNIT_EXPECT_EQ(test, alarm->place, i);
		KUNIT_EXPECT_TRUE(test, time_after_eq(alarm->fired_jiffies, alarm->due_jiffies));
	}
}

static void hrtimers_fire_in_order(struct kunit *test)
{
	struct alarms *all = make_alarms(test, ALARMS);
	ktime_t now = ktime_get();

	for (int i = 0; i < ALARMS; i++) {
		int n = shuffled(i);
		struct alarm *alarm = &all->alarm[n];

		/* Closer than a tick, so the order is the hrtimers' and not that of ticks. */
		alarm->due = ktime_add_us(now, 2000 + 50 * n);
		hrtimer_start(&alarm->hrtimer, alarm->due, HRTIMER_MODE_ABS);
	}
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&all->done, 10 * HZ), 0);
	stop_alarms(all);

	for (int i = 0; i < ALARMS; i++) {
		struct alarm *alarm = &all->alarm[i];

		KUNIT_EXPECT_EQ(test, alarm->place, i);
		KUNIT_EXPECT_GE(test, ktime_to_ns(alarm->fired), ktime_to_ns(alarm->due));
	}
}

static void a_cancelled_timer_does_not_fire(struct kunit *test)
{
	struct alarms *all = make_alarms(test, 2);

	mod_timer(&all->alarm[0].timer, jiffies + 2);
	hrtimer_start(&all->alarm[1].hrtimer, ktime_add_us(ktime_get(), 2000), HRTIMER_MODE_ABS);
	KUNIT_EXPECT_EQ(test, del_timer_sync(&all->alarm[0].timer), 1);
	KUNIT_EXPECT_EQ(test, hrtimer_cancel(&all->alarm[1].hrtimer), 1);

	/* Two later ones fire: by then the others would have. */
	mod_timer(&all->alarm[2].timer, jiffies + 5);
	hrtimer_start(&all->alarm[3].hrtimer, ktime_add_us(ktime_get(), 5000), HRTIMER_MODE_ABS);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&all->done, 10 * HZ), 0);
	KUNIT_EXPECT_EQ(test, all->alarm[0].place, -1);
	KUNIT_EXPECT_EQ(test, all->alarm[1].place, -1);
	KUNIT_EXPECT_EQ(test, del_timer_sync(&all->alarm[2].timer), 0);
	stop_alarms(all);
}

static void a_timer_moved_forward_fires_then(struct kunit *test)
{
	struct alarms *all = make_alarms(test, 2);
	unsigned long late = jiffies + 3600 * HZ;

	mod_timer(&all->alarm[0].timer, late);
	mod_timer(&all->alarm[1].timer, jiffies + 5);
	KUNIT_EXPECT_EQ(test, mod_timer(&all->alarm[0].timer, jiffies + 2), 1);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&all->done, 10 * HZ), 0);
	KUNIT_EXPECT_EQ(test, all->alarm[0].place, 0);
	stop_alarms(all);
}

static void delays_are_not_short(struct kunit *test)
{
	static const unsigned int delays_us[] = { 1, 10, 100, 1000, 3000 };

	for (int i = 0; i < ARRAY_SIZE(delays_us); i++) {
		u64 start = ktime_get_ns();

		if (delays_us[i] < 1000)
			udelay(delays_us[i]);
		else
			mdelay(delays_us[i] / 1000);
		KUNIT_EXPECT_GE(test, ktime_get_ns() - start, delays_us[i] * NSEC_PER_USEC);

		start = ktime_get_ns();
		ndelay(delays_us[i]);
		KUNIT_EXPECT_GE(test, ktime_get_ns() - start, delays_us[i]);
	}
}

static void sleeps_are_not_short(struct kunit *test)
{
	ktime_t timeout;
	u64 start;

	start = ktime_get_ns();
	msleep(20);
	KUNIT_EXPECT_GE(test, ktime_get_ns() - start, 20 * NSEC_PER_MSEC);

	start = ktime_get_ns();
	usleep_range(300, 400);
	KUNIT_EXPECT_GE(test, ktime_get_ns() - start, 300 * NSEC_PER_USEC);

	/* n jiffies from within a jiffy are n - 1 whole ones at least. */
	start = ktime_get_ns();
	KUNIT_EXPECT_EQ(test, schedule_timeout_uninterruptible(3), 0);
	KUNIT_EXPECT_GE(test, ktime_get_ns() - start, 2 * TICK_NSEC);

	start = ktime_get_ns();
	timeout = ns_to_ktime(700 * NSEC_PER_USEC);
	set_current_state(TASK_UNINTERRUPTIBLE);
	KUNIT_EXPECT_EQ(test, schedule_hrtimeout(&timeout, HRTIMER_MODE_REL), 0);
	KUNIT_EXPECT_GE(test, ktime_get_ns() - start, 700 * NSEC_PER_USEC);
}

static void a_wait_ends_at_its_timeout(struct kunit *test)
{
	struct completion never;
	u64 start = ktime_get_ns();

	init_completion(&never);
	KUNIT_EXPECT_EQ(test, wait_for_completion_timeout(&never, 3), 0);
	KUNIT_EXPECT_GE(test, ktime_get_ns() - start, 2 * TICK_NSEC);
}

static void clocks_do_not_go_back(struct kunit *test)
{
	u64 mono = ktime_get_ns(), raw = ktime_get_raw_ns(), boot = ktime_get_boottime_ns();
	u64 real = ktime_get_real_ns();
	unsigned long ticks = jiffies;

	for (int i = 0; i < 20000; i++) {
		u64 mono_now = ktime_get_ns(), raw_now = ktime_get_raw_ns();
		u64 boot_now = ktime_get_boottime_ns(), real_now = ktime_get_real_ns();
		unsigned long ticks_now = jiffies;

		KUNIT_ASSERT_GE(test, mono_now, mono);
		KUNIT_ASSERT_GE(test, raw_now, raw);
		KUNIT_ASSERT_GE(test, boot_now, boot);
		KUNIT_ASSERT_GE(test, real_now, real);
		KUNIT_ASSERT_TRUE(test, time_after_eq(ticks_now, ticks));
		mono = mono_now;
		raw = raw_now;
		boot = boot_now;
		real = real_now;
		ticks = ticks_now;
	}
}

/* Jiffies and the clock tell of the same time. */
static void ticks_keep_up_with_the_clock(struct kunit *test)
{
	u64 start_ns = ktime_get_ns();
	u64 start = get_jiffies_64();
	s64 ticks, elapsed;

	msleep(50);
	elapsed = ktime_get_ns() - start_ns;
	ticks = get_jiffies_64() - start;
	KUNIT_EXPECT_GE(test, (ticks + 2) * TICK_NSEC, elapsed);
	KUNIT_EXPECT_LE(test, (ticks - 2) * TICK_NSEC, (s64)(ktime_get_ns() - start_ns));
}

static struct kunit_case time_cases[] = {
	KUNIT_CASE(timers_fire_in_order),
	KUNIT_CASE(hrtimers_fire_in_order),
	KUNIT_CASE(a_cancelled_timer_does_not_fire),
	KUNIT_CASE(a_timer_moved_forward_fires_then),
	KUNIT_CASE(delays_are_not_short),
	KUNIT_CASE(sleeps_are_not_short),
	KUNIT_CASE(a_wait_ends_at_its_timeout),
	KUNIT_CASE(clocks_do_not_go_back),
	KUNIT_CASE(ticks_keep_up_with_the_clock),
	{}
};

static struct kunit_suite time_suite = {
	.name = "arch_time",
	.test_cases = time_cases,
};

kunit_test_suite(time_suite);
