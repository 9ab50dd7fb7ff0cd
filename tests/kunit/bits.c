// SPDX-License-Identifier: GPL-2.0
/* Bit operations against a model of one byte per bit. */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/prandom.h>

#define BITS 200 /* more than three words, the last one in part */

struct bits {
	DECLARE_BITMAP(map, BITS);
	bool model[BITS];
	struct rnd_state random;
};

static struct bits *make_bits(struct kunit *test)
{
	struct bits *bits = kunit_kzalloc(test, sizeof(*bits), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, bits);
	prandom_seed_state(&bits->random, 1);
	return bits;
}

static void check_all(struct kunit *test, const struct bits *bits)
{
	for (int i = 0; i < BITS; i++)
		KUNIT_ASSERT_EQ_MSG(test, test_bit(i, bits->map), bits->model[i], "bit %d", i);
}

static void changes_one_bit_only(struct kunit *test)
{
	struct bits *bits = make_bits(test);

	for (int round = 0; round < 3000; round++) {
		u32 random = prandom_u32_state(&bits->random);
		int nr = (random >> 8) % BITS;
		bool old = bits->model[nr];
		int result = old;

		switch (random % 12) {
		case 0:
			set_bit(nr, bits->map);
			bits->model[nr] = true;
			break;
		case 1:
			clear_bit(nr, bits->map);
			bits->model[nr] = false;
			break;
		case 2:
			change_bit(nr, bits->map);
			bits->model[nr] = !old;
			break;
		case 3:
			result = test_and_set_bit(nr, bits->map);
			bits->model[nr] = true;
			break;
		case 4:
			result = test_and_clear_bit(nr, bits->map);
			bits->model[nr] = false;
			break;
		case 5:
			result = test_and_change_bit(nr, bits->map);
			bits->model[nr] = !old;
			break;
		case 6:
			__set_bit(nr, bits->map);
			bits->model[nr] = true;
			break;
		case 7:
			__clear_bit(nr, bits->map);
			bits->model[nr] = false;
			break;
		case 8:
			__change_bit(nr, bits->map);
			bits->model[nr] = !old;
			break;
		case 9:
			result = __test_and_set_bit(nr, bits->map);
			bits->model[nr] = true;
			break;
		case 10:
			result = test_and_set_bit_lock(nr, bits->map);
			bits->model[nr] = true;
			break;
		case 11:
			clear_bit_unlock(nr, bits->map);
			bits->model[nr] = false;
			break;
		}
		KUNIT_ASSERT_EQ(test, !!result, old);
		if (round % 50 == 0)
			check_all(test, bits);
	}
	check_all(test, bits);
}

static void searches_find_the_next_bit(struct kunit *test)
{
	struct bits *bits = make_bits(test);

	for (int i = 0; i < BITS; i++) {
		/* Long runs of both kinds. */
		if ((i / 23) % 2)
			bits->model[i] = prandom_u32_state(&bits->random) % 8 == 0;
		else
			bits->model[i] = i % 11 == 0;
		if (bits->model[i])
			set_bit(i, bits->map);
	}
	for (int from = 0; from <= BITS; from++) {
		int set = from, clear = from;

		while (set < BITS && !bits->model[set])
			set++;
		while (clear < BITS && bits->model[clear])
			clear++;
		KUNIT_ASSERT_EQ(test, find_next_bit(bits->map, BITS, from), set);
		KUNIT_ASSERT_EQ(test, find_next_zero_bit(bits->map, BITS, from), clear);
	}
	KUNIT_EXPECT_EQ(test, find_first_bit(bits->map, 0), 0);
}

static void first_and_last_bits(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, ffs(0), 0);
	KUNIT_EXPECT_EQ(test, fls(0), 0);
	KUNIT_EXPECT_EQ(test, fls64(0), 0);
	KUNIT_EXPECT_EQ(test, ffz(0), 0);

	for (int high = 0; high < 64; high++) {
		for (int low = 0; low <= high; low++) {
			u64 word = BIT_ULL(high) | BIT_ULL(low);

			OPTIMIZER_HIDE_VAR(word);
			KUNIT_ASSERT_EQ(test, fls64(word), high + 1);
			if (high >= BITS_PER_LONG)
				continue;
			KUNIT_ASSERT_EQ(test, __fls(word), high);
			KUNIT_ASSERT_EQ(test, __ffs(word), low);
			KUNIT_ASSERT_EQ(test, ffz(~word), low);
			if (high >= 32)
				continue;
			KUNIT_ASSERT_EQ(test, fls(word), high + 1);
			KUNIT_ASSERT_EQ(test, ffs(word), low + 1);
		}
	}
}

static void weights_count_ones(struct kunit *test)
{
	struct bits *bits = make_bits(test);

	for (int i = 0; i < 2000; i++) {
		u64 word = (u64)prandom_u32_state(&bits->random) << 32 |
			   prandom_u32_state(&bits->random);
		int ones = 0, ones32 = 0;

		for (int bit = 0; bit < 64; bit++) {
			ones += word >> bit & 1;
			ones32 += bit < 32 && word >> bit & 1;
		}
		KUNIT_ASSERT_EQ(test, hweight64(word), ones);
		KUNIT_ASSERT_EQ(test, hweight32(word), ones32);
	}
	bitmap_fill(bits->map, BITS);
	KUNIT_EXPECT_EQ(test, bitmap_weight(bits->map, BITS), BITS);
	KUNIT_EXPECT_EQ(test, bitmap_weight(bits->map, BITS - 61), BITS - 61);
}

static struct kunit_case bits_cases[] = {
	KUNIT_CASE(changes_one_bit_only),
	KUNIT_CASE(searches_find_the_next_bit),
	KUNIT_CASE(first_and_last_bits),
	KUNIT_CASE(weights_count_ones),
	{}
};

static struct kunit_suite bits_suite = {
	.name = "arch_bits",
	.test_cases = bits_cases,
};

kunit_test_suite(bits_suite);
