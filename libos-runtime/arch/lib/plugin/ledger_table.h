/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the ledger looks at, a line a function. Included twice: ledger_stubs.S makes __wrap_FUNCTION of each
 * line, ledger.c a row of its table. Functions that a kernel or its configuration does not have are no harm.
 *
 *   LEDGER_TAKE(function, class, key, more, count, done, how, undo)
 *       takes something, when its result says so (`done`: INT 0, PTR a pointer, PTR2 a pointer if argument 2 is
 *       true, NUM not negative, BOOL true, ANY always). It is known by `key` and, where that is not enough, by `more`. By force it is given back
 *       by `undo`, called as `how` says: K (key), MK (more, key), KM (key, more), KC (key, count),
 *       MC (more, count), MKC (more, key, count); OWN: as ledger_classes.c has it for the class, or not at all.
 *   LEDGER_GIVE(function, class, key, more)
 *       gives it back. `more` NO: whatever was taken under the key.
 *   LEDGER_ARM(function, class, key)
 *       arms or queues what ends by itself: whether it is pending is asked of the object.
 *
 * Keys and counts: RET the result, A0 to A5 an argument, I0 the int that argument 0 points to, M0 the
 * protocol of the rtnetlink handler that it points to, P4 the pointer that the call has stored where argument 4
 * points to, SIZE argument 1, which is the size of objects that are given some room besides, NO none. Of references that
 * the kernel counts: O0 the owner of the directory that argument 0 is, T1 and T2 the tracker that argument 1 or 2 points
 * to, 0 for none, DIR the directory of the device that is the result.
 *
 * The end of memory is not here: ledger_memory.h.
 */

/* -- in pairs ----------------------------------------------------------------------------------------- */
#define PAIR(class, take, give)                                  \
	LEDGER_TAKE(take, class, A0, NO, NO, INT, K, give)       \
	LEDGER_GIVE(give, class, A0, NO)
#define PAIR_VOID(class, take, give)                             \
	LEDGER_TAKE(take, class, A0, NO, NO, ANY, K, give)       \
	LEDGER_GIVE(give, class, A0, NO)
#define PAIR_MANY(class, take, give)                             \
	LEDGER_TAKE(take, class, A0, NO, A1, INT, KC, give)      \
	LEDGER_GIVE(give, class, A0, NO)
/* (object, number) and (place, object) */
#define PAIR_AT(class, take, give)                               \
	LEDGER_TAKE(take, class, A0, A1, NO, INT, KM, give)      \
	LEDGER_GIVE(give, class, A0, A1)
#define PAIR_IN(class, take, give)                               \
	LEDGER_TAKE(take, class, A1, A0, NO, INT, MK, give)      \
	LEDGER_GIVE(give, class, A1, A0)
#define PAIR_MADE(class, take, give)                             \
	LEDGER_TAKE(take, class, RET, NO, NO, PTR, K, give)      \
	LEDGER_GIVE(give, class, A0, NO)

