// SPDX-License-Identifier: GPL-2.0
/*
 * Reno that asks the kernel for something at every acknowledgement: memory, which it gives back at the next one,
 * and a timer. For the benchmark of the ledger: no control in the kernel asks for as much.
 */
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <net/tcp.h>

struct busycc {
	void *memory;
};

static struct timer_list timer;

static void expire(struct timer_list *unused)
{
}

static void busycc_init(struct sock *sk)
{
	struct busycc *ca = inet_csk_ca(sk);

	ca->memory = NULL;
}

static void busycc_release(struct sock *sk)
{
	struct busycc *ca = inet_csk_ca(sk);

	kfree(ca->memory);
}

static void busycc_avoid(struct sock *sk, u32 ack, u32 acked)
{
	struct busycc *ca = inet_csk_ca(sk);

	kfree(ca->memory);
	ca->memory = kmalloc(64, GFP_ATOMIC);
	mod_timer(&timer, jiffies + HZ);
	tcp_reno_cong_avoid(sk, ack, acked);
}

static struct tcp_congestion_ops busycc = {
	.init = busycc_init,
	.release = busycc_release,
	.ssthresh = tcp_reno_ssthresh,
	.undo_cwnd = tcp_reno_undo_cwnd,
	.cong_avoid = busycc_avoid,
	.owner = THIS_MODULE,
	.name = "busycc",
};

static int __init busycc_register(void)
{
	timer_setup(&timer, expire, 0);
	return tcp_register_congestion_control(&busycc);
}

static void __exit busycc_unregister(void)
{
	tcp_unregister_congestion_control(&busycc);
	timer_delete_sync(&timer);
}

module_init(busycc_register);
module_exit(busycc_unregister);
MODULE_DESCRIPTION("Reno that asks for memory and a timer at every acknowledgement");
MODULE_LICENSE("GPL");
