// SPDX-License-Identifier: GPL-2.0
/*
 * User copies. In the library kernel a user pointer is a pointer of the process, so the good ones
 * here are the module's own; what makes the copies user copies is that a bad pointer gives -EFAULT.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/uaccess.h>

static const unsigned long bad_addresses[] = {
	0, /* nothing is mapped at NULL */
	1,
	PAGE_SIZE - 1,
	1UL << 63, /* no canonical address: another kind of fault on x86 */
	(1UL << 47) + 64,
	-PAGE_SIZE,
};

static void __user *bad(int i)
{
	return (void __user *)bad_addresses[i];
}

static void __user *good(const void *p)
{
	return (void __user __force *)p;
}

/* Sizes around those for which copies are done by registers. */
static const size_t sizes[] = { 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 64, 255, 4096 };

static void copies_bytes_both_ways(struct kunit *test)
{
	u8 *from = kunit_kzalloc(test, 8192, GFP_KERNEL);
	u8 *to = kunit_kzalloc(test, 8192, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, from);
	KUNIT_ASSERT_NOT_NULL(test, to);
	for (int i = 0; i < 8192; i++)
		from[i] = i * 31 + 7;

	for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (int align = 0; align < 8; align++) {
			size_t n = sizes[i];

			memset(to, 0xee, 8192);
			KUNIT_ASSERT_EQ(test, copy_from_user(to + 8, good(from + align), n), 0);
			KUNIT_ASSERT_EQ(test, memcmp(to + 8, from + align, n), 0);
			KUNIT_ASSERT_EQ(test, to[7], 0xee);
			KUNIT_ASSERT_EQ(test, to[8 + n], 0xee);

			memset(to, 0xee, 8192);
			KUNIT_ASSERT_EQ(test, copy_to_user(good(to + 8 + align), from, n), 0);
			KUNIT_ASSERT_EQ(test, memcmp(to + 8 + align, from, n), 0);
			KUNIT_ASSERT_EQ(test, to[7 + align], 0xee);
			KUNIT_ASSERT_EQ(test, to[8 + align + n], 0xee);
		}
	}
}

static void a_bad_pointer_copies_nothing(struct kunit *test)
{
	u8 *buf = kunit_kzalloc(test, 4096, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, buf);
	for (int i = 0; i < ARRAY_SIZE(bad_addresses); i++) {
		for (int s = 0; s < ARRAY_SIZE(sizes); s++) {
			size_t n = sizes[s];

			/* All of it is missing, and what is missing reads as zero. */
			memset(buf, 0xee, n);
			KUNIT_ASSERT_EQ(test, copy_from_user(buf, bad(i), n), n);
			KUNIT_ASSERT_NULL(test, memchr_inv(buf, 0, n));
			KUNIT_ASSERT_EQ(test, copy_to_user(bad(i), buf, n), n);
			KUNIT_ASSERT_EQ(test, clear_user(bad(i), n), n);
		}
	}
	KUNIT_EXPECT_FALSE(test, irqs_disabled());
}

#define TEST_GET_PUT(test, type)                                            \
do {                                                                        \
	type from = (type)0x8877665544332211ULL, to = 0;                    \
	KUNIT_EXPECT_EQ(test, get_user(to, (type __user *)good(&from)), 0); \
	KUNIT_EXPECT_EQ(test, to, from);                                    \
	to = 0;                                                             \
	KUNIT_EXPECT_EQ(test, put_user(from, (type __user *)good(&to)), 0); \
	KUNIT_EXPECT_EQ(test, to, from);                                    \
	for (int i = 0; i < ARRAY_SIZE(bad_addresses); i++) {               \
		KUNIT_EXPECT_EQ(test, get_user(to, (type __user *)bad(i)), -EFAULT); \
		KUNIT_EXPECT_EQ(test, put_user(from, (type __user *)bad(i)), -EFAULT); \
	}                                                                   \
} while (0)

static void gets_and_puts_every_size(struct kunit *test)
{
	TEST_GET_PUT(test, u8);
	TEST_GET_PUT(test, u16);
	TEST_GET_PUT(test, u32);
	TEST_GET_PUT(test, u64);
}

