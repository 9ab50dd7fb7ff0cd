// SPDX-License-Identifier: GPL-2.0
/*
 * TELEX over IPv4: addresses, routes, and the registration with the IPv4 stack.
 */
#include <linux/icmp.h>
#include <net/icmp.h>
#include <net/inet_common.h>
#include <net/inet_hashtables.h>
#include <net/ip.h>
#include <net/protocol.h>
#include <net/route.h>

#include "telex.h"

static int telex4_xmit(struct sock *sk, struct sk_buff *skb)
{
	return ip_queue_xmit(sk, skb, &inet_sk(sk)->cork.fl);
}

static __sum16 telex4_pseudo_sum(const struct sock *sk, unsigned int len)
{
	const struct inet_sock *inet = inet_sk(sk);

	return csum_tcpudp_magic(inet->inet_saddr, inet->inet_daddr, len, IPPROTO_TELEX, 0);
}

static void telex4_reply(struct net *net, const struct sk_buff *to, struct sk_buff *skb)
{
	struct telex_hdr *th = (struct telex_hdr *)skb_transport_header(skb);
	const struct iphdr *iph = ip_hdr(to);
	struct sock *sk = telex_net(net)->reply_v4;
	struct flowi4 fl4;
	struct rtable *rt;

	/* A broadcast gets no answer. */
	if (skb_rtable(to)->rt_type != RTN_LOCAL)
		goto drop;
	rt = ip_route_output_ports(net, &fl4, sk, iph->saddr, iph->daddr, th->dest, th->source,
				   IPPROTO_TELEX, 0, inet_iif(to));
	if (IS_ERR(rt))
		goto drop;
	skb_dst_set(skb, &rt->dst);
	th->check = csum_tcpudp_magic(iph->daddr, iph->saddr, skb->len, IPPROTO_TELEX,
				      csum_partial(th, skb->len, 0));
	ip_build_and_send_pkt(skb, sk, iph->daddr, iph->saddr, NULL, 0);
	return;

drop:
	kfree_skb(skb);
}

static u32 telex4_mss(struct sock *sk)
{
	struct inet_sock *inet = inet_sk(sk);
	const struct ip_options_rcu *opt;
	struct dst_entry *dst = __sk_dst_check(sk, 0);
	u32 headers = sizeof(struct iphdr) + sizeof(struct telex_hdr);

	opt = rcu_dereference_protected(inet->inet_opt, lockdep_sock_is_held(sk));
	if (opt)
		headers += opt->opt.optlen;
	if (!dst) {
		/* ip_queue_xmit() takes the addresses from there as long as the route is good. */
		struct flowi4 *fl4 = &inet->cork.fl.u.ip4;
		struct rtable *rt;

		rt = ip_route_output_ports(sock_net(sk), fl4, sk,
					   opt && opt->opt.srr ? opt->opt.faddr : inet->inet_daddr,
					   inet->inet_saddr, inet->inet_dport, inet->inet_sport,
					   IPPROTO_TELEX, RT_TOS(inet->tos), sk->sk_bound_dev_if);
		if (IS_ERR(rt))
			return TELEX_MIN_MSS; /* it cannot be sent now, but later */
		dst = &rt->dst;
		sk_setup_caps(sk, dst);
	}
	/* No longer than what is easily had in one piece: loopback's MTU is 64 KiB. */
	return clamp_t(u32, dst_mtu(dst) - headers, TELEX_MIN_MSS,
		       SKB_MAX_ORDER(TELEX_MAX_HEADER, 2));
}

static void telex4_init_child(struct sock *child, const struct sock *listener,
			      const struct sk_buff *skb)
{
	const struct iphdr *iph = ip_hdr(skb);

	sk_daddr_set(child, iph->saddr);
	sk_rcv_saddr_set(child, iph->daddr);
	inet_sk(child)->inet_saddr = iph->daddr;
}

static void telex4_packet_key(const struct sk_buff *skb, struct telex_key *key)
{
	const struct telex_hdr *th = (const struct telex_hdr *)skb_transport_header(skb);
	const struct iphdr *iph = ip_hdr(skb);

	ipv6_addr_set_v4mapped(iph->daddr, &key->local);
	ipv6_addr_set_v4mapped(iph->saddr, &key->remote);
	key->lport = th->dest;
	key->rport = th->source;
}

