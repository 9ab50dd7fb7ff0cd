/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_CHECKSUM_H
#define _ASM_LIB_CHECKSUM_H

/* Internet checksums (RFC 1071), eight bytes at a time: lib/checksum.c has all but the two sums below. */

#include <linux/limits.h>
#include <linux/types.h>

/* One's complement sum of two 64-bit numbers. */
static inline u64 libos_csum_add(u64 sum, u64 word)
{
	sum += word;
	return sum + (sum < word);
}

/* Folds to 16 bits, not complemented. */
static inline u16 libos_csum_fold(u64 sum)
{
	sum = (sum & U32_MAX) + (sum >> 32);
	sum = (sum & U16_MAX) + ((sum >> 16) & U16_MAX) + (sum >> 32);
	sum = (sum & U16_MAX) + (sum >> 16);
	return (sum & U16_MAX) + (sum >> 16);
}

#define do_csum do_csum
unsigned int do_csum(const unsigned char *buff, int len);

#define ip_fast_csum ip_fast_csum
static inline __sum16 ip_fast_csum(const void *iph, unsigned int ihl)
{
	const u32 *word = iph;
	u64 sum = 0;

	while (ihl--)
		sum += *word++;
	return (__force __sum16)~libos_csum_fold(sum);
}

#include <asm-generic/checksum.h>

#endif
