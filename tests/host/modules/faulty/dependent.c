// SPDX-License-Identifier: GPL-2.0
/* Depends on the module "faulty". */
#include <linux/module.h>

int faulty_answer(void);

static int answer;
module_param(answer, int, 0444);

/* As "answer" is, but asked for at each reading. */
static int dependent_ask(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "%d\n", faulty_answer());
}

static const struct kernel_param_ops ask_ops = {
	.get = dependent_ask,
};
module_param_cb(ask, &ask_ops, NULL, 0444);

static int __init dependent_init(void)
{
	answer = faulty_answer();
	return 0;
}

static void __exit dependent_exit(void)
{
}

module_init(dependent_init);
module_exit(dependent_exit);
MODULE_DESCRIPTION("module that needs another one");
MODULE_LICENSE("GPL");
