// SPDX-License-Identifier: GPL-2.0
/* Tasks: what a context switch keeps, kernel threads, work queues. */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#define THREADS 8
#define ROUNDS 200

/* A thread that does its work once and then waits to be stopped. */
struct worker {
	struct task_struct *thread;
	int (*work)(struct worker *worker);
	void *shared;
	int number;
	struct completion done;
};

static int run_worker(void *arg)
{
	struct worker *worker = arg;
	int result = worker->work(worker);

	complete(&worker->done);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return result;
}

static struct worker *start_workers(struct kunit *test, int count,
				    int (*work)(struct worker *worker), void *shared)
{
	struct worker *workers = kunit_kcalloc(test, count, sizeof(*workers), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, workers);
	for (int i = 0; i < count; i++) {
		struct worker *worker = &workers[i];

		worker->work = work;
		worker->shared = shared;
		worker->number = i;
		init_completion(&worker->done);
		worker->thread = kthread_run(run_worker, worker, "arch_kunit/%d", i);
		KUNIT_ASSERT_FALSE(test, IS_ERR(worker->thread));
	}
	return workers;
}

/* Each worker must come to its end, with 0. */
static void finish_workers(struct kunit *test, struct worker *workers, int count)
{
	for (int i = 0; i < count; i++) {
		KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&workers[i].done, 60 * HZ), 0);
		KUNIT_EXPECT_EQ(test, kthread_stop(workers[i].thread), 0);
	}
}

/* registers.S */
asmlinkage u64 arch_kunit_lost_registers(u64 seed, void (*fn)(void));

static void switch_away(void)
{
	yield();
}

static int check_registers(struct worker *worker)
{
	u64 lost = 0;

	for (int i = 0; i < ROUNDS; i++) {
		u64 seed = (worker->number + 1) * 0x123456789abcULL + i;

		lost |= arch_kunit_lost_registers(seed, switch_away);
	}
	return lost ? -EIO : 0;
}

static void a_switch_keeps_the_registers(struct kunit *test)
{
	finish_workers(test, start_workers(test, THREADS, check_registers, NULL), THREADS);
}

/* Some 32 KiB of stack, checked on the way back from a switch on the innermost level. */
static noinline int dig(int level, int seed)
{
	u8 bytes[1000];
	int wrong = 0;

	for (int i = 0; i < sizeof(bytes); i++)
		bytes[i] = seed + level + i;
	barrier_data(bytes);
	if (level)
		wrong = dig(level - 1, seed);
	else
		yield();
	for (int i = 0; i < sizeof(bytes); i++)
		wrong += bytes[i] != (u8)(seed + level + i);
	return wrong;
}

static int use_the_stack(struct worker *worker)
{
	int wrong = 0;

	for (int i = 0; i < 5; i++)
		wrong += dig(30, worker->number * 50 + i);
	return wrong;
}

static void each_task_has_a_stack_of_its_own(struct kunit *test)
{
	finish_workers(test, start_workers(test, THREADS, use_the_stack, NULL), THREADS);
}

static int wait_for_stop(void *arg)
{
	struct completion *started = arg;

	complete(started);
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
		if (kthread_should_park())
			kthread_parkme();
	}
	return 42;
}

static void a_thread_stops_with_its_result(struct kunit *test)
{
	struct completion started;
	struct task_struct *thread;

	init_completion(&started);
	thread = kthread_run(wait_for_stop, &started, "arch_kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&started, 10 * HZ), 0);
	KUNIT_EXPECT_EQ(test, kthread_stop(thread), 42);
}

static void a_thread_stopped_before_it_ran_never_runs(struct kunit *test)
{
	struct completion started;
	struct task_struct *thread;

	init_completion(&started);
	thread = kthread_create(wait_for_stop, &started, "arch_kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	KUNIT_EXPECT_EQ(test, kthread_stop(thread), -EINTR);
	KUNIT_EXPECT_FALSE(test, completion_done(&started));
}

static void a_thread_parks_and_goes_on(struct kunit *test)
{
	struct completion started;
	struct task_struct *thread;

	init_completion(&started);
	thread = kthread_run(wait_for_stop, &started, "arch_kunit");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&started, 10 * HZ), 0);
	for (int i = 0; i < 10; i++) {
		KUNIT_EXPECT_EQ(test, kthread_park(thread), 0);
		kthread_unpark(thread);
	}
	KUNIT_EXPECT_EQ(test, kthread_stop(thread), 42);
}

static void many_threads_come_and_go(struct kunit *test)
{
	struct task_struct *threads[50];
	struct completion started;

	init_completion(&started);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < ARRAY_SIZE(threads); i++) {
			threads[i] = kthread_run(wait_for_stop, &started, "arch_kunit/%d", i);
			KUNIT_ASSERT_FALSE(test, IS_ERR(threads[i]));
		}
		for (int i = 0; i < ARRAY_SIZE(threads); i++)
			KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&started, 10 * HZ), 0);
		for (int i = 0; i < ARRAY_SIZE(threads); i++)
			KUNIT_EXPECT_EQ(test, kthread_stop(threads[i]), 42);
	}
}

struct ball {
	struct completion here, there;
	int thrown;
};

static int throw_back(struct worker *worker)
{
	struct ball *ball = worker->shared;

	for (int i = 0; i < ROUNDS; i++) {
		wait_for_completion(&ball->there);
		ball->thrown++;
		complete(&ball->here);
	}
	return 0;
}

