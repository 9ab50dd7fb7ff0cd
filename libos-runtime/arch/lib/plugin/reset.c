// SPDX-License-Identifier: GPL-2.0
/*
 * Ends the sockets of one module, and nobody else's (its qdiscs: reset_qdiscs.c). Their owners keep the
 * descriptors: every call on one gives -ENETRESET from now on, and poll() tells of an error. The module's own
 * code closes what was behind them, so that nothing of it is left in use.
 */
#include <linux/file.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <net/inet_connection_sock.h>
#include <net/sock.h>
#include <net/tcp.h>
#include <../kernel/module/internal.h>
#include "plugin.h"

static int grave_release(struct socket *sock)
{
	struct sock *sk = sock->sk;

	/* What accept(2) has made for its result. */
	if (!sk)
		return 0;
	sock_orphan(sk);
	sock->sk = NULL;
	sock_put(sk);
	return 0;
}

static __poll_t grave_poll(struct file *file, struct socket *sock, struct poll_table_struct *wait)
{
	sock_poll_wait(file, sock, wait);
	return EPOLLERR | EPOLLHUP | EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM | EPOLLRDHUP;
}

static int grave_bind(struct socket *sock, struct sockaddr *addr, int len)
{
	return -ENETRESET;
}

static int grave_connect(struct socket *sock, struct sockaddr *addr, int len, int flags)
{
	return -ENETRESET;
}

static int grave_socketpair(struct socket *sock, struct socket *other)
{
	return -ENETRESET;
}

static int grave_accept(struct socket *sock, struct socket *child, struct proto_accept_arg *arg)
{
	return -ENETRESET;
}

static int grave_getname(struct socket *sock, struct sockaddr *addr, int peer)
{
	return -ENETRESET;
}

static int grave_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	return -ENETRESET;
}

static int grave_number(struct socket *sock, int number) /* listen, shutdown */
{
	return -ENETRESET;
}

static int grave_setsockopt(struct socket *sock, int level, int name, sockptr_t value,
			    unsigned int len)
{
	return -ENETRESET;
}

static int grave_getsockopt(struct socket *sock, int level, int name, char __user *value,
			    int __user *len)
{
	return -ENETRESET;
}

static int grave_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	return -ENETRESET;
}

static int grave_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	return -ENETRESET;
}

static const struct proto_ops grave_ops = {
	.family = PF_UNSPEC,
	.release = grave_release,
	.bind = grave_bind,
	.connect = grave_connect,
	.socketpair = grave_socketpair,
	.accept = grave_accept,
	.getname = grave_getname,
	.poll = grave_poll,
	.ioctl = grave_ioctl,
	.listen = grave_number,
	.shutdown = grave_number,
	.setsockopt = grave_setsockopt,
	.getsockopt = grave_getsockopt,
	.sendmsg = grave_sendmsg,
	.recvmsg = grave_recvmsg,
	.mmap = sock_no_mmap,
};

static struct proto grave_proto = {
	.name = "RESET",
	.obj_size = sizeof(struct sock),
};

/* One socket that somebody has a descriptor of. */
struct victim {
	struct sock *sk; /* with a reference */
	struct socket *sock; /* with a reference to its inode */
	struct sock *grave;
	const struct proto_ops *ops; /* the module's */
};

struct victims {
	const struct module *mod;
	struct victim *list;
	unsigned int n, room;
};

static bool is_of(const struct sock *sk, const struct module *mod)
{
	if (sk->sk_prot_creator->owner == mod || sk->sk_socket->ops->owner == mod)
		return true;
	return sk_is_tcp(sk) && inet_csk(sk)->icsk_ulp_ops && inet_csk(sk)->icsk_ulp_ops->owner == mod;
}

static bool has_descriptor(const struct sock *sk)
{
	return sk->sk_socket && sk->sk_socket->file && sk->sk_socket->ops &&
	       file_count(sk->sk_socket->file);
}

static void count_victim(struct sock *sk, void *arg)
{
	struct victims *victims = arg;

	if (has_descriptor(sk) && is_of(sk, victims->mod))
		victims->n++;
}

