// SPDX-License-Identifier: GPL-2.0
#include <linux/export.h>
#include <linux/string.h>
#include <linux/uaccess.h>
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
