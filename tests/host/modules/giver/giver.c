// SPDX-License-Identifier: GPL-2.0
/* Gives back what another module took: three references to the loopback device. */
#include <linux/module.h>
#include <linux/netdevice.h>
#include <net/net_namespace.h>

static int __init giver_init(void)
{
	for (int i = 0; i < 3; i++)
		dev_put(init_net.loopback_dev);
	return 0;
}

static void __exit giver_exit(void)
{
}

module_init(giver_init);
module_exit(giver_exit);
MODULE_DESCRIPTION("gives back what another module took");
MODULE_LICENSE("GPL");
