// SPDX-License-Identifier: GPL-2.0
/*
 * request_module() without a user land. The kernel starts a usermode helper that executes modprobe(8).
 * The file is ours, and so is its binary format: "executing" it notes the module's name on the task,
 * which then asks the host, as the program would have done.
 */
#include <linux/binfmts.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/init_syscalls.h>
#include "plugin.h"

static const char modprobe_magic[] = "libos modprobe";

/* Copies the i-th argument string out of bprm's pages; without an MMU they are plain pages. */
static char *argument(struct linux_binprm *bprm, int i)
{
	unsigned long pos = bprm->p;
	char name[MODULE_NAME_LEN + 64];
	size_t len = 0;

	while (pos < MAX_ARG_PAGES * PAGE_SIZE) {
		char c = *((char *)page_address(bprm->page[pos / PAGE_SIZE]) + pos % PAGE_SIZE);

		pos++;
		if (c && i == 0) {
			if (len == sizeof(name) - 1)
				return NULL;
			name[len++] = c;
		}
		if (!c && i-- == 0) {
			name[len] = 0;
			return kstrdup(name, GFP_KERNEL);
		}
	}
	return NULL;
}

/* modprobe -q -- NAME, see call_modprobe() in kernel/module/kmod.c. */
static int load_modprobe(struct linux_binprm *bprm)
{
	if (memcmp(bprm->buf, modprobe_magic, sizeof(modprobe_magic)))
		return -ENOEXEC;
	if (bprm->argc != 4)
		return -EINVAL;
	current->thread.modprobe = argument(bprm, 3);
	return current->thread.modprobe ? 0 : -ENOMEM;
}

static struct linux_binfmt modprobe_format = {
	.module = THIS_MODULE,
	.load_binary = load_modprobe,
};

/* Runs on the helper's task; its exit code becomes request_module()'s result. */
int libos_modprobe_run(void)
{
	int err = libos_host->modprobe(current->thread.modprobe);

	kfree(current->thread.modprobe);
	current->thread.modprobe = NULL;
	return err ? 1 : 0;
}

static int __init make_modprobe(void)
{
	init_mkdir("/sbin", 0755);
	register_binfmt(&modprobe_format);
	return libos_make_program("/sbin/modprobe", modprobe_magic, sizeof(modprobe_magic));
}
late_initcall(make_modprobe);
