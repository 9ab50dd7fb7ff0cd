// SPDX-License-Identifier: GPL-2.0
/* The Internet checksum (RFC 1071) against the definition, one 16-bit word after the other. */
#include <kunit/test.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/string.h>
#include <net/checksum.h>
#include <net/ip6_checksum.h>

#define LONGEST 1600

/* One's complement sum of the bytes as big-endian words, an odd last byte padded with zero. */
static u32 sum_of(const void *data, size_t n)
{
	const u8 *p = data;
	u32 sum = 0;

	for (size_t i = 0; i < n; i++) {
		sum += i % 2 ? p[i] : p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static u16 fold(u32 sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/*
 * 0 and 0xffff both mean zero, and which of them comes out is not promised: the sums are compared,
 * not the bits.
 */
static void expect_sum(struct kunit *test, __sum16 sum, u32 expected, size_t n)
{
	u16 got = ~ntohs((__force __be16)sum);

	KUNIT_ASSERT_EQ_MSG(test, got % 0xffff, fold(expected) % 0xffff, "length %zu", n);
}

static u8 *make_data(struct kunit *test)
{
	u8 *data = kunit_kzalloc(test, LONGEST + 16, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, data);
	for (int i = 0; i < LONGEST + 16; i++)
		data[i] = i * 2654435761u >> 11;
	return data;
}

static void sums_every_length_and_alignment(struct kunit *test)
{
	u8 *data = make_data(test);

	for (int align = 0; align < 8; align++) {
		for (size_t n = 0; n <= LONGEST; n += n < 140 ? 1 : 61) {
			__wsum sum = csum_partial(data + align, n, 0);

			expect_sum(test, csum_fold(sum), sum_of(data + align, n), n);
		}
	}
}

static void carries_are_not_lost(struct kunit *test)
{
	u8 *data = make_data(test);

	memset(data, 0xff, LONGEST + 16);
	for (int align = 0; align < 8; align++) {
		for (size_t n = 0; n <= LONGEST; n += n < 140 ? 1 : 61) {
			__wsum sum = csum_partial(data + align, n, (__force __wsum)0xffffffff);

			expect_sum(test, csum_fold(sum), sum_of(data + align, n), n);
		}
	}
}

static void sums_go_on_from_a_former_one(struct kunit *test)
{
	u8 *data = make_data(test);

	for (size_t cut = 0; cut <= 100; cut += 2) {
		__wsum sum = csum_partial(data + cut, 101 - cut, csum_partial(data, cut, 0));

		expect_sum(test, csum_fold(sum), sum_of(data, 101), cut);
	}
}

static void copies_while_it_sums(struct kunit *test)
{
	u8 *data = make_data(test);
	u8 *to = kunit_kzalloc(test, LONGEST, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, to);
	for (size_t n = 0; n <= 200; n++) {
		__wsum sum = csum_partial_copy_nocheck(data, to, n);

		expect_sum(test, csum_fold(sum), sum_of(data, n), n);
		KUNIT_ASSERT_EQ(test, memcmp(to, data, n), 0);
	}
}

static void header_checksums(struct kunit *test)
{
	u8 *data = make_data(test);

	for (unsigned int words = 5; words <= 15; words++)
		expect_sum(test, ip_fast_csum(data, words), sum_of(data, words * 4), words);
	for (size_t n = 0; n < 100; n++)
		expect_sum(test, ip_compute_csum(data, n), sum_of(data, n), n);
}

static void pseudo_header_checksums(struct kunit *test)
{
	u8 *data = make_data(test);
	__wsum payload = csum_partial(data, 99, 0);

	for (int i = 0; i < 64; i++) {
		u32 length = 99 + i * 977;
		struct {
			__be32 saddr, daddr;
			u8 zero, protocol;
			__be16 length;
		} four = {};
		struct {
			struct in6_addr saddr, daddr;
			__be32 length;
			u8 zero[3], protocol;
		} six = {};

		memcpy(&four.saddr, data + i * 7, 8);
		four.protocol = IPPROTO_TCP;
		four.length = htons(length);
		expect_sum(test,
			   csum_tcpudp_magic(four.saddr, four.daddr, length, IPPROTO_TCP, payload),
			   sum_of(&four, sizeof(four)) + sum_of(data, 99), i);

		memcpy(&six.saddr, data + i * 13, 32);
		six.protocol = IPPROTO_UDP;
		six.length = htonl(length);
		expect_sum(test,
			   csum_ipv6_magic(&six.saddr, &six.daddr, length, IPPROTO_UDP, payload),
			   sum_of(&six, sizeof(six)) + sum_of(data, 99), i);
	}
}

static struct kunit_case checksum_cases[] = {
	KUNIT_CASE(sums_every_length_and_alignment),
	KUNIT_CASE(carries_are_not_lost),
	KUNIT_CASE(sums_go_on_from_a_former_one),
	KUNIT_CASE(copies_while_it_sums),
	KUNIT_CASE(header_checksums),
	KUNIT_CASE(pseudo_header_checksums),
	{}
};

static struct kunit_suite checksum_suite = {
	.name = "arch_checksum",
	.test_cases = checksum_cases,
};

kunit_test_suite(checksum_suite);
