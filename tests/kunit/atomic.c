// SPDX-License-Identifier: GPL-2.0
/* Atomic operations: values and results; and that a timer's handler loses none of them. */
#include <kunit/test.h>
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>

#define START 0x00ff00f5
#define ARG 0x0f0f1234

/* op(), op_return() and fetch_op() against the plain C expression. */
#define TEST_OP(test, prefix, type, op, expected)                           \
do {                                                                        \
	prefix##_set(&v, START);                                            \
	prefix##_##op((type)ARG, &v);                                       \
	KUNIT_EXPECT_EQ(test, prefix##_read(&v), (type)(expected));         \
	prefix##_set(&v, START);                                            \
	KUNIT_EXPECT_EQ(test, prefix##_fetch_##op((type)ARG, &v), (type)START); \
	KUNIT_EXPECT_EQ(test, prefix##_read(&v), (type)(expected));         \
} while (0)

#define TEST_OPS(test, prefix, atomic_type, type)                           \
do {                                                                        \
	atomic_type v;                                                      \
	type old;                                                           \
	TEST_OP(test, prefix, type, add, (type)START + (type)ARG);          \
	TEST_OP(test, prefix, type, sub, (type)START - (type)ARG);          \
	TEST_OP(test, prefix, type, and, (type)START & (type)ARG);          \
	TEST_OP(test, prefix, type, or, (type)START | (type)ARG);           \
	TEST_OP(test, prefix, type, xor, (type)START ^ (type)ARG);          \
	TEST_OP(test, prefix, type, andnot, (type)START & ~(type)ARG);      \
	prefix##_set(&v, START);                                            \
	KUNIT_EXPECT_EQ(test, prefix##_add_return(ARG, &v), (type)START + (type)ARG); \
	KUNIT_EXPECT_EQ(test, prefix##_sub_return(ARG, &v), (type)START);   \
	KUNIT_EXPECT_EQ(test, prefix##_inc_return(&v), (type)START + 1);    \
	KUNIT_EXPECT_EQ(test, prefix##_dec_return(&v), (type)START);        \
	KUNIT_EXPECT_EQ(test, prefix##_xchg(&v, 7), (type)START);           \
	KUNIT_EXPECT_EQ(test, prefix##_cmpxchg(&v, 8, 9), 7);               \
	KUNIT_EXPECT_EQ(test, prefix##_read(&v), 7);                        \
	KUNIT_EXPECT_EQ(test, prefix##_cmpxchg(&v, 7, 9), 7);               \
	KUNIT_EXPECT_EQ(test, prefix##_read(&v), 9);                        \
	old = 1;                                                            \
	KUNIT_EXPECT_FALSE(test, prefix##_try_cmpxchg(&v, &old, 5));        \
	KUNIT_EXPECT_EQ(test, old, 9);                                      \
	KUNIT_EXPECT_TRUE(test, prefix##_try_cmpxchg(&v, &old, 1));         \
	KUNIT_EXPECT_FALSE(test, prefix##_add_unless(&v, 5, 1));            \
	KUNIT_EXPECT_TRUE(test, prefix##_add_unless(&v, 1, 3));             \
	KUNIT_EXPECT_FALSE(test, prefix##_dec_and_test(&v));                \
	KUNIT_EXPECT_TRUE(test, prefix##_dec_and_test(&v));                 \
	KUNIT_EXPECT_FALSE(test, prefix##_inc_not_zero(&v));                \
	KUNIT_EXPECT_EQ(test, prefix##_dec_if_positive(&v), -1);            \
	KUNIT_EXPECT_EQ(test, prefix##_read(&v), 0);                        \
	KUNIT_EXPECT_TRUE(test, prefix##_add_negative(-3, &v));             \
	KUNIT_EXPECT_FALSE(test, prefix##_inc_unless_negative(&v));         \
	KUNIT_EXPECT_TRUE(test, prefix##_inc_and_test((prefix##_set(&v, -1), &v))); \
} while (0)

static void operations_of_atomic(struct kunit *test)
{
	TEST_OPS(test, atomic, atomic_t, int);
}

static void operations_of_atomic64(struct kunit *test)
{
	TEST_OPS(test, atomic64, atomic64_t, s64);
}

static void operations_of_atomic_long(struct kunit *test)
{
	TEST_OPS(test, atomic_long, atomic_long_t, long);
}

static void atomic64_uses_all_its_bits(struct kunit *test)
{
	atomic64_t v = ATOMIC64_INIT(0xffffffffLL);

	KUNIT_EXPECT_EQ(test, atomic64_inc_return(&v), 0x100000000LL);
	KUNIT_EXPECT_EQ(test, atomic64_xchg(&v, 0x123456789abcdefLL), 0x100000000LL);
	KUNIT_EXPECT_EQ(test, atomic64_fetch_andnot(0xfLL, &v), 0x123456789abcdefLL);
	KUNIT_EXPECT_EQ(test, atomic64_read(&v), 0x123456789abcde0LL);
}

/* Each size of exchange, between two neighbours that must stay as they are. */
#define TEST_EXCHANGE(test, type)                                           \
do {                                                                        \
	type v[3] = { (type)-1, 5, (type)-1 };                              \
	KUNIT_EXPECT_EQ(test, xchg(&v[1], 6), 5);                           \
	KUNIT_EXPECT_EQ(test, cmpxchg(&v[1], 5, 7), 6);                     \
	KUNIT_EXPECT_EQ(test, v[1], 6);                                     \
	KUNIT_EXPECT_EQ(test, cmpxchg(&v[1], 6, (type)-2), 6);              \
	KUNIT_EXPECT_EQ(test, cmpxchg(&v[1], (type)-2, 3), (type)-2);       \
	KUNIT_EXPECT_EQ(test, v[1], 3);                                     \
	KUNIT_EXPECT_EQ(test, v[0], (type)-1);                              \
	KUNIT_EXPECT_EQ(test, v[2], (type)-1);                              \
} while (0)

static void exchanges_every_size(struct kunit *test)
{
	void *pointer = test;

	TEST_EXCHANGE(test, u8);
	TEST_EXCHANGE(test, u16);
	TEST_EXCHANGE(test, u32);
	TEST_EXCHANGE(test, u64);
	KUNIT_EXPECT_PTR_EQ(test, xchg(&pointer, NULL), (void *)test);
	KUNIT_EXPECT_PTR_EQ(test, cmpxchg(&pointer, NULL, (void *)test), NULL);
	KUNIT_EXPECT_PTR_EQ(test, pointer, (void *)test);
}

#define HANDLER_RUNS 50

struct shared {
	struct hrtimer timer;
	struct completion done;
	atomic_t counter;
	int runs;
};

static enum hrtimer_restart on_timer(struct hrtimer *timer)
{
	struct shared *shared = container_of(timer, struct shared, timer);

	atomic_add(1000000, &shared->counter);
	if (++shared->runs == HANDLER_RUNS) {
		complete(&shared->done);
		return HRTIMER_NORESTART;
	}
	hrtimer_forward_now(timer, ns_to_ktime(100 * NSEC_PER_USEC));
	return HRTIMER_RESTART;
}

static void a_handler_and_a_task_share_a_counter(struct kunit *test)
{
	struct shared shared = {};
	int added = 0;

	init_completion(&shared.done);
	hrtimer_init_on_stack(&shared.timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	shared.timer.function = on_timer;
	hrtimer_start(&shared.timer, ns_to_ktime(100 * NSEC_PER_USEC), HRTIMER_MODE_REL_HARD);

	while (!try_wait_for_completion(&shared.done) && added < 999999) {
		atomic_inc(&shared.counter);
		added++;
		/* Interrupts come in here. */
		if (added % 64 == 0) {
			udelay(10);
			local_irq_disable();
			local_irq_enable();
		}
	}
	hrtimer_cancel(&shared.timer);
	KUNIT_EXPECT_EQ(test, shared.runs, HANDLER_RUNS);
	KUNIT_EXPECT_EQ(test, atomic_read(&shared.counter), shared.runs * 1000000 + added);
	destroy_hrtimer_on_stack(&shared.timer);
}

static struct kunit_case atomic_cases[] = {
	KUNIT_CASE(operations_of_atomic),
	KUNIT_CASE(operations_of_atomic64),
	KUNIT_CASE(operations_of_atomic_long),
	KUNIT_CASE(atomic64_uses_all_its_bits),
	KUNIT_CASE(exchanges_every_size),
	KUNIT_CASE(a_handler_and_a_task_share_a_counter),
	{}
};

static struct kunit_suite atomic_suite = {
	.name = "arch_atomic",
	.test_cases = atomic_cases,
};

kunit_test_suite(atomic_suite);
