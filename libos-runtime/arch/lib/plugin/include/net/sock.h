/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A plugin's references to sockets: see ../../references.c. Those that a list has, or a timer, are taken and given back in
 * the kernel's own header, and not seen.
 */
#ifndef _LIBOS_PLUGIN_SOCK_H
#define _LIBOS_PLUGIN_SOCK_H

#include_next <net/sock.h>

void libos_sock_hold(struct sock *sk);
void libos_sock_put(struct sock *sk);
void libos_sock_put_not_last(struct sock *sk);

#define sock_hold(sk) libos_sock_hold(sk)
#define sock_put(sk) libos_sock_put(sk)
#define __sock_put(sk) libos_sock_put_not_last(sk)

#endif
