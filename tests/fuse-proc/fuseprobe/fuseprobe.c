// SPDX-License-Identifier: GPL-2.0
/*
 * Files to read by way of the mount:
 *   /proc/fuseprobe/numbers        many lines, each with the number of the pass that printed it: a
 *                                  reader that is sent back to the start sees the number change
 *   /proc/fuseprobe/error          a read fails with the errno in the parameter `error`
 *   /proc/fuseprobe/note           a seq_file that keeps what is written to it
 *   /proc/fuseprobe/oops           a read oopses
 *   /sys/kernel/fuseprobe/counter  counts what is written to it, and notifies pollers
 */
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>

#define NUMBERS 20000

static int error = 5;
module_param(error, int, 0644);
MODULE_PARM_DESC(error, "errno of a read of /proc/fuseprobe/error");

static struct proc_dir_entry *folder;
static struct kobject *kobject;
static unsigned int passes;
static unsigned int counter;
static char note[64];

static void *numbers_start(struct seq_file *m, loff_t *pos)
{
	unsigned int *pass = m->private;

	if (*pos == 0)
		*pass = ++passes;
	return *pos < NUMBERS ? pos : NULL;
}

static void *numbers_next(struct seq_file *m, void *v, loff_t *pos)
{
	return ++*pos < NUMBERS ? pos : NULL;
}

static void numbers_stop(struct seq_file *m, void *v)
{
}

static int numbers_show(struct seq_file *m, void *v)
{
	unsigned int *pass = m->private;

	seq_printf(m, "%lld of pass %u\n", *(loff_t *)v, *pass);
	return 0;
}

static const struct seq_operations numbers_ops = {
	.start = numbers_start,
	.next = numbers_next,
	.stop = numbers_stop,
	.show = numbers_show,
};

static int error_show(struct seq_file *m, void *v)
{
	return -error;
}

static int oops_show(struct seq_file *m, void *v)
{
	seq_printf(m, "%d\n", READ_ONCE(*(int *)0x18));
	return 0;
}

static int note_show(struct seq_file *m, void *v)
{
	seq_puts(m, note);
	return 0;
}

static int note_open(struct inode *inode, struct file *file)
{
	return single_open(file, note_show, NULL);
}

static ssize_t note_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	if (*pos + count >= sizeof(note))
		return -ENOSPC;
	if (copy_from_user(note + *pos, from, count))
		return -EFAULT;
	*pos += count;
	note[*pos] = '\0';
	return count;
}

static const struct proc_ops note_ops = {
	.proc_open = note_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_write = note_write,
	.proc_release = single_release,
};

static ssize_t counter_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", counter);
}

static ssize_t counter_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			     size_t count)
{
	unsigned int step;
	int ret = kstrtouint(buf, 0, &step);

	if (ret)
		return ret;
	counter += step;
	pr_info("counter is %u\n", counter);
	sysfs_notify(kobj, NULL, "counter");
	return count;
}

static struct kobj_attribute counter_attribute = __ATTR_RW(counter);

static int __init fuseprobe_init(void)
{
	int ret = -ENOMEM;

	folder = proc_mkdir("fuseprobe", NULL);
	if (!folder)
		return ret;
	if (!proc_create_seq_private("numbers", 0444, folder, &numbers_ops, sizeof(unsigned int),
				     NULL) ||
	    !proc_create_single("error", 0444, folder, error_show) ||
	    !proc_create("note", 0644, folder, &note_ops) ||
	    !proc_create_single("oops", 0400, folder, oops_show))
		goto out_proc;
	kobject = kobject_create_and_add("fuseprobe", kernel_kobj);
	if (!kobject)
		goto out_proc;
	ret = sysfs_create_file(kobject, &counter_attribute.attr);
	if (ret)
		goto out_kobject;
	return 0;

out_kobject:
	kobject_put(kobject);
out_proc:
	proc_remove(folder);
	return ret;
}

static void __exit fuseprobe_exit(void)
{
	kobject_put(kobject);
	proc_remove(folder);
}

module_init(fuseprobe_init);
module_exit(fuseprobe_exit);
MODULE_DESCRIPTION("Files for the tests of fuse-proc");
MODULE_LICENSE("GPL");