/* -- memory: the count is its size in bytes ------------------------------------------------------------ */
LEDGER_TAKE(__kmalloc_large_noprof, MEMORY, RET, NO, A0, PTR, OWN, none)
LEDGER_TAKE(__kmalloc_large_node_noprof, MEMORY, RET, NO, A0, PTR, OWN, none)
LEDGER_TAKE(__kmalloc_node_noprof, MEMORY, RET, NO, A0, PTR, OWN, none)
LEDGER_TAKE(__kmalloc_node_track_caller_noprof, MEMORY, RET, NO, A0, PTR, OWN, none)
LEDGER_TAKE(__kmalloc_cache_node_noprof, MEMORY, RET, NO, A3, PTR, OWN, none)
LEDGER_TAKE(__kvmalloc_node_noprof, MEMORY, RET, NO, A0, PTR, OWN, none)
LEDGER_TAKE(krealloc_noprof, MEMORY, RET, NO, A1, PTR, OWN, none)
LEDGER_TAKE(vmalloc_noprof, MEMORY, RET, NO, A0, PTR, OWN, none)
LEDGER_TAKE(vzalloc_noprof, MEMORY, RET, NO, A0, PTR, OWN, none)
LEDGER_TAKE(vmalloc_node_noprof, MEMORY, RET, NO, A0, PTR, OWN, none)
LEDGER_TAKE(vzalloc_node_noprof, MEMORY, RET, NO, A0, PTR, OWN, none)
LEDGER_TAKE(__vmalloc_noprof, MEMORY, RET, NO, A0, PTR, OWN, none)
LEDGER_TAKE(vmalloc_user_noprof, MEMORY, RET, NO, A0, PTR, OWN, none)
LEDGER_TAKE(kmemdup_noprof, MEMORY, RET, NO, A1, PTR, OWN, none)
LEDGER_TAKE(kmemdup_array, MEMORY, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(kmemdup_nul, MEMORY, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(memdup_user, MEMORY, RET, NO, A1, PTR, OWN, none)
LEDGER_TAKE(memdup_user_nul, MEMORY, RET, NO, A1, PTR, OWN, none)
LEDGER_TAKE(vmemdup_user, MEMORY, RET, NO, A1, PTR, OWN, none)
LEDGER_TAKE(kstrdup, MEMORY, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(kstrndup, MEMORY, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(strndup_user, MEMORY, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(kasprintf, MEMORY, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(kvasprintf, MEMORY, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(nla_strdup, MEMORY, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(bitmap_zalloc, MEMORY, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(bitmap_alloc, MEMORY, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(pcpu_alloc_noprof, PERCPU, RET, NO, A0, PTR, OWN, none)
LEDGER_TAKE(kmem_cache_alloc_noprof, OBJECT, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(kmem_cache_alloc_node_noprof, OBJECT, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(kmem_cache_alloc_lru_noprof, OBJECT, RET, NO, NO, PTR, OWN, none)
/* kfree_rcu(): the allocator will tell in a while, but it is the module's no more */
LEDGER_GIVE(kvfree_call_rcu, ANY_MEMORY, A1, NO)
LEDGER_TAKE(__kmem_cache_create_args, CACHE, RET, NO, SIZE, PTR, K, kmem_cache_destroy)
LEDGER_GIVE(kmem_cache_destroy, CACHE, A0, NO)
PAIR_MADE(REGISTRATION, mempool_create_node_noprof, mempool_destroy)

/* -- packets ------------------------------------------------------------------------------------------- */
LEDGER_TAKE(__alloc_skb, PACKET_BUFFER, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(__netdev_alloc_skb, PACKET_BUFFER, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(napi_alloc_skb, PACKET_BUFFER, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(alloc_skb_with_frags, PACKET_BUFFER, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(sock_alloc_send_pskb, PACKET_BUFFER, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(sock_wmalloc, PACKET_BUFFER, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(skb_clone, PACKET_BUFFER, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(skb_copy, PACKET_BUFFER, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(skb_copy_expand, PACKET_BUFFER, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(__pskb_copy_fclone, PACKET_BUFFER, RET, NO, NO, PTR, OWN, none)

/* -- what runs later ------------------------------------------------------------------------------------ */
LEDGER_ARM(add_timer, TIMER, A0)
LEDGER_ARM(add_timer_local, TIMER, A0)
LEDGER_ARM(add_timer_global, TIMER, A0)
LEDGER_ARM(add_timer_on, TIMER, A0)
LEDGER_ARM(mod_timer, TIMER, A0)
LEDGER_ARM(mod_timer_pending, TIMER, A0)
LEDGER_ARM(timer_reduce, TIMER, A0)
LEDGER_ARM(sk_reset_timer, TIMER, A1)
LEDGER_ARM(hrtimer_start_range_ns, HRTIMER, A0)
LEDGER_ARM(queue_work_on, WORK, A2)
LEDGER_ARM(queue_work_node, WORK, A2)
LEDGER_ARM(queue_rcu_work, WORK, A1)
LEDGER_ARM(queue_delayed_work_on, DELAYED_WORK, A2)
LEDGER_ARM(mod_delayed_work_on, DELAYED_WORK, A2)
LEDGER_ARM(__tasklet_schedule, TASKLET, A0)
LEDGER_ARM(__tasklet_hi_schedule, TASKLET, A0)
LEDGER_TAKE(kthread_create_on_node, THREAD, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(kthread_create_on_cpu, THREAD, RET, NO, NO, PTR, OWN, none)
PAIR_MADE(WORKQUEUE, alloc_workqueue, destroy_workqueue)

/* -- entries in file systems ----------------------------------------------------------------------------- */
LEDGER_TAKE(proc_create, PROC, RET, NO, NO, PTR, K, proc_remove)
LEDGER_TAKE(proc_create_data, PROC, RET, NO, NO, PTR, K, proc_remove)
LEDGER_TAKE(proc_create_seq_private, PROC, RET, NO, NO, PTR, K, proc_remove)
LEDGER_TAKE(proc_create_single_data, PROC, RET, NO, NO, PTR, K, proc_remove)
LEDGER_TAKE(proc_create_net_data, PROC, RET, NO, NO, PTR, K, proc_remove)
LEDGER_TAKE(proc_create_net_data_write, PROC, RET, NO, NO, PTR, K, proc_remove)
LEDGER_TAKE(proc_create_net_single, PROC, RET, NO, NO, PTR, K, proc_remove)
LEDGER_TAKE(proc_create_net_single_write, PROC, RET, NO, NO, PTR, K, proc_remove)
LEDGER_TAKE(proc_mkdir, PROC, RET, NO, NO, PTR, K, proc_remove)
LEDGER_TAKE(proc_mkdir_mode, PROC, RET, NO, NO, PTR, K, proc_remove)
LEDGER_TAKE(proc_mkdir_data, PROC, RET, NO, NO, PTR, K, proc_remove)
LEDGER_TAKE(proc_symlink, PROC, RET, NO, NO, PTR, K, proc_remove)
LEDGER_GIVE(proc_remove, PROC, A0, NO)
LEDGER_TAKE(debugfs_create_dir, DEBUGFS, RET, NO, NO, PTR, K, debugfs_remove)
LEDGER_TAKE(debugfs_create_file, DEBUGFS, RET, NO, NO, PTR, K, debugfs_remove)
LEDGER_TAKE(debugfs_create_file_unsafe, DEBUGFS, RET, NO, NO, PTR, K, debugfs_remove)
LEDGER_TAKE(debugfs_create_symlink, DEBUGFS, RET, NO, NO, PTR, K, debugfs_remove)
LEDGER_TAKE(sysfs_create_file_ns, SYSFS, A1, A0, NO, INT, OWN, none)
LEDGER_TAKE(sysfs_create_bin_file, SYSFS, A1, A0, NO, INT, OWN, none)
LEDGER_TAKE(sysfs_create_group, SYSFS_GROUP, A1, A0, NO, INT, OWN, none)
LEDGER_GIVE(sysfs_remove_file_ns, SYSFS, A1, A0)
LEDGER_GIVE(sysfs_remove_bin_file, SYSFS, A1, A0)
LEDGER_GIVE(sysfs_remove_group, SYSFS_GROUP, A1, A0)
LEDGER_TAKE(kobject_create_and_add, KOBJECT, RET, NO, NO, PTR, K, kobject_put)
LEDGER_TAKE(kobject_init_and_add, KOBJECT, A0, NO, NO, INT, OWN, none)
LEDGER_GIVE(kobject_del, KOBJECT, A0, NO)
LEDGER_GIVE(kobject_put, KOBJECT, A0, NO)
PAIR_MADE(SYSCTL, register_sysctl_sz, unregister_sysctl_table)
PAIR_MADE(SYSCTL, register_net_sysctl_sz, unregister_net_sysctl_table)

/* -- devices ---------------------------------------------------------------------------------------------- */
LEDGER_TAKE(alloc_netdev_mqs, NETDEV_MEMORY, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(rtnl_create_link, NETDEV_MEMORY, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(register_netdevice, NETDEV, A0, NO, NO, INT, OWN, none)
LEDGER_TAKE(register_netdev, NETDEV, A0, NO, NO, INT, OWN, none)
LEDGER_TAKE(netdev_rx_handler_register, RX_HANDLER, A0, NO, NO, INT, OWN, none)
LEDGER_GIVE(netdev_rx_handler_unregister, RX_HANDLER, A0, NO)
LEDGER_TAKE(__register_chrdev, CHRDEV, A3, NO, NO, NUM, OWN, none)
LEDGER_GIVE(__unregister_chrdev, CHRDEV, A3, NO)
PAIR(REGISTRATION, misc_register, misc_deregister)
LEDGER_TAKE(cdev_add, CDEV, A0, NO, NO, INT, K, cdev_del)
LEDGER_GIVE(cdev_del, CDEV, A0, NO)
LEDGER_TAKE(alloc_chrdev_region, CHRDEV_REGION, I0, A2, NO, INT, KM, unregister_chrdev_region)
LEDGER_TAKE(register_chrdev_region, CHRDEV_REGION, A0, A1, NO, INT, KM, unregister_chrdev_region)
LEDGER_GIVE(unregister_chrdev_region, CHRDEV_REGION, A0, A1)
PAIR_MADE(REGISTRATION, class_create, class_destroy)
PAIR(REGISTRATION, class_register, class_unregister)
LEDGER_TAKE(device_create, DEVICE, RET, NO, NO, PTR, K, device_unregister)
LEDGER_TAKE(__root_device_register, DEVICE, RET, NO, NO, PTR, K, root_device_unregister)
LEDGER_GIVE(root_device_unregister, DEVICE, A0, NO)
LEDGER_TAKE(device_register, DEVICE, A0, NO, NO, INT, K, device_unregister)
LEDGER_GIVE(device_unregister, DEVICE, A0, NO)
PAIR(REGISTRATION, bus_register, bus_unregister)
PAIR(REGISTRATION, driver_register, driver_unregister)
LEDGER_TAKE(__platform_driver_register, REGISTRATION, A0, NO, NO, INT, K, platform_driver_unregister)
LEDGER_GIVE(platform_driver_unregister, REGISTRATION, A0, NO)

/* -- netlink ------------------------------------------------------------------------------------------------ */
PAIR(GENL, genl_register_family, genl_unregister_family)
LEDGER_TAKE(rtnl_link_register, LINK_TYPE, A0, NO, NO, INT, K, rtnl_link_unregister)
LEDGER_GIVE(rtnl_link_unregister, LINK_TYPE, A0, NO)
LEDGER_TAKE(__rtnl_link_register, LINK_TYPE, A0, NO, NO, INT, K, rtnl_link_unregister)
LEDGER_GIVE(__rtnl_link_unregister, LINK_TYPE, A0, NO)
PAIR_VOID(REGISTRATION, rtnl_af_register, rtnl_af_unregister)
LEDGER_TAKE(rtnl_register_module, RTNL_MESSAGE, A1, A2, NO, INT, KM, rtnl_unregister)
LEDGER_GIVE(rtnl_unregister, RTNL_MESSAGE, A0, A1)
LEDGER_GIVE(rtnl_unregister_all, RTNL_MESSAGE, A0, NO)
LEDGER_TAKE(__rtnl_register_many, RTNL_MESSAGE, M0, A0, A1, INT, MC, __rtnl_unregister_many)
LEDGER_GIVE(__rtnl_unregister_many, RTNL_MESSAGE, M0, A0)
PAIR_MADE(NETLINK, __netlink_kernel_create, netlink_kernel_release)
PAIR(NOTIFIER, netlink_register_notifier, netlink_unregister_notifier)
PAIR(REGISTRATION, sock_diag_register, sock_diag_unregister)
PAIR(REGISTRATION, inet_diag_register, inet_diag_unregister)

/* -- netfilter ---------------------------------------------------------------------------------------------- */
PAIR_IN(NF_HOOK, nf_register_net_hook, nf_unregister_net_hook)
LEDGER_TAKE(nf_register_net_hooks, NF_HOOK, A1, A0, A2, INT, MKC, nf_unregister_net_hooks)
LEDGER_GIVE(nf_unregister_net_hooks, NF_HOOK, A1, A0)
PAIR(REGISTRATION, nf_register_sockopt, nf_unregister_sockopt)
PAIR(XT_MATCH, xt_register_match, xt_unregister_match)
PAIR_MANY(XT_MATCH, xt_register_matches, xt_unregister_matches)
PAIR(XT_TARGET, xt_register_target, xt_unregister_target)
PAIR_MANY(XT_TARGET, xt_register_targets, xt_unregister_targets)
PAIR_MADE(XT_TABLE, xt_register_table, xt_unregister_table)
PAIR(REGISTRATION, xt_register_template, xt_unregister_template)
PAIR(NFT_EXPR, nft_register_expr, nft_unregister_expr)
PAIR(NFT_OBJ, nft_register_obj, nft_unregister_obj)
PAIR_VOID(REGISTRATION, nft_register_chain_type, nft_unregister_chain_type)
PAIR_VOID(REGISTRATION, nft_register_flowtable_type, nft_unregister_flowtable_type)
PAIR(REGISTRATION, nfnetlink_subsys_register, nfnetlink_subsys_unregister)
LEDGER_TAKE(nf_log_register, REGISTRATION, A1, NO, NO, INT, K, nf_log_unregister)
LEDGER_GIVE(nf_log_unregister, REGISTRATION, A0, NO)
PAIR_MANY(REGISTRATION, nf_conntrack_helpers_register, nf_conntrack_helpers_unregister)
PAIR(REGISTRATION, nf_conntrack_helper_register, nf_conntrack_helper_unregister)
PAIR_VOID(REGISTRATION, nf_nat_helper_register, nf_nat_helper_unregister)
PAIR_VOID(REGISTRATION, nf_ct_helper_expectfn_register, nf_ct_helper_expectfn_unregister)
PAIR(REGISTRATION, ip_set_type_register, ip_set_type_unregister)
PAIR(REGISTRATION, register_ip_vs_scheduler, unregister_ip_vs_scheduler)

/* -- traffic control ---------------------------------------------------------------------------------------- */
PAIR(QDISC, register_qdisc, unregister_qdisc)
PAIR(CLASSIFIER, register_tcf_proto_ops, unregister_tcf_proto_ops)
PAIR_AT(ACTION, tcf_register_action, tcf_unregister_action)
PAIR(REGISTRATION, tcf_em_register, tcf_em_unregister)
PAIR(REGISTRATION, register_ife_op, unregister_ife_op)

/* -- protocols ---------------------------------------------------------------------------------------------- */
PAIR(PROTO, proto_register, proto_unregister)
LEDGER_TAKE(sock_register, FAMILY, I0, NO, NO, INT, K, sock_unregister)
LEDGER_GIVE(sock_unregister, FAMILY, A0, NO)
PAIR_VOID(PROTOSW, inet_register_protosw, inet_unregister_protosw)
PAIR(PROTOSW, inet6_register_protosw, inet6_unregister_protosw)
PAIR_AT(IP_PROTOCOL, inet_add_protocol, inet_del_protocol)
PAIR_AT(IP_PROTOCOL, inet6_add_protocol, inet6_del_protocol)
PAIR_AT(OFFLOAD, inet_add_offload, inet_del_offload)
PAIR_AT(OFFLOAD, inet6_add_offload, inet6_del_offload)
PAIR_VOID(OFFLOAD, dev_add_offload, dev_remove_offload)
PAIR_VOID(PACKET_TYPE, dev_add_pack, dev_remove_pack)
LEDGER_GIVE(__dev_remove_pack, PACKET_TYPE, A0, NO)
PAIR(ULP, tcp_register_ulp, tcp_unregister_ulp)
PAIR(MPTCP_SCHEDULER, mptcp_register_scheduler, mptcp_unregister_scheduler)
PAIR_AT(REGISTRATION, xfrm_register_type, xfrm_unregister_type)
PAIR_VOID(REGISTRATION, xfrm_register_km, xfrm_unregister_km)
PAIR_AT(REGISTRATION, xfrm4_protocol_register, xfrm4_protocol_deregister)
PAIR_AT(REGISTRATION, xfrm6_protocol_register, xfrm6_protocol_deregister)
PAIR_AT(REGISTRATION, xfrm4_tunnel_register, xfrm4_tunnel_deregister)
PAIR_AT(REGISTRATION, xfrm6_tunnel_register, xfrm6_tunnel_deregister)
PAIR(REGISTRATION, xfrm_input_register_afinfo, xfrm_input_unregister_afinfo)
PAIR_AT(REGISTRATION, lwtunnel_encap_add_ops, lwtunnel_encap_del_ops)
PAIR_AT(REGISTRATION, ip_tunnel_encap_add_ops, ip_tunnel_encap_del_ops)
PAIR_AT(REGISTRATION, ip6_tnl_encap_add_ops, ip6_tnl_encap_del_ops)
PAIR(REGISTRATION, stp_proto_register, stp_proto_unregister)
LEDGER_TAKE(vsock_core_register, REGISTRATION, A0, NO, NO, INT, K, vsock_core_unregister)
LEDGER_GIVE(vsock_core_unregister, REGISTRATION, A0, NO)
PAIR(REGISTRATION, team_mode_register, team_mode_unregister)
PAIR(REGISTRATION, textsearch_register, textsearch_unregister)
PAIR(PERNET, register_pernet_subsys, unregister_pernet_subsys)
PAIR(PERNET, register_pernet_device, unregister_pernet_device)

/* -- notifiers ---------------------------------------------------------------------------------------------- */
PAIR(NOTIFIER, register_netdevice_notifier, unregister_netdevice_notifier)
PAIR_IN(NOTIFIER, register_netdevice_notifier_net, unregister_netdevice_notifier_net)
PAIR(NOTIFIER, register_inetaddr_notifier, unregister_inetaddr_notifier)
PAIR(NOTIFIER, register_inet6addr_notifier, unregister_inet6addr_notifier)
PAIR(NOTIFIER, register_inetaddr_validator_notifier, unregister_inetaddr_validator_notifier)
PAIR(NOTIFIER, register_inet6addr_validator_notifier, unregister_inet6addr_validator_notifier)
PAIR(NOTIFIER, register_netevent_notifier, unregister_netevent_notifier)
PAIR(NOTIFIER, register_module_notifier, unregister_module_notifier)
PAIR(NOTIFIER, register_reboot_notifier, unregister_reboot_notifier)
PAIR_IN(NOTIFIER, register_fib_notifier, unregister_fib_notifier)
PAIR_IN(NOTIFIER, register_nexthop_notifier, unregister_nexthop_notifier)
LEDGER_GIVE(__unregister_nexthop_notifier, NOTIFIER, A1, A0)
PAIR_IN(NOTIFIER, atomic_notifier_chain_register, atomic_notifier_chain_unregister)
PAIR_IN(NOTIFIER, blocking_notifier_chain_register, blocking_notifier_chain_unregister)
PAIR_IN(NOTIFIER, raw_notifier_chain_register, raw_notifier_chain_unregister)
PAIR_IN(NOTIFIER, srcu_notifier_chain_register, srcu_notifier_chain_unregister)

/* -- cryptography ------------------------------------------------------------------------------------------- */
PAIR(CRYPTO, crypto_register_alg, crypto_unregister_alg)
PAIR(CRYPTO, crypto_register_shash, crypto_unregister_shash)
PAIR_MANY(CRYPTO, crypto_register_shashes, crypto_unregister_shashes)
PAIR(CRYPTO, crypto_register_skcipher, crypto_unregister_skcipher)
PAIR(CRYPTO, crypto_register_aead, crypto_unregister_aead)
PAIR(CRYPTO, crypto_register_template, crypto_unregister_template)
PAIR_MANY(CRYPTO, crypto_register_templates, crypto_unregister_templates)

/* -- sockets, files, references ------------------------------------------------------------------------------ */
LEDGER_TAKE(sk_alloc, SOCKET, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(sock_create_kern, KERNEL_SOCKET, P4, NO, NO, INT, K, sock_release)
LEDGER_GIVE(sock_release, KERNEL_SOCKET, A0, NO)
LEDGER_TAKE(filp_open, FILE, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(try_module_get, MODULE_REF, A0, NO, NO, BOOL, K, module_put)
LEDGER_TAKE(__module_get, MODULE_REF, A0, NO, NO, ANY, K, module_put)
LEDGER_GIVE(module_put, MODULE_REF, A0, NO)

#undef PAIR
#undef PAIR_VOID
#undef PAIR_MANY
#undef PAIR_AT
#undef PAIR_IN
#undef PAIR_MADE

/* -- references by calls; those by inline functions: references.c ---------------------------------------------- */
LEDGER_TAKE(get_net_ns_by_fd, NETNS_REFERENCE, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(get_net_ns_by_pid, NETNS_REFERENCE, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(get_net_ns_by_id, NETNS_REFERENCE, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(rtnl_link_get_net, NETNS_REFERENCE, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(rtnl_get_net_ns_capable, NETNS_REFERENCE, RET, NO, NO, PTR, OWN, none)

/*
 * Where the configuration counts those to devices and namespaces, the inline functions call these. The key is the
 * device or the namespace, which ends with its memory; the count is the directory of its references.
 */
LEDGER_TAKE(ref_tracker_alloc, REFERENCE, O0, T1, A0, INT, OWN, none)
LEDGER_GIVE(ref_tracker_free, REFERENCE, O0, T1)
#ifdef CONFIG_NET_DEV_REFCNT_TRACKER
LEDGER_TAKE(dev_get_by_name, REFERENCE, RET, NO, DIR, PTR, OWN, none)
LEDGER_TAKE(dev_get_by_index, REFERENCE, RET, NO, DIR, PTR, OWN, none)
LEDGER_TAKE(__ip_dev_find, REFERENCE, RET, NO, DIR, PTR2, OWN, none)
LEDGER_TAKE(netdev_get_by_name, REFERENCE, RET, T2, DIR, PTR, OWN, none)
LEDGER_TAKE(netdev_get_by_index, REFERENCE, RET, T2, DIR, PTR, OWN, none)
#else
LEDGER_TAKE(dev_get_by_name, DEVICE_REFERENCE, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(dev_get_by_index, DEVICE_REFERENCE, RET, NO, NO, PTR, OWN, none)
LEDGER_TAKE(__ip_dev_find, DEVICE_REFERENCE, RET, NO, NO, PTR2, OWN, none)
LEDGER_TAKE(netdev_get_by_name, DEVICE_REFERENCE, RET, A2, NO, PTR, OWN, none)
LEDGER_TAKE(netdev_get_by_index, DEVICE_REFERENCE, RET, A2, NO, PTR, OWN, none)
#endif