static void two_tasks_take_turns(struct kunit *test)
{
	struct ball *ball = kunit_kzalloc(test, sizeof(*ball), GFP_KERNEL);
	struct worker *worker;

	KUNIT_ASSERT_NOT_NULL(test, ball);
	init_completion(&ball->here);
	init_completion(&ball->there);
	worker = start_workers(test, 1, throw_back, ball);
	for (int i = 0; i < ROUNDS; i++) {
		complete(&ball->there);
		wait_for_completion(&ball->here);
		KUNIT_EXPECT_EQ(test, ball->thrown, i + 1);
	}
	finish_workers(test, worker, 1);
}

struct guarded {
	struct mutex lock; /* guards what follows */
	int inside, overlaps, count;
};

static int enter_often(struct worker *worker)
{
	struct guarded *guarded = worker->shared;

	for (int i = 0; i < ROUNDS; i++) {
		mutex_lock(&guarded->lock);
		if (guarded->inside++)
			guarded->overlaps++;
		yield();
		guarded->inside--;
		guarded->count++;
		mutex_unlock(&guarded->lock);
	}
	return 0;
}

static void a_mutex_lets_one_task_in(struct kunit *test)
{
	struct guarded *guarded = kunit_kzalloc(test, sizeof(*guarded), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, guarded);
	mutex_init(&guarded->lock);
	finish_workers(test, start_workers(test, 4, enter_often, guarded), 4);
	KUNIT_EXPECT_EQ(test, guarded->overlaps, 0);
	KUNIT_EXPECT_EQ(test, guarded->count, 4 * ROUNDS);
}

struct job {
	struct work_struct work;
	struct delayed_work later;
	int *sequence, place, runs;
	bool in_task, irqs_on;
	u64 ran_ns;
};

static void do_job(struct job *job)
{
	job->runs++;
	job->in_task = in_task();
	job->irqs_on = !irqs_disabled();
	job->ran_ns = ktime_get_ns();
	if (job->sequence)
		job->place = (*job->sequence)++;
}

static void on_work(struct work_struct *work)
{
	/* Work may sleep. */
	usleep_range(50, 100);
	do_job(container_of(work, struct job, work));
}

static void on_later(struct work_struct *work)
{
	do_job(container_of(to_delayed_work(work), struct job, later));
}

static void ordered_work_runs_in_order(struct kunit *test)
{
	struct workqueue_struct *queue = alloc_ordered_workqueue("arch_kunit", 0);
	struct job *jobs = kunit_kcalloc(test, 20, sizeof(*jobs), GFP_KERNEL);
	int sequence = 0;

	KUNIT_ASSERT_NOT_NULL(test, queue);
	KUNIT_ASSERT_NOT_NULL(test, jobs);
	for (int i = 0; i < 20; i++) {
		jobs[i].sequence = &sequence;
		INIT_WORK(&jobs[i].work, on_work);
		KUNIT_EXPECT_TRUE(test, queue_work(queue, &jobs[i].work));
	}
	flush_workqueue(queue);
	for (int i = 0; i < 20; i++) {
		KUNIT_EXPECT_EQ(test, jobs[i].place, i);
		KUNIT_EXPECT_EQ(test, jobs[i].runs, 1);
		KUNIT_EXPECT_TRUE(test, jobs[i].in_task);
		KUNIT_EXPECT_TRUE(test, jobs[i].irqs_on);
	}
	destroy_workqueue(queue);
}

static void delayed_work_is_not_early(struct kunit *test)
{
	struct job job = {};
	u64 start = ktime_get_ns();

	INIT_DELAYED_WORK_ONSTACK(&job.later, on_later);
	KUNIT_EXPECT_TRUE(test, schedule_delayed_work(&job.later, 5));
	while (!READ_ONCE(job.runs) && ktime_get_ns() - start < 10 * NSEC_PER_SEC)
		schedule_timeout_uninterruptible(1);
	KUNIT_EXPECT_EQ(test, job.runs, 1);
	KUNIT_EXPECT_GE(test, job.ran_ns - start, 4 * TICK_NSEC);
	cancel_delayed_work_sync(&job.later);
	destroy_delayed_work_on_stack(&job.later);
}

static void cancelled_work_does_not_run(struct kunit *test)
{
	struct job job = {};

	INIT_DELAYED_WORK_ONSTACK(&job.later, on_later);
	schedule_delayed_work(&job.later, 3);
	KUNIT_EXPECT_TRUE(test, cancel_delayed_work_sync(&job.later));
	schedule_timeout_uninterruptible(10);
	KUNIT_EXPECT_EQ(test, job.runs, 0);
	destroy_delayed_work_on_stack(&job.later);
}

static struct kunit_case task_cases[] = {
	KUNIT_CASE(a_switch_keeps_the_registers),
	KUNIT_CASE(each_task_has_a_stack_of_its_own),
	KUNIT_CASE(a_thread_stops_with_its_result),
	KUNIT_CASE(a_thread_stopped_before_it_ran_never_runs),
	KUNIT_CASE(a_thread_parks_and_goes_on),
	KUNIT_CASE(many_threads_come_and_go),
	KUNIT_CASE(two_tasks_take_turns),
	KUNIT_CASE(a_mutex_lets_one_task_in),
	KUNIT_CASE(ordered_work_runs_in_order),
	KUNIT_CASE(delayed_work_is_not_early),
	KUNIT_CASE(cancelled_work_does_not_run),
	{}
};

static struct kunit_suite task_suite = {
	.name = "arch_task",
	.test_cases = task_cases,
};

kunit_test_suite(task_suite);
