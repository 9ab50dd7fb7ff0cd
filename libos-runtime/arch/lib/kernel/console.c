// SPDX-License-Identifier: GPL-2.0
/*
 * The console: kernel log text goes to the host as it is printed. /dev/console, which kernel_init() opens
 * for pid 1, is a device of ours that writes to the same place; there is no terminal to read from.
 */
#include <linux/cdev.h>
#include <linux/console.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/major.h>
#include <linux/uaccess.h>
#include "libos.h"

static void libos_console_write(struct console *con, const char *text, unsigned int len)
{
	libos_host->console(text, len);
}

static struct console libos_console = {
	.name = "libos",
	.write = libos_console_write,
	.flags = CON_PRINTBUFFER | CON_ENABLED | CON_ANYTIME,
	.index = -1,
};

/* From setup_arch(): what goes wrong early is worth reading too. */
void __init libos_console_setup(void)
{
	register_console(&libos_console);
}

static ssize_t device_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	char text[256];
	size_t n = min(len, sizeof(text));

	if (copy_from_user(text, from, n))
		return -EFAULT;
	libos_host->console(text, n);
	return n;
}

static const struct file_operations device_fops = {
	.write = device_write,
	.llseek = noop_llseek,
};

static int __init device_init(void)
{
	static struct cdev device;

	cdev_init(&device, &device_fops);
	return cdev_add(&device, MKDEV(TTYAUX_MAJOR, 1), 1);
}
device_initcall(device_init);
