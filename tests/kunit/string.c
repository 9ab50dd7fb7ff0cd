// SPDX-License-Identifier: GPL-2.0
/*
 * Memory functions at every alignment, with every length up to several vectors of the CPU. They are
 * called by pointers that the compiler cannot see through: it would inline versions of its own.
 */
#include <kunit/test.h>
#include <linux/string.h>

#define LONGEST 300
#define GUARD 16

static void *(*copy)(void *to, const void *from, size_t n);
static void *(*move)(void *to, const void *from, size_t n);
static void *(*fill)(void *to, int byte, size_t n);
static int (*compare)(const void *a, const void *b, size_t n);

static int string_init(struct kunit_suite *suite)
{
	copy = memcpy;
	move = memmove;
	fill = memset;
	compare = memcmp;
	OPTIMIZER_HIDE_VAR(copy);
	OPTIMIZER_HIDE_VAR(move);
	OPTIMIZER_HIDE_VAR(fill);
	OPTIMIZER_HIDE_VAR(compare);
	return 0;
}

struct buffers {
	u8 from[LONGEST + 3 * GUARD];
	u8 to[LONGEST + 3 * GUARD];
	u8 model[LONGEST + 3 * GUARD];
};

static struct buffers *make_buffers(struct kunit *test)
{
	struct buffers *b = kunit_kzalloc(test, sizeof(*b), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, b);
	for (int i = 0; i < sizeof(b->from); i++)
		b->from[i] = i * 37 + 11;
	return b;
}

static void clear(struct buffers *b)
{
	for (int i = 0; i < sizeof(b->to); i++) {
		b->to[i] = 0xee;
		b->model[i] = 0xee;
	}
}

/* All of b->to is as the model says, the bytes around the target too. */
static void check(struct kunit *test, const struct buffers *b, size_t n, int align)
{
	for (int i = 0; i < sizeof(b->to); i++)
		KUNIT_ASSERT_EQ_MSG(test, b->to[i], b->model[i],
				    "byte %d, length %zu, alignment %d", i, n, align);
}

static void memcpy_copies_what_it_is_told(struct kunit *test)
{
	struct buffers *b = make_buffers(test);

	for (size_t n = 0; n <= LONGEST; n++) {
		int to_align = n % GUARD, from_align = (n * 5) % GUARD;

		clear(b);
		for (int i = 0; i < n; i++)
			b->model[GUARD + to_align + i] = b->from[from_align + i];
		KUNIT_ASSERT_PTR_EQ(test, copy(b->to + GUARD + to_align, b->from + from_align, n),
				    (void *)(b->to + GUARD + to_align));
		check(test, b, n, to_align);
	}
}

static void memmove_copes_with_overlap(struct kunit *test)
{
	static const int shifts[] = { -16, -9, -8, -4, -1, 0, 1, 3, 8, 15, 16 };
	struct buffers *b = make_buffers(test);

	for (int s = 0; s < ARRAY_SIZE(shifts); s++) {
		for (size_t n = 0; n <= LONGEST; n += n < 70 ? 1 : 23) {
			u8 *from = b->to + GUARD, *to = from + shifts[s];

			for (int i = 0; i < sizeof(b->to); i++) {
				b->to[i] = i * 37 + 11;
				b->model[i] = b->to[i];
			}
			for (int i = 0; i < n; i++)
				b->model[GUARD + shifts[s] + i] = (GUARD + i) * 37 + 11;
			KUNIT_ASSERT_PTR_EQ(test, move(to, from, n), (void *)to);
			check(test, b, n, shifts[s]);
		}
	}
}

static void memset_fills_with_the_low_byte(struct kunit *test)
{
	struct buffers *b = make_buffers(test);

	for (size_t n = 0; n <= LONGEST; n++) {
		int align = n % GUARD;

		clear(b);
		for (int i = 0; i < n; i++)
			b->model[GUARD + align + i] = 0x5a;
		KUNIT_ASSERT_PTR_EQ(test, fill(b->to + GUARD + align, 0x1235a, n),
				    (void *)(b->to + GUARD + align));
		check(test, b, n, align);
	}
}

static void memcmp_tells_the_order_at_every_place(struct kunit *test)
{
	struct buffers *b = make_buffers(test);

	for (size_t n = 0; n <= 130; n++) {
		u8 *a = b->from + n % 8, *c = b->to + GUARD + n % 5;

		for (int i = 0; i < n; i++)
			c[i] = a[i];
		/* What lies behind must not matter. */
		a[n] = 1;
		c[n] = 2;
		KUNIT_ASSERT_EQ(test, compare(a, c, n), 0);
		for (int i = 0; i < n; i++) {
			u8 byte_a = a[i], byte_c = c[i];

			/* 0x01 against 0x80: signed bytes would turn it round. */
			a[i] = 0x01;
			c[i] = 0x80;
			KUNIT_ASSERT_LT(test, compare(a, c, n), 0);
			KUNIT_ASSERT_GT(test, compare(c, a, n), 0);
			a[i] = byte_a;
			c[i] = byte_c;
		}
	}
}

static void large_copies_are_whole(struct kunit *test)
{
	size_t n = (256 << 10) + 13;
	u8 *from = kunit_kzalloc(test, n, GFP_KERNEL);
	u8 *to = kunit_kzalloc(test, n + 16, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, from);
	KUNIT_ASSERT_NOT_NULL(test, to);
	for (size_t i = 0; i < n; i++)
		from[i] = i * 2654435761u >> 13;
	copy(to + 3, from, n);
	for (size_t i = 0; i < n; i++)
		KUNIT_ASSERT_EQ(test, to[3 + i], from[i]);
	/* An overlap larger than any block that a copy may be cut into. */
	move(to + 10, to + 3, n);
	for (size_t i = 0; i < n; i++)
		KUNIT_ASSERT_EQ(test, to[10 + i], from[i]);
}

static struct kunit_case string_cases[] = {
	KUNIT_CASE(memcpy_copies_what_it_is_told),
	KUNIT_CASE(memmove_copes_with_overlap),
	KUNIT_CASE(memset_fills_with_the_low_byte),
	KUNIT_CASE(memcmp_tells_the_order_at_every_place),
	KUNIT_CASE(large_copies_are_whole),
	{}
};

static struct kunit_suite string_suite = {
	.name = "arch_string",
	.suite_init = string_init,
	.test_cases = string_cases,
};

kunit_test_suite(string_suite);
