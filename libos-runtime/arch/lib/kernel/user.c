// SPDX-License-Identifier: GPL-2.0
/*
 * User memory that is another process's: where libos_copy_from_user() and its kin (switch.S) go for a task
 * in libos_entry.syscall_for().
 */
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include "libos.h"

unsigned long libos_user_read(void *to, const void *from, unsigned long n)
{
	return n ? libos_host->user_read(current->thread.user, to, from, n) : 0;
}

unsigned long libos_user_write(void *to, const void *from, unsigned long n)
{
	return n ? libos_host->user_write(current->thread.user, to, from, n) : 0;
}

unsigned long libos_user_clear(void *to, unsigned long n)
{
	while (n) {
		unsigned long part = min(n, PAGE_SIZE);
		unsigned long left = libos_user_write(to, page_address(ZERO_PAGE(0)), part);

		n -= part - left;
		if (left)
			break;
		to += part;
	}
	return n;
}
