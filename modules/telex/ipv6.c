// SPDX-License-Identifier: GPL-2.0
/*
 * TELEX over IPv6: addresses, routes, and the registration with the IPv6 stack. A socket of
 * AF_INET6 speaks IPv6 only, as if IPV6_V6ONLY were always set.
 */
#include <linux/icmpv6.h>
#include <net/inet6_connection_sock.h>
#include <net/inet_common.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/protocol.h>
#include <net/transp_v6.h>

#include "telex.h"

struct telex6_sock {
	struct telex_sock telex;	/* must be first */
	struct ipv6_pinfo inet6;	/* must be last: inet6_sk_generic() of old kernels */
};

static int telex6_xmit(struct sock *sk, struct sk_buff *skb)
{
	return inet6_csk_xmit(sk, skb, NULL);
}

static __sum16 telex6_pseudo_sum(const struct sock *sk, unsigned int len)
{
	return csum_ipv6_magic(&inet6_sk(sk)->saddr, &sk->sk_v6_daddr, len, IPPROTO_TELEX, 0);
}

static void telex6_reply(struct net *net, const struct sk_buff *to, struct sk_buff *skb)
{
	struct telex_hdr *th = (struct telex_hdr *)skb_transport_header(skb);
	const struct ipv6hdr *ip6h = ipv6_hdr(to);
	struct sock *sk = telex_net(net)->reply_v6;
	struct flowi6 fl6 = {
		.daddr = ip6h->saddr,
		.saddr = ip6h->daddr,
		.flowi6_proto = IPPROTO_TELEX,
		.fl6_sport = th->source,
		.fl6_dport = th->dest,
	};
	struct dst_entry *dst;

	if (!ipv6_unicast_destination(to))
		goto drop;
	/* An address of one link needs the link; to others the way back may be another. */
	if (ipv6_addr_type(&ip6h->saddr) & IPV6_ADDR_LINKLOCAL)
		fl6.flowi6_oif = to->skb_iif; /* IP6CB() is overwritten by now */
	dst = ip6_dst_lookup_flow(net, sk, &fl6, NULL);
	if (IS_ERR(dst))
		goto drop;
	skb_dst_set(skb, dst);
	th->check = csum_ipv6_magic(&fl6.saddr, &fl6.daddr, skb->len, IPPROTO_TELEX,
				    csum_partial(th, skb->len, 0));
	ip6_xmit(sk, skb, &fl6, 0, NULL, 0, 0);
	return;

drop:
	kfree_skb(skb);
}

/* The socket's route, found anew; kept in the socket. It has the addresses and the ports by now. */
static struct dst_entry *telex6_route(struct sock *sk, struct flowi6 *fl6)
{
	struct ipv6_pinfo *np = inet6_sk(sk);
	const struct ipv6_txoptions *opt;
	struct in6_addr *final_p, final;
	struct dst_entry *dst;

	*fl6 = (struct flowi6){
		.daddr = sk->sk_v6_daddr,
		.saddr = np->saddr,
		.flowlabel = np->flow_label,
		.flowi6_oif = sk->sk_bound_dev_if,
		.flowi6_mark = sk->sk_mark,
		.flowi6_proto = IPPROTO_TELEX,
		.flowi6_uid = sk->sk_uid,
		.fl6_sport = inet_sk(sk)->inet_sport,
		.fl6_dport = inet_sk(sk)->inet_dport,
	};
	rcu_read_lock();
	opt = rcu_dereference(np->opt);
	final_p = fl6_update_dst(fl6, opt, &final);
	rcu_read_unlock();
	dst = ip6_dst_lookup_flow(sock_net(sk), sk, fl6, final_p);
	if (!IS_ERR(dst))
		ip6_dst_store(sk, dst, NULL, NULL);
	return dst;
}

static u32 telex6_mss(struct sock *sk)
{
	const struct ipv6_pinfo *np = inet6_sk(sk);
	struct dst_entry *dst = __sk_dst_check(sk, np->dst_cookie);
	u32 headers = sizeof(struct ipv6hdr) + sizeof(struct telex_hdr);
	const struct ipv6_txoptions *opt;
	struct flowi6 fl6;

	if (!dst)
		dst = telex6_route(sk, &fl6);
	if (IS_ERR(dst))
		return TELEX_MIN_MSS; /* it cannot be sent now, but later */
	rcu_read_lock();
	opt = rcu_dereference(np->opt);
	if (opt)
		headers += opt->opt_nflen + opt->opt_flen;
	rcu_read_unlock();
	return clamp_t(u32, dst_mtu(dst) - headers, TELEX_MIN_MSS,
		       SKB_MAX_ORDER(TELEX_MAX_HEADER, 2));
}