static void strings_end_at_their_zero(struct kunit *test)
{
	static const char text[] = "vegas\0more";
	char buf[16];

	memset(buf, 'x', sizeof(buf));
	KUNIT_EXPECT_EQ(test, strncpy_from_user(buf, good(text), sizeof(buf)), 5);
	KUNIT_EXPECT_STREQ(test, buf, "vegas");
	KUNIT_EXPECT_EQ(test, strncpy_from_user(buf, good(text), 3), 3);
	KUNIT_EXPECT_EQ(test, strnlen_user(good(text), 100), 6);
	KUNIT_EXPECT_GT(test, strnlen_user(good(text), 3), 3);
	for (int i = 0; i < ARRAY_SIZE(bad_addresses); i++) {
		KUNIT_EXPECT_EQ(test, strncpy_from_user(buf, bad(i), sizeof(buf)), -EFAULT);
		KUNIT_EXPECT_EQ(test, strnlen_user(bad(i), 100), 0);
	}
}

static void clears_exactly_the_bytes(struct kunit *test)
{
	u8 buf[80];

	for (size_t n = 0; n <= 64; n++) {
		memset(buf, 0xee, sizeof(buf));
		KUNIT_ASSERT_EQ(test, clear_user(good(buf + 3), n), 0);
		KUNIT_ASSERT_EQ(test, buf[2], 0xee);
		KUNIT_ASSERT_NULL(test, memchr_inv(buf + 3, 0, n));
		KUNIT_ASSERT_EQ(test, buf[3 + n], 0xee);
	}
}

/* The end of some mapping of this process above @p, or 0. */
static unsigned long end_of_mapping(const void *p)
{
	unsigned long page = (unsigned long)p & PAGE_MASK;

	for (int i = 0; i < 1000000; i++, page += PAGE_SIZE) {
		u8 byte;

		if (copy_from_kernel_nofault(&byte, (void *)page, 1))
			return page;
	}
	return 0;
}

static void a_copy_stops_at_the_end_of_a_mapping(struct kunit *test)
{
	unsigned long end = end_of_mapping(&end);
	u8 buf[64];

	if (!end)
		kunit_skip(test, "no end of a mapping found");

	for (size_t have = 0; have < sizeof(buf); have++) {
		const u8 *from = (const u8 *)end - have;
		unsigned long left;

		memset(buf, 0xee, sizeof(buf));
		left = copy_from_user(buf, good(from), sizeof(buf));
		/* It may give up early, but never says that it copied what is not there. */
		KUNIT_ASSERT_GE(test, left, sizeof(buf) - have);
		KUNIT_ASSERT_LE(test, left, sizeof(buf));
		KUNIT_ASSERT_EQ(test, memcmp(buf, from, sizeof(buf) - left), 0);
		KUNIT_ASSERT_NULL(test, memchr_inv(buf + sizeof(buf) - left, 0, left));
	}
}

static void kernel_probes_do_not_fault(struct kunit *test)
{
	unsigned long value = 42, out = 0;

	KUNIT_EXPECT_EQ(test, copy_from_kernel_nofault(&out, &value, sizeof(out)), 0);
	KUNIT_EXPECT_EQ(test, out, 42);
	KUNIT_EXPECT_EQ(test, get_kernel_nofault(out, (unsigned long *)8), -EFAULT);
	KUNIT_EXPECT_EQ(test, copy_from_kernel_nofault(&out, (void *)8, sizeof(out)), -EFAULT);
}

static void a_fault_may_come_with_interrupts_off(struct kunit *test)
{
	unsigned long flags, left;
	bool still_off;
	u8 byte;

	local_irq_save(flags);
	pagefault_disable();
	left = __copy_from_user_inatomic(&byte, bad(1), 1);
	pagefault_enable();
	still_off = irqs_disabled();
	local_irq_restore(flags);

	KUNIT_EXPECT_EQ(test, left, 1);
	KUNIT_EXPECT_TRUE(test, still_off);
	KUNIT_EXPECT_FALSE(test, irqs_disabled());
}

static int uaccess_init(struct kunit *test)
{
	u8 byte = 0;

	/* Where user and kernel have address spaces of their own, none of this applies. */
	if (!access_ok(good(&byte), 1))
		kunit_skip(test, "kernel pointers are no user pointers here");
	return 0;
}

static struct kunit_case uaccess_cases[] = {
	KUNIT_CASE(copies_bytes_both_ways),
	KUNIT_CASE(a_bad_pointer_copies_nothing),
	KUNIT_CASE(gets_and_puts_every_size),
	KUNIT_CASE(strings_end_at_their_zero),
	KUNIT_CASE(clears_exactly_the_bytes),
	KUNIT_CASE(a_copy_stops_at_the_end_of_a_mapping),
	KUNIT_CASE(kernel_probes_do_not_fault),
	KUNIT_CASE(a_fault_may_come_with_interrupts_off),
	{}
};

static struct kunit_suite uaccess_suite = {
	.name = "arch_uaccess",
	.init = uaccess_init,
	.test_cases = uaccess_cases,
};

kunit_test_suite(uaccess_suite);
