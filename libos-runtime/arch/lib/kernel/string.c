// SPDX-License-Identifier: GPL-2.0
#include <linux/export.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <net/checksum.h>
#include "libos.h"

#undef memcpy
#undef memmove
#undef memset
#undef memcmp

void *memcpy(void *to, const void *from, size_t len)
{
	return libos_host->memcpy(to, from, len);
}
EXPORT_SYMBOL(memcpy);

void *memmove(void *to, const void *from, size_t len)
{
	return libos_host->memmove(to, from, len);
}
EXPORT_SYMBOL(memmove);

void *memset(void *to, int byte, size_t len)
{
	return libos_host->memset(to, byte, len);
}
EXPORT_SYMBOL(memset);

int memcmp(const void *a, const void *b, size_t len)
{
	return libos_host->memcmp(a, b, len);
}
EXPORT_SYMBOL(memcmp);

/* switch.S; modules copy to and from user pointers too. */
EXPORT_SYMBOL(libos_copy_user);
EXPORT_SYMBOL(libos_copy_from_user);
EXPORT_SYMBOL(libos_copy_to_user);
EXPORT_SYMBOL(libos_clear_user);

/* Of any address: the host's CPU reads words that are not aligned as fast. Two sums, so that carries do not wait in line. */
unsigned int do_csum(const unsigned char *buff, int len)
{
	u64 even = 0, odd = 0, last = 0;

	for (; len >= 16; len -= 16, buff += 16) {
		even = libos_csum_add(even, *(const u64 *)buff);
		odd = libos_csum_add(odd, *(const u64 *)(buff + 8));
	}
	if (len >= 8) {
		even = libos_csum_add(even, *(const u64 *)buff);
		len -= 8;
		buff += 8;
	}
	if (len > 0)
		memcpy(&last, buff, len);
	return libos_csum_fold(libos_csum_add(libos_csum_add(even, odd), last));
}