static void telex4_socket_key(const struct sock *sk, struct telex_key *key)
{
	const struct inet_sock *inet = inet_sk(sk);

	ipv6_addr_set_v4mapped(inet->inet_rcv_saddr, &key->local);
	ipv6_addr_set_v4mapped(inet->inet_daddr, &key->remote);
	key->lport = inet->inet_sport;
	key->rport = inet->inet_dport;
}

const struct telex_family telex_ipv4 = {
	.xmit = telex4_xmit,
	.pseudo_sum = telex4_pseudo_sum,
	.reply = telex4_reply,
	.mss = telex4_mss,
	.init_child = telex4_init_child,
	.packet_key = telex4_packet_key,
	.socket_key = telex4_socket_key,
};

static int telex4_connect(struct sock *sk, struct sockaddr *address, int length)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)address;
	struct inet_sock *inet = inet_sk(sk);
	const struct ip_options_rcu *opt;
	struct flowi4 *fl4 = &inet->cork.fl.u.ip4;
	__be32 daddr, hop;
	struct rtable *rt;
	int err;

	if (length < sizeof(*sin))
		return -EINVAL;
	if (sin->sin_family != AF_INET)
		return -EAFNOSUPPORT;

	daddr = sin->sin_addr.s_addr;
	hop = daddr;
	opt = rcu_dereference_protected(inet->inet_opt, lockdep_sock_is_held(sk));
	if (opt && opt->opt.srr)
		hop = opt->opt.faddr;
	if (!inet->inet_num && telex_get_port(sk, 0))
		return -EAGAIN;
	inet->inet_sport = htons(inet->inet_num);
	rt = ip_route_connect(fl4, hop, inet->inet_saddr, sk->sk_bound_dev_if, IPPROTO_TELEX,
			      inet->inet_sport, sin->sin_port, sk);
	if (IS_ERR(rt)) {
		err = PTR_ERR(rt);
		goto out_port;
	}
	if (rt->rt_flags & (RTCF_MULTICAST | RTCF_BROADCAST)) {
		ip_rt_put(rt);
		err = -ENETUNREACH;
		goto out_port;
	}
	if (!opt || !opt->opt.srr)
		daddr = fl4->daddr; /* 0.0.0.0 means ourselves */
	if (!inet->inet_saddr)
		inet->inet_saddr = fl4->saddr;
	sk_rcv_saddr_set(sk, inet->inet_saddr);
	sk_daddr_set(sk, daddr);
	inet->inet_dport = sin->sin_port;
	sk_setup_caps(sk, &rt->dst);
	err = telex_connected(sk);
	if (!err)
		return 0;

	sk_dst_reset(sk);
	sk_daddr_set(sk, 0);
	inet->inet_dport = 0;
	if (!(sk->sk_userlocks & SOCK_BINDADDR_LOCK))
		inet_reset_saddr(sk);
out_port:
	if (!(sk->sk_userlocks & SOCK_BINDPORT_LOCK))
		telex_put_port(sk);
	return err;
}

static int telex4_setsockopt(struct sock *sk, int level, int name, sockptr_t value,
			     unsigned int length)
{
	if (level == SOL_TELEX)
		return -ENOPROTOOPT;
	return ip_setsockopt(sk, level, name, value, length);
}

static int telex4_getsockopt(struct sock *sk, int level, int name, char __user *value,
			     int __user *length)
{
	if (level == SOL_TELEX)
		return telex_get_info(sk, name, value, length);
	return ip_getsockopt(sk, level, name, value, length);
}

static struct proto telex4_prot = {
	.name = "TELEX",
	.owner = THIS_MODULE,
	.init = telex_init_sock,
	.close = telex_close,
	.connect = telex4_connect,
	.disconnect = telex_disconnect,
	.accept = telex_accept,
	.shutdown = telex_shutdown,
	.setsockopt = telex4_setsockopt,
	.getsockopt = telex4_getsockopt,
	.sendmsg = telex_sendmsg,
	.recvmsg = telex_recvmsg,
	.backlog_rcv = telex_backlog_rcv,
	.get_port = telex_get_port,
	.put_port = telex_put_port,
	.max_header = TELEX_MAX_HEADER,
	.obj_size = sizeof(struct telex_sock),
	.no_autobind = true,
};

