// SPDX-License-Identifier: GPL-2.0
/*
 * pid 1 without a user land. kernel_init() wants to execute /init: we put a file there and bring a
 * binary format whose loader says "done" without loading anything. kernel_init() then returns into
 * libos_task_start(), which comes to libos_pid1().
 */
#include <linux/binfmts.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/init_syscalls.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/sched/signal.h>
#include "libos.h"

static const char init_magic[] = "libos pid 1";

static int load_init(struct linux_binprm *bprm)
{
	return memcmp(bprm->buf, init_magic, sizeof(init_magic)) ? -ENOEXEC : 0;
}

static struct linux_binfmt init_format = {
	.module = THIS_MODULE,
	.load_binary = load_init,
};

/* Makes an executable file whose content is `magic`, for a binary format of ours to recognise. */
int __init libos_make_program(const char *path, const char *magic, size_t len)
{
	struct file *file = filp_open(path, O_WRONLY | O_CREAT | O_EXCL, 0700);
	loff_t pos = 0;
	ssize_t n;

	if (IS_ERR(file))
		return PTR_ERR(file);
	n = kernel_write(file, magic, len, &pos);
	/* Not fput(): it would close the file for writing only later, and exec says ETXTBSY. */
	__fput_sync(file);
	return n == len ? 0 : n < 0 ? n : -EIO;
}

static int __init make_init(void)
{
	register_binfmt(&init_format);
	return libos_make_program("/init", init_magic, sizeof(init_magic));
}
late_initcall(make_init);

static const struct {
	const char *type, *dir;
} mounts[] = {
	{ "proc", "/proc" },
	{ "sysfs", "/sys" },
	{ "debugfs", "/sys/kernel/debug" },
	{ "tracefs", "/sys/kernel/tracing" },
	{ "cgroup2", "/sys/fs/cgroup" },
	{ "ramfs", "/tmp" },
	{ "ramfs", "/run" },
};

/* Called from pid 1 after boot: init memory is never given back, so __init functions still exist. */
void __noreturn __ref libos_pid1(void)
{
	ignore_signals(current);
	set_task_comm(current, "init");

	for (unsigned int i = 0; i < ARRAY_SIZE(mounts); i++) {
		int err;

		init_mkdir(mounts[i].dir, 0755);
		err = init_mount(mounts[i].type, mounts[i].dir, mounts[i].type, 0, NULL);
		if (err && err != -ENODEV && err != -ENOENT)
			pr_warn("libos: mount %s on %s: %d\n", mounts[i].type, mounts[i].dir, err);
	}
	libos_mark("pid 1");
	libos_boot->init(libos_boot->cookie);
	panic("the host's init returned");
}