static void take_victim(struct sock *sk, void *arg)
{
	struct victims *victims = arg;

	if (!has_descriptor(sk) || !is_of(sk, victims->mod))
		return;
	if (victims->n < victims->room) {
		victims->list[victims->n].sk = sk;
		victims->list[victims->n].sock = sk->sk_socket;
		sock_hold(sk);
		ihold(SOCK_INODE(sk->sk_socket));
	}
	victims->n++;
}

/* Calls find the grave from now on. Does not sleep. */
static void bury(struct victim *v)
{
	v->ops = v->sock->ops;
	sock_init_data(v->sock, v->grave);
	v->grave->sk_shutdown = SHUTDOWN_MASK;
	v->sock->ops = &grave_ops;
	v->sock->state = SS_UNCONNECTED;
	v->grave = NULL;
}

/* The module closes what is behind the socket, at once, and those who wait on it are told. */
static void end(struct victim *v, struct libos_reset *reset)
{
	struct socket behind = { .sk = v->sk, .ops = v->ops, .type = v->sock->type };
	char what[64];

	init_waitqueue_head(&behind.wq.wait);
	sock_set_flag(v->sk, SOCK_LINGER);
	v->sk->sk_lingertime = 0;
	scnprintf(what, sizeof(what), "socket of type %d, protocol %u, inode %lu", v->sock->type,
		  v->sk->sk_protocol, SOCK_INODE(v->sock)->i_ino);
	v->ops->release(&behind);
	module_put(v->ops->owner);
	wake_up_interruptible_poll(&v->sock->wq.wait,
				   EPOLLERR | EPOLLHUP | EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	reset->ended(reset->cookie, what);
}

/* -EAGAIN and `who` while a task sleeps in the module's code. */
static int reset_sockets(struct module *mod, struct libos_reset *reset)
{
	struct victims victims = { .mod = mod };
	int err = 0;

	libos_for_each_socket(count_victim, &victims);
	if (!victims.n)
		return 0;
	victims.room = victims.n;
	victims.n = 0;
	victims.list = kvcalloc(victims.room, sizeof(*victims.list), GFP_KERNEL);
	if (!victims.list)
		return -ENOMEM;
	libos_for_each_socket(take_victim, &victims);
	if (victims.n > victims.room)
		err = -EAGAIN; /* made while we slept */
	victims.n = min(victims.n, victims.room);
	for (unsigned int i = 0; i < victims.n && !err; i++) {
		struct victim *v = &victims.list[i];

		v->grave = sk_alloc(sock_net(v->sk), PF_UNSPEC, GFP_KERNEL, &grave_proto, 0);
		if (!v->grave)
			err = -ENOMEM;
	}

	/* From here to the last grave nothing else runs. */
	if (!err && libos_count_inside(mod, 0, reset->interrupt, reset->who, reset->who_len))
		err = -EAGAIN;
	for (unsigned int i = 0; i < victims.n && !err; i++) {
		struct victim *v = &victims.list[i];

		if (v->sk->sk_socket == v->sock && has_descriptor(v->sk))
			bury(v);
	}
	for (unsigned int i = 0; i < victims.n; i++) {
		struct victim *v = &victims.list[i];

		if (v->ops)
			end(v, reset);
		if (v->grave)
			sk_free(v->grave);
		sock_put(v->sk);
		iput(SOCK_INODE(v->sock));
	}
	kvfree(victims.list);
	return err;
}

int libos_module_reset(const char *name, struct libos_reset *reset)
{
	struct module *mod;
	int err;

	mutex_lock(&module_mutex);
	mod = find_module(name);
	mutex_unlock(&module_mutex);
	if (!mod || mod->state != MODULE_STATE_LIVE || !mod->arch.plugin)
		return -ENOENT;
	if (reset->undo) {
		libos_remake_qdiscs(mod->name);
		return 0;
	}
	err = libos_check_qdiscs(mod, reset) ?: reset_sockets(mod, reset);
	return err ?: libos_reset_qdiscs(mod, reset);
}