static void telex6_init_child(struct sock *child, const struct sock *listener,
			      const struct sk_buff *skb)
{
	struct ipv6_pinfo *np = &((struct telex6_sock *)child)->inet6;
	const struct ipv6hdr *ip6h = ipv6_hdr(skb);
	const struct ipv6_pinfo *from = inet6_sk(listener);

	/* The clone's pointer still leads to the listener's part. */
	inet_sk(child)->pinet6 = np;
	memcpy(np, from, sizeof(*np));
	RCU_INIT_POINTER(np->opt, NULL);
	np->pktoptions = NULL;
	np->ipv6_mc_list = NULL;
	np->ipv6_ac_list = NULL;

	child->sk_v6_daddr = ip6h->saddr;
	child->sk_v6_rcv_saddr = ip6h->daddr;
	np->saddr = ip6h->daddr;
	if (ipv6_addr_type(&ip6h->saddr) & IPV6_ADDR_LINKLOCAL)
		child->sk_bound_dev_if = skb->skb_iif; /* as in telex6_reply() */
	inet_sk(child)->inet_saddr = LOOPBACK4_IPV6;
	inet_sk(child)->inet_rcv_saddr = LOOPBACK4_IPV6;
	inet_sk(child)->inet_daddr = LOOPBACK4_IPV6;
}

static void telex6_packet_key(const struct sk_buff *skb, struct telex_key *key)
{
	const struct telex_hdr *th = (const struct telex_hdr *)skb_transport_header(skb);

	key->local = ipv6_hdr(skb)->daddr;
	key->remote = ipv6_hdr(skb)->saddr;
	key->lport = th->dest;
	key->rport = th->source;
}

static void telex6_socket_key(const struct sock *sk, struct telex_key *key)
{
	key->local = sk->sk_v6_rcv_saddr;
	key->remote = sk->sk_v6_daddr;
	key->lport = inet_sk(sk)->inet_sport;
	key->rport = inet_sk(sk)->inet_dport;
}

const struct telex_family telex_ipv6 = {
	.xmit = telex6_xmit,
	.pseudo_sum = telex6_pseudo_sum,
	.reply = telex6_reply,
	.mss = telex6_mss,
	.init_child = telex6_init_child,
	.packet_key = telex6_packet_key,
	.socket_key = telex6_socket_key,
};

static int telex6_init_sock(struct sock *sk)
{
	sk->sk_ipv6only = true;
	return telex_init_sock(sk);
}

/* An address of one link is only an address together with the link. */
static int telex6_bind_link(struct sock *sk, const struct sockaddr_in6 *sin6, int length)
{
	if (length >= sizeof(*sin6) && sin6->sin6_scope_id) {
		if (sk->sk_bound_dev_if && sk->sk_bound_dev_if != sin6->sin6_scope_id)
			return -EINVAL;
		sk->sk_bound_dev_if = sin6->sin6_scope_id;
	}
	return sk->sk_bound_dev_if ? 0 : -EINVAL;
}

static int telex6_connect(struct sock *sk, struct sockaddr *address, int length)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)address;
	struct inet_sock *inet = inet_sk(sk);
	struct ipv6_pinfo *np = inet6_sk(sk);
	struct dst_entry *dst;
	struct flowi6 fl6;
	int type, err;

	if (length < SIN6_LEN_RFC2133)
		return -EINVAL;
	if (sin6->sin6_family != AF_INET6)
		return -EAFNOSUPPORT;
	type = ipv6_addr_type(&sin6->sin6_addr);
	if (type & (IPV6_ADDR_MULTICAST | IPV6_ADDR_MAPPED))
		return -ENETUNREACH;
	if (type & IPV6_ADDR_LINKLOCAL) {
		err = telex6_bind_link(sk, sin6, length);
		if (err)
			return err;
	}
	if (!inet->inet_num && telex_get_port(sk, 0))
		return -EAGAIN;

	sk->sk_v6_daddr = type == IPV6_ADDR_ANY ? in6addr_loopback : sin6->sin6_addr;
	np->flow_label = 0;
	inet->inet_sport = htons(inet->inet_num);
	inet->inet_dport = sin6->sin6_port;
	dst = telex6_route(sk, &fl6);
	if (IS_ERR(dst)) {
		err = PTR_ERR(dst);
		goto out;
	}
	np->saddr = fl6.saddr;
	sk->sk_v6_rcv_saddr = fl6.saddr;
	inet->inet_saddr = LOOPBACK4_IPV6;
	inet->inet_rcv_saddr = LOOPBACK4_IPV6;
	err = telex_connected(sk);
	if (!err)
		return 0;

out:
	sk_dst_reset(sk);
	sk->sk_v6_daddr = in6addr_any;
	inet->inet_dport = 0;
	if (!(sk->sk_userlocks & SOCK_BINDADDR_LOCK))
		inet_reset_saddr(sk);
	if (!(sk->sk_userlocks & SOCK_BINDPORT_LOCK))
		telex_put_port(sk);
	return err;
}

static int telex6_setsockopt(struct sock *sk, int level, int name, sockptr_t value,
			     unsigned int length)
{
	int on;

	if (level == SOL_TELEX)
		return -ENOPROTOOPT;
	if (level == SOL_IPV6 && name == IPV6_V6ONLY) {
		if (length < sizeof(on))
			return -EINVAL;
		if (copy_from_sockptr(&on, value, sizeof(on)))
			return -EFAULT;
		return on ? 0 : -EINVAL;
	}
	/* Where a socket keeps its flow labels differs from kernel to kernel, so it has none. */
	if (level == SOL_IPV6 && name == IPV6_FLOWLABEL_MGR)
		return -ENOPROTOOPT;
	return ipv6_setsockopt(sk, level, name, value, length);
}

