// SPDX-License-Identifier: GPL-2.0
/*
 * A congestion control with generations. VARIANT 1 and 2 work and differ in their defaults; 3 fails in
 * its init, after it has registered; 4 dies there; 5 dies when a parameter is set. 6 to 9 die at the next
 * acknowledgment: by a bad pointer, by BUG(), in an endless loop, of a stack that is full.
 */
#include <linux/module.h>
#include <net/tcp.h>

/* The compiler must not know, or what follows is no code any more. */
static int *volatile nowhere;

static int alpha = VARIANT;
module_param(alpha, int, 0644);
static int untouched = 10 * VARIANT;
module_param(untouched, int, 0644);

/* "get" and "put" keep a reference to the module, as a user of its code would. */
static int hold_set(const char *val, const struct kernel_param *kp)
{
	if (VARIANT == 5)
		*nowhere = 1;
	if (sysfs_streq(val, "get"))
		__module_get(THIS_MODULE);
	else
		module_put(THIS_MODULE);
	return 0;
}

static const struct kernel_param_ops hold_ops = {
	.set = hold_set,
};
module_param_cb(hold, &hold_ops, NULL, 0200);

static int fill_stack(volatile char *above)
{
	volatile char room[1024];

	room[0] = above[0];
	return fill_stack(room) + room[0];
}

static void cong_avoid(struct sock *sk, u32 ack, u32 acked)
{
	char none = 0;

	if (VARIANT == 6)
		*nowhere = 1;
	if (VARIANT == 7)
		BUG();
	while (VARIANT == 8)
		cpu_relax();
	if (VARIANT == 9)
		fill_stack(&none);
	tcp_reno_cong_avoid(sk, ack, acked);
}

static struct tcp_congestion_ops swapcc __read_mostly = {
	.ssthresh = tcp_reno_ssthresh,
	.cong_avoid = cong_avoid,
	.undo_cwnd = tcp_reno_undo_cwnd,
	.owner = THIS_MODULE,
	.name = "swapcc",
};

static int __init swapcc_register(void)
{
	int err = tcp_register_congestion_control(&swapcc);

	if (err)
		return err;
	if (VARIANT == 4)
		*nowhere = 1;
	if (VARIANT == 3) {
		tcp_unregister_congestion_control(&swapcc);
		return -EINVAL;
	}
	return 0;
}

static void __exit swapcc_unregister(void)
{
	tcp_unregister_congestion_control(&swapcc);
}

module_init(swapcc_register);
module_exit(swapcc_unregister);
MODULE_DESCRIPTION("congestion control to be swapped");
MODULE_LICENSE("GPL");