static const struct proto_ops telex4_ops = {
	.family = PF_INET,
	.owner = THIS_MODULE,
	.release = inet_release,
	.bind = inet_bind,
	.connect = inet_stream_connect,
	.socketpair = sock_no_socketpair,
	.accept = inet_accept,
	.getname = inet_getname,
	.poll = telex_poll,
	.ioctl = inet_ioctl,
	.gettstamp = sock_gettstamp,
	.listen = telex_listen,
	.shutdown = inet_shutdown,
	.setsockopt = sock_common_setsockopt,
	.getsockopt = sock_common_getsockopt,
	.sendmsg = inet_sendmsg,
	.recvmsg = sock_common_recvmsg,
	.mmap = sock_no_mmap,
};

static struct inet_protosw telex4_protosw = {
	.type = SOCK_SEQPACKET,
	.protocol = IPPROTO_TELEX,
	.prot = &telex4_prot,
	.ops = &telex4_ops,
};

static int telex4_rcv(struct sk_buff *skb)
{
	if (skb->pkt_type != PACKET_HOST || !pskb_may_pull(skb, sizeof(struct telex_hdr)))
		goto drop;
	if (skb_checksum_init(skb, IPPROTO_TELEX, inet_compute_pseudo) ||
	    skb_checksum_complete(skb))
		goto drop;
	return telex_receive(skb, AF_INET, inet_iif(skb));

drop:
	kfree_skb(skb);
	return 0;
}

/* @skb holds the ICMP message's copy of our packet: the IP header and 8 bytes at least. */
static int telex4_err(struct sk_buff *skb, u32 info)
{
	const struct iphdr *iph = (const struct iphdr *)skb->data;
	const struct telex_hdr *th = (const struct telex_hdr *)(skb->data + iph->ihl * 4);
	int type = icmp_hdr(skb)->type, code = icmp_hdr(skb)->code;
	bool new_mtu = false, fatal = false;
	struct telex_key key;
	int err = EHOSTUNREACH;
	struct sock *sk;

	ipv6_addr_set_v4mapped(iph->saddr, &key.local);
	ipv6_addr_set_v4mapped(iph->daddr, &key.remote);
	key.lport = th->source;
	key.rport = th->dest;
	sk = telex_lookup(dev_net(skb->dev), &key, AF_INET, inet_iif(skb));
	if (!sk)
		return -ENOENT;

	switch (type) {
	case ICMP_DEST_UNREACH:
		if (code > NR_ICMP_UNREACH)
			goto out;
		new_mtu = code == ICMP_FRAG_NEEDED;
		err = icmp_err_convert[code].errno;
		fatal = icmp_err_convert[code].fatal;
		break;
	case ICMP_PARAMETERPROB:
		err = EPROTO;
		break;
	case ICMP_TIME_EXCEEDED:
		break;
	default:
		goto out;
	}
	/* Takes the socket's lock by itself. */
	if (new_mtu)
		ipv4_sk_update_pmtu(skb, sk, info);
	telex_icmp_error(sk, ntohl(th->seq), err, fatal, new_mtu);
	return 0;

out:
	sock_put(sk);
	return 0;
}

static const struct net_protocol telex4_protocol = {
	.handler = telex4_rcv,
	.err_handler = telex4_err,
};

int __init telex_ipv4_register(void)
{
	int err;

	err = proto_register(&telex4_prot, 1);
	if (err)
		return err;
	err = inet_add_protocol(&telex4_protocol, IPPROTO_TELEX);
	if (err) {
		proto_unregister(&telex4_prot);
		return err;
	}
	inet_register_protosw(&telex4_protosw);
	return 0;
}

void telex_ipv4_unregister(void)
{
	inet_unregister_protosw(&telex4_protosw);
	inet_del_protocol(&telex4_protocol, IPPROTO_TELEX); /* waits for packets under way */
	proto_unregister(&telex4_prot);
}