static int telex6_getsockopt(struct sock *sk, int level, int name, char __user *value,
			     int __user *length)
{
	if (level == SOL_TELEX)
		return telex_get_info(sk, name, value, length);
	return ipv6_getsockopt(sk, level, name, value, length);
}

static struct proto telex6_prot = {
	.name = "TELEXv6",
	.owner = THIS_MODULE,
	.init = telex6_init_sock,
	.close = telex_close,
	.connect = telex6_connect,
	.disconnect = telex_disconnect,
	.accept = telex_accept,
	.shutdown = telex_shutdown,
	.setsockopt = telex6_setsockopt,
	.getsockopt = telex6_getsockopt,
	.sendmsg = telex_sendmsg,
	.recvmsg = telex_recvmsg,
	.backlog_rcv = telex_backlog_rcv,
	.get_port = telex_get_port,
	.put_port = telex_put_port,
	.max_header = TELEX_MAX_HEADER,
	.obj_size = sizeof(struct telex6_sock),
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
	.ipv6_pinfo_offset = offsetof(struct telex6_sock, inet6),
#endif
	.no_autobind = true,
};

static const struct proto_ops telex6_ops = {
	.family = PF_INET6,
	.owner = THIS_MODULE,
	.release = inet6_release,
	.bind = inet6_bind,
	.connect = inet_stream_connect,
	.socketpair = sock_no_socketpair,
	.accept = inet_accept,
	.getname = inet6_getname,
	.poll = telex_poll,
	.ioctl = inet6_ioctl,
	.gettstamp = sock_gettstamp,
	.listen = telex_listen,
	.shutdown = inet_shutdown,
	.setsockopt = sock_common_setsockopt,
	.getsockopt = sock_common_getsockopt,
	.sendmsg = inet_sendmsg,
	.recvmsg = sock_common_recvmsg,
	.mmap = sock_no_mmap,
#ifdef CONFIG_COMPAT
	.compat_ioctl = inet6_compat_ioctl,
#endif
};

static struct inet_protosw telex6_protosw = {
	.type = SOCK_SEQPACKET,
	.protocol = IPPROTO_TELEX,
	.prot = &telex6_prot,
	.ops = &telex6_ops,
};

static int telex6_rcv(struct sk_buff *skb)
{
	if (skb->pkt_type != PACKET_HOST || !pskb_may_pull(skb, sizeof(struct telex_hdr)))
		goto drop;
	if (skb_checksum_init(skb, IPPROTO_TELEX, ip6_compute_pseudo) ||
	    skb_checksum_complete(skb))
		goto drop;
	return telex_receive(skb, AF_INET6, inet6_iif(skb));

drop:
	kfree_skb(skb);
	return 0;
}

static int telex6_err(struct sk_buff *skb, struct inet6_skb_parm *opt, u8 type, u8 code,
		      int offset, __be32 info)
{
	const struct ipv6hdr *ip6h = (const struct ipv6hdr *)skb->data;
	const struct telex_hdr *th = (const struct telex_hdr *)(skb->data + offset);
	bool new_mtu = type == ICMPV6_PKT_TOOBIG;
	struct telex_key key = {
		.local = ip6h->saddr,
		.remote = ip6h->daddr,
		.lport = th->source,
		.rport = th->dest,
	};
	struct sock *sk;
	bool fatal;
	int err;

	sk = telex_lookup(dev_net(skb->dev), &key, AF_INET6, inet6_iif(skb));
	if (!sk)
		return -ENOENT;
	fatal = icmpv6_err_convert(type, code, &err);
	/* Takes the socket's lock by itself. */
	if (new_mtu)
		ip6_sk_update_pmtu(skb, sk, info);
	telex_icmp_error(sk, ntohl(th->seq), err, fatal, new_mtu);
	return 0;
}

static const struct inet6_protocol telex6_protocol = {
	.handler = telex6_rcv,
	.err_handler = telex6_err,
	.flags = INET6_PROTO_FINAL,
};

int __init telex_ipv6_register(void)
{
	int err;

	if (!ipv6_mod_enabled())
		return 0;
	err = proto_register(&telex6_prot, 1);
	if (err)
		return err;
	err = inet6_add_protocol(&telex6_protocol, IPPROTO_TELEX);
	if (err)
		goto out_proto;
	err = inet6_register_protosw(&telex6_protosw);
	if (err)
		goto out_protocol;
	return 0;

out_protocol:
	inet6_del_protocol(&telex6_protocol, IPPROTO_TELEX);
out_proto:
	proto_unregister(&telex6_prot);
	return err;
}

void telex_ipv6_unregister(void)
{
	if (!ipv6_mod_enabled())
		return;
	inet6_unregister_protosw(&telex6_protosw);
	inet6_del_protocol(&telex6_protocol, IPPROTO_TELEX);
	proto_unregister(&telex6_prot);
}
