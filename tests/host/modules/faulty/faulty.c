// SPDX-License-Identifier: GPL-2.0
/* Does what a module must not do, when a parameter says so. */
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/sched.h>

static int init_error;
module_param(init_error, int, 0444);

static bool init_oops;
module_param(init_oops, bool, 0444);

/* The compiler must not know, or what follows is no code any more. */
static int *volatile nowhere;

static noinline void faulty_dereference(void)
{
	*nowhere = 1;
	cond_resched(); /* a leaf has no frame, and its caller would be lost to the back trace */
}

static noinline int faulty_recursion(int depth)
{
	volatile char frame[256];

	frame[depth & 255] = depth;
	return faulty_recursion(depth + 1) + frame[(depth + 1) & 255];
}

static int faulty_trigger(const char *val, const struct kernel_param *kp)
{
	if (sysfs_streq(val, "null"))
		faulty_dereference();
	else if (sysfs_streq(val, "recursion"))
		return faulty_recursion(0);
	else if (sysfs_streq(val, "bug"))
		BUG();
	else if (sysfs_streq(val, "panic"))
		panic("asked to by a test");
	else if (sysfs_streq(val, "get"))
		__module_get(THIS_MODULE);
	else if (sysfs_streq(val, "put"))
		module_put(THIS_MODULE);
	else
		return -EINVAL;
	return 0;
}

static const struct kernel_param_ops trigger_ops = {
	.set = faulty_trigger,
};
module_param_cb(trigger, &trigger_ops, NULL, 0200);

/* Variants of the module give another answer. */
#ifdef VARIANT
#define FAULTY_ANSWER (42 + VARIANT)
#else
#define FAULTY_ANSWER 42
#endif

int faulty_answer(void);
int faulty_answer(void)
{
	return FAULTY_ANSWER;
}
EXPORT_SYMBOL_GPL(faulty_answer);

static int __init faulty_init(void)
{
	if (init_oops)
		faulty_dereference();
	return init_error;
}

static void __exit faulty_exit(void)
{
}

module_init(faulty_init);
module_exit(faulty_exit);
MODULE_DESCRIPTION("module with faults on demand");
MODULE_LICENSE("GPL");
