// SPDX-License-Identifier: GPL-2.0
/*
 * Every socket of the stack, in one list. No table of the kernel has them all: hash tables lack sockets
 * that are not bound yet, descriptor tables those that are orphaned or in flight. So a security module
 * that decides nothing keeps a list node in each socket's blob.
 */
#include <linux/list.h>
#include <linux/lsm_hooks.h>
#include <linux/security.h>
#include <net/sock.h>
#include "plugin.h"

struct tracked {
	struct list_head node;
	struct sock *sk;
};

/* Changed with softirqs off: children of a listener are made in softirq. */
static LIST_HEAD(sockets);

static struct lsm_blob_sizes blobs __ro_after_init = {
	.lbs_sock = sizeof(struct tracked),
};

static struct tracked *tracked(struct sock *sk)
{
	return sk->sk_security + blobs.lbs_sock;
}

static int sk_alloc_security(struct sock *sk, int family, gfp_t priority)
{
	local_bh_disable();
	tracked(sk)->sk = sk;
	list_add_tail(&tracked(sk)->node, &sockets);
	local_bh_enable();
	return 0;
}

static void sk_free_security(struct sock *sk)
{
	local_bh_disable();
	list_del(&tracked(sk)->node);
	local_bh_enable();
}

void libos_for_each_socket(void (*visit)(struct sock *sk, void *arg), void *arg)
{
	struct tracked *t;

	local_bh_disable();
	list_for_each_entry(t, &sockets, node)
		visit(t->sk, arg);
	local_bh_enable();
}

static struct security_hook_list hooks[] __ro_after_init = {
	LSM_HOOK_INIT(sk_alloc_security, sk_alloc_security),
	LSM_HOOK_INIT(sk_free_security, sk_free_security),
};

static const struct lsm_id lsm_id = {
	.name = "libos",
	.id = LSM_ID_UNDEF,
};

static int __init sockets_init(void)
{
	security_add_hooks(hooks, ARRAY_SIZE(hooks), &lsm_id);
	return 0;
}

DEFINE_LSM(libos) = {
	.name = "libos",
	.init = sockets_init,
	.blobs = &blobs,
};
