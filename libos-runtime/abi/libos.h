/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one contract between the host runtime (C++) and the library kernel (arch/lib).
 *
 * Both sides include this file, so it is C, uses fixed-width types only and pulls in no libc and no
 * kernel header. Either side refuses to go on when LIBOS_ABI_VERSION or a table's size differs.
 *
 * Terms
 *   carrier   the host thread that executes kernel code at this moment; there is never a second one
 *   fiber     a kernel task; it runs on its own stack, on whichever thread is the carrier
 *   stack     the whole library kernel ("network stack"), not a call stack
 *
 * Contexts from which a call may come
 *   [fiber]   on a task, where sleeping is allowed
 *   [irq]     from the idle operation or an interrupt handler: must not sleep
 *   [any]     both
 */
#ifndef LIBOS_ABI_H
#define LIBOS_ABI_H

#include "cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LIBOS_ABI_VERSION 19

/* What libos_entry.check_of() tells. */
#define LIBOS_CHECK_NONE 0
#define LIBOS_CHECK_SLAB 1 /* what the allocator keeps beside an object: stays as it is, whatever moves */
#define LIBOS_CHECK_OBJECT 2 /* CONFIG_DEBUG_OBJECTS: goes with what moves */

struct libos_task; /* a fiber; opaque to the host */
struct libos_netdev; /* a network device whose wire is the host's; opaque to the host */

/* Stages of boot, in order, for the boot chart. */
#define LIBOS_BOOT_STAGES 24
struct libos_boot_stage {
	const char *name; /* static string; NULL ends the list */
	uint64_t at_ns; /* host CLOCK_MONOTONIC at its end */
};

/*
 * Registers at a fault, as the host's signal handler found them. The layout is that of the library's
 * struct pt_regs.
 */
struct libos_fault {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t di, si, bp, bx, dx, ax, cx, sp, ip, flags;
	uint64_t address; /* what was accessed, 0 if that is not known */
	uint64_t signal; /* SIGSEGV, SIGBUS, SIGILL, SIGFPE; or'ed with LIBOS_FAULT_* */
};
#define LIBOS_FAULT_NO_ADDRESS 0x100u /* what was accessed is no address that memory can have */
#define LIBOS_FAULT_STALL 0x200u /* no fault: the host found that this code never ends */

/* A back trace that was printed, and what for. */
struct libos_trace {
	const char *what; /* of a fault that ends a task or the stack; NULL: only a trace */
	const char *context; /* "softirq", "task 12 (name)" */
	/* Innermost first. Where the instruction is: of a call, a byte of it, not what it returns to. */
	const uint64_t *frames;
	uint32_t n;
};

/* A task that has a module's code on its call stack. */
struct libos_inside {
	int32_t pid;
	uint32_t runnable; /* 1: it would run if it could; 0: it sleeps */
	uint32_t locked; /* 1: it sleeps uninterruptibly for a mutex, semaphore or the like */
	uint32_t is_thread; /* 1: a kernel thread */
	uint64_t calls; /* system calls that it has begun */
	uint64_t switches; /* times that it was switched out */
	uint64_t runtime_ns; /* CPU time */
	uint64_t ip; /* innermost address within the module, as in struct libos_trace */
	const char *name;
};

/* One iovec of a frame; same layout as struct iovec. */
struct libos_iov {
	void *base;
	size_t len;
};

/* Offloads of a frame: struct virtio_net_hdr, field by field (Linux uapi/linux/virtio_net.h). */
struct libos_frame_meta {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
};

/* Memory that a module has not freed. The address is inverted: the search must not find it here. */
struct libos_block {
	uint64_t not_at, size;
	uint32_t pointers; /* 1: something points to it */
	uint32_t calls; /* 1: something in it points into the module */
};

/* What the host supplies. Every callback is noexcept; errors are -errno. */
struct libos_host {
	uint32_t abi_version;
	uint32_t size; /* sizeof(struct libos_host) */

	/* -- log and end -- */
	/* [any] Kernel log text as it is printed; not NUL-terminated. */
	void (*console)(const char *text, size_t len);
	/* [any] The kernel panicked or stopped. Must not return. */
	void (*halt)(int panicked);

	/* -- time -- */
	/* [any] Nanoseconds of stack time; monotonic; 0 at boot. */
	uint64_t (*clock_ns)(void);
	/* [any] Nanoseconds since 1970-01-01, read once at boot. */
	uint64_t (*wall_ns)(void);
	/* [any] Waits that long without sleeping; virtual time advances instead. */
	void (*delay_ns)(uint64_t ns);
	/* [irq] The clock event moved to `deadline_ns` (also in libos_cpu). */
	void (*clock_event)(uint64_t deadline_ns);
	/* Idle task, interrupts off: return once an interrupt is pending or cpu->deadline_ns is reached. */
	void (*idle)(void);
	/* [irq] LIBOS_IRQ_HOST was taken: deliver what is there. */
	void (*irq)(void);

	/* -- memory -- */
	/* [fiber] A call stack of `size` bytes with a guard page below it; NULL when out of memory. */
	void *(*stack_alloc)(size_t size);
	void (*stack_free)(void *stack, size_t size);
	/* [fiber] Nobody needs what these pages of the pool hold any more; NULL: the host does not ask. */
	void (*pages_unused)(void *start, size_t len);
	void *(*memcpy)(void *to, const void *from, size_t len);
	void *(*memmove)(void *to, const void *from, size_t len);
	void *(*memset)(void *to, int byte, size_t len);
	int (*memcmp)(const void *a, const void *b, size_t len);

	/* -- randomness: seeded in virtual time -- */
	void (*random)(void *to, size_t len);

	/* -- fibers -- */
	/* [fiber] The task ends. `died`: by an oops, so the host's frames on it never unwound. */
	void (*task_exit)(void *cookie, int died);

	/* [any] Before and after a context switch, with the fiber stack that comes next; may be NULL. */
	void (*switching)(void *stack, size_t size);
	void (*switched)(void);

	/* -- modules -- */
	/* [fiber] request_module(): load what provides `name` (a module name or an alias). */
	int (*modprobe)(const char *name);
	/* [fiber] The kernel freed the module of this plugin handle: its text may be unmapped. */
	void (*plugin_freed)(void *plugin);
	/*
	 * [fiber] The kernel is done with the module, but something can still call into it: its mapping must
	 * stay. `name` is how it goes by from now on.
	 */
	void (*plugin_kept)(void *plugin, const char *name, const char *why);
	/* [fiber] "mycc.c:88" of a place in a build's file; empty if that is not known. */
	void (*source_line)(uint32_t build, uint64_t at, char *text, size_t len);
	/*
	 * [fiber] Sets `pointers` and `calls` of each block. What the module itself has in its variables does
	 * not count, nor what lies in a block that nothing points to. Does not give up the CPU.
	 */
	void (*look_for_pointers)(void *plugin, struct libos_block *blocks, size_t n);

	/* -- back traces -- */
	/*
	 * [any] Where in the source a module's code at this address is, as "mycc.c:88", or 0 when it is none.
	 * NUL-terminated; gives its length.
	 */
	size_t (*frame_line)(uint64_t ip, char *to, size_t len);
	/* [any] A back trace was printed. Need not return. */
	void (*back_trace)(const struct libos_trace *trace);

	/* -- memory of other processes -- */
	/*
	 * [any] Copies between the kernel and the memory that `user` stands for, the cookie of
	 * syscall_for(). Gives the number of bytes that were not copied, from the first bad one on.
	 */
	size_t (*user_read)(void *user, void *to, const void *from, size_t len);
	size_t (*user_write)(void *user, void *to, const void *from, size_t len);

	/* -- network devices -- */
	/*
	 * [irq] Sends a frame; on -errno it is dropped, but with -EAGAIN kept, and the queue stopped until
	 * netdev_room(). `meta` is zero without vnet headers.
	 */
	int (*net_xmit)(void *dev, const struct libos_frame_meta *meta, const struct libos_iov *iov,
			unsigned int n);
};

/* Where the kernel lives and how it starts. */
struct libos_boot {
	void *pool; /* page-aligned memory for all of the kernel's allocations, zeroed */
	size_t pool_len; /* bytes */
	const char *cmdline; /* kernel command line, below 2048 bytes */
	uint64_t start_ns; /* host CLOCK_MONOTONIC when boot began, for the chart */
	uint64_t (*host_ns)(void); /* host CLOCK_MONOTONIC, for the chart */
	/*
	 * pid 1 after boot: runs on a fiber, must never return. It owns the file table and the
	 * root file system that every spawned fiber shares.
	 */
	void (*init)(void *cookie);
	void *cookie;
};

/* spawn() flags */
#define LIBOS_SPAWN_OWN_FILES 1u /* a copy of the file table instead of the shared one */

/* A module that was linked as a shared object and is mapped. */
struct libos_plugin {
	void *handle; /* the host's cookie, given back by plugin_freed() */
	uintptr_t load_bias; /* what to add to sh_addr */
	const void *image; /* the file's bytes (its section headers are read), may be a read-only map */
	size_t image_len;
	const char *args; /* "alpha=3 beta=4", may be "" */
	uint32_t generation; /* counts the builds of this name that ran here, from 1 */
	uint32_t build; /* names this build in the ledger; never used twice */
};

/* What a module holds that one place in its code has asked for. */
struct libos_ledger_entry {
	const char *kind; /* "timers pending", in the number of `count` */
	const char *verb; /* what the place did: "armed" */
	const char *function; /* of the kernel, that it called: "mod_timer" */
	const char *what; /* a name, or a function, of the first of them; may be empty */
	uint32_t build;
	uint64_t at; /* in the build's file; in the call, not behind it */
	uint64_t count;
	uint64_t bytes; /* of memory */
};

/* Must not block. */
typedef void (*libos_ledger_visit)(void *cookie, const struct libos_ledger_entry *entry);

/* How a module is to go on with the code of another build. */
struct libos_renewal {
	/* [irq] Redirects the old code to the new. 0, or -errno when nothing was changed. */
	int (*switch_code)(void *cookie);
	void *cookie;
	uint32_t interrupt; /* 1: waits inside the old code are made to end with -EINTR */
	char *who; /* for -EAGAIN: "func+0x1/0x2, by task 3 (comm)" */
	size_t who_len;
};

/*
 * A member of a congestion control's private state that the new code finds where it expects it. Bits are
 * counted from the lowest of the first byte.
 */
struct libos_member {
	uint16_t from_bit, from_bits;
	uint16_t to_bit, to_bits; /* an integer may become wider or narrower */
	uint8_t is_signed;
};

/*
 * What is kept of each socket's private state; the rest is what the new code's init() makes it. `n` 0: what could
 * be is not known.
 */
struct libos_keep {
	const struct libos_member *members;
	uint32_t n;
};

/*
 * Objects that the kernel allocates for a module by a size in a table of its own: sockets, qdiscs, devices, the data of
 * namespaces. The size in the table is `room` while it is registered.
 */
struct libos_objects {
	const char *one; /* "socket" */
	void *size_at;
	uint32_t width; /* of the size: 4 or 8 bytes */
	uint64_t size; /* of the running build's structure; the host's to set when another build runs */
	uint64_t room; /* that each object has */
};

/* A kind of objects (`object` NULL), or one of a kind; `name` of a device, else "". Must not block. */
typedef void (*libos_objects_visit)(void *cookie, struct libos_objects *kind, void *object,
				    const char *name);

/* A block of memory that a module asked for. */
struct libos_held {
	void *at;
	uint64_t size; /* as it was asked for */
	uint64_t room; /* that it has where it is; 0: its content must not change its form, for `why` */
	const char *why;
	const char *kind; /* "block", "object": of a slab cache */
	uint32_t movable; /* 1: what points to it may point to a new block instead */
	uint32_t build; /* whose code asked, and where in its file; in the call, not behind it */
	uint64_t place;
};

/* Must not block. */
typedef void (*libos_held_visit)(void *cookie, const struct libos_held *held);

/* How the sockets of a module are to end. */
struct libos_reset {
	uint32_t interrupt; /* 1: waits inside the module's code are made to end with -EINTR */
	uint32_t undo; /* 1: the module stays: its qdiscs are made anew, and nothing ends */
	char *who; /* for -EAGAIN: as in struct libos_renewal */
	size_t who_len;
	void (*ended)(void *cookie, const char *what); /* one of them; must not block */
	void *cookie;
};

/* How module_swap() went; zero before that, but for what it calls. Times are host nanoseconds. */
struct libos_swap_report {
	void (*serves)(void *cookie); /* once, as soon as the new code serves: others run before the old one is gone */
	void *cookie;
	uint32_t sockets; /* sockets that moved, all states */
	uint32_t established; /* of these with a running congestion control */
	uint32_t netns_defaults; /* namespaces whose default moved */
	uint32_t zombie; /* 1: the old code could not be released yet */
	uint32_t kept; /* sockets whose private state was carried over */
	uint32_t releases; /* 1: nothing was kept, since the control has a release() and may own memory */
	uint32_t migrated, unmigrated; /* taken over by the new code's migrate hook, or refused by it */
	int32_t migrate_error; /* the last -errno of it */
	uint64_t init_ns; /* running the new module's init */
	uint64_t transfer_ns; /* moving the sockets */
	uint64_t retire_ns; /* from the transfer to the old code's release */
};

/* How long a task keeps the CPU: nothing else runs meanwhile. In host nanoseconds. */
struct libos_stretch {
	uint64_t since_ns; /* when it last got it */
	uint64_t longest_ns;
};

/* What the library offers. All [fiber] unless marked. */
struct libos_entry {
	uint32_t abi_version;
	uint32_t size; /* sizeof(struct libos_entry) */
	const char *release; /* "6.12.117" */
	struct libos_cpu *cpu;
	const struct libos_boot_stage *boot_chart;

	/*
	 * Runs start_kernel() on a stack of the library. Returns only through host->halt(); the idle
	 * loop lives inside. Called once per mapped library, from a plain host thread.
	 */
	int (*boot)(const struct libos_host *host, const struct libos_boot *boot);

	/* A system call by x86-64 number; returns the result or -errno (never -ERESTART*). */
	long (*syscall)(long nr, const unsigned long args[6]);
	/*
	 * The same for a program elsewhere: its pointers are followed by host->user_read() and
	 * user_write(). An interrupted call gives -ERESTARTSYS and the like (512 to 516), since whether
	 * it is restarted is up to who has the program's signals.
	 */
	long (*syscall_for)(void *user, long nr, const unsigned long args[6]);

	/*
	 * A new fiber with the caller's credentials, namespaces and file table, running fn(cookie).
	 * host->task_exit(cookie) tells its end. 0 or -errno; *task is valid until task_exit().
	 */
	int (*spawn)(const char *name, void (*fn)(void *cookie), void *cookie, unsigned int flags,
		     struct libos_task **task);
	/* The running fiber. [any] */
	struct libos_task *(*self)(void);
	/* Lowest byte of the running fiber's stack. [any] */
	void *(*stack)(void);
	/* Sleeps until unpark(); an unpark() that came first makes it return at once. 0 or -EINTR. */
	int (*park)(uint64_t deadline_ns);
	/* [any] Wakes a fiber out of park(). */
	void (*unpark)(struct libos_task *task);
	/* [any] Makes the fiber's present or next interruptible wait end with -EINTR. */
	void (*interrupt)(struct libos_task *task);
	/* pid of a fiber in the stack. [any] */
	int (*pid)(struct libos_task *task);
	/* Lets other runnable fibers run. */
	void (*yield)(void);
	/*
	 * Whether no fiber but the running one is to run. One that went to sleep may be kept on the run queue
	 * for a while (kernel/sched/fair.c, set_delayed()): `asleep`, if that is not NULL, counts as what it is.
	 */
	int (*alone)(const struct libos_task *asleep);
	/* What the caller does from here on is measured, until the end of that. */
	void (*stretch_begin)(struct libos_stretch *stretch);
	void (*stretch_end)(void);
	/* [irq] Serves pending interrupts; for the host's loop. */
	void (*run_irqs)(void);

	/* Ends the stack: calls host->halt(0). */
	void (*halt)(void);

	/*
	 * Signal handler: where to go on after a fault at `ip` that kernel code was prepared for (its
	 * exception table), or 0.
	 */
	uintptr_t (*fixup)(uintptr_t ip);
	/*
	 * An unprepared fault. The host's signal handler lets the thread go on here, on the fiber's own
	 * stack (another one if that overflowed). Ends the task with an oops, or panics.
	 */
	void (*fault)(struct libos_fault *fault) __attribute__((noreturn));

	/* Boots a mapped plugin as a module with the kernel's own loader. 0 or -errno. */
	int (*module_load)(const struct libos_plugin *plugin);
	/*
	 * Swaps the module of the same name for this plugin. `keep` may be NULL: nothing is. With `drain`,
	 * connections stay with the old code, which goes by "NAME@GENERATION" then. 0 or -errno; the old one
	 * serves on then.
	 */
	int (*module_swap)(const struct libos_plugin *plugin, const struct libos_keep *keep,
			   uint32_t drain, struct libos_swap_report *report);

	/*
	 * The module of the same name goes on with this plugin's code and its own data. 0, -EAGAIN while a
	 * task sleeps in the old code, or another -errno; unless 0, nothing has changed.
	 */
	int (*module_renew)(const struct libos_plugin *plugin, const struct libos_renewal *renewal);
	/*
	 * Ends all sockets of a module that somebody has a descriptor of: calls on them give -ENETRESET. Then all of
	 * its qdiscs, which are made anew when a module of that name is loaded. 0; -EAGAIN while a task sleeps in the
	 * module's code, and nothing has changed; -EBUSY when a qdisc (`who`) is not to be ended; or -errno.
	 */
	int (*module_reset)(const char *name, struct libos_reset *reset);
	/*
	 * What a module holds, in the order in which its places came into use. 0; 1 when there was no memory to
	 * record all of it; or -ENOENT.
	 */
	int (*module_ledger)(const char *name, libos_ledger_visit visit, void *cookie);
	/*
	 * The objects of a module: first its kinds, then all that there are; one may be told twice. 0; 1 when other
	 * modules use this one; -EAGAIN, after the kinds, while some are half made or half gone; or -ENOENT. Does not
	 * sleep.
	 */
	int (*module_objects)(const char *name, libos_objects_visit visit, void *cookie);
	/* The memory that a module holds. 0; 1 when not all of it could be recorded; or -ENOENT. Does not sleep. */
	int (*module_memory)(const char *name, libos_held_visit visit, void *cookie);
	/* [any] A block for one of a module's to move to, or NULL; and the end of one. */
	void *(*block_alloc)(size_t size);
	void (*block_free)(void *block);
	/*
	 * [any] When all pointers to it are right, and before anything else runs: the block that was asked for as the first
	 * is the second now, or the same, and has another size.
	 */
	void (*block_is)(void *was, void *now, size_t size);
	/* [any] Which of the kernel's checks of itself that word of memory belongs to: an address in it is nobody's pointer. */
	int (*check_of)(const void *word);
	/* A task died in the module's exit: it keeps neither its name nor its exports, and stays. */
	void (*module_died)(const char *name);
	/* All tasks but the caller's that have code of the module on their call stacks. Does not sleep. */
	void (*module_inside)(const char *name,
			      void (*visit)(void *cookie, const struct libos_inside *task),
			      void *cookie);
	/*
	 * The call stacks of all tasks but the caller's, as far as they are in use. Does not sleep, unless `in_pieces`
	 * is 1: then others run meanwhile, and the stacks of those that did are visited again, at once, at the end.
	 */
	void (*stacks)(void (*visit)(void *cookie, void *low, void *high), void *cookie, uint32_t in_pieces);

	/*
	 * An Ethernet device in the caller's network namespace, down. `vnet_hdr`: the wire carries offload
	 * metadata, so checksums and segmentation are left to the other side.
	 */
	int (*netdev_add)(void *dev, const char *name, const uint8_t mac[6], unsigned int mtu,
			  unsigned int vnet_hdr, struct libos_netdev **out);
	void (*netdev_del)(struct libos_netdev *dev);
	/* [irq] A frame arrived, in `n` pieces of `len` bytes in all, each of which is read once. 0 or -ENOMEM. */
	int (*netdev_rx)(struct libos_netdev *dev, const struct libos_frame_meta *meta,
			 const struct libos_iov *frame, unsigned int n, size_t len);
	void (*netdev_carrier)(struct libos_netdev *dev, int on);
	/* [irq] The wire takes frames again after -EAGAIN. */
	void (*netdev_room)(struct libos_netdev *dev);
	/* [irq] The wire has another end: whether it carries offload metadata, as netdev_add() has it. */
	void (*netdev_vnet_hdr)(struct libos_netdev *dev, int on);
	/* [irq] A line of the kernel's log that begins with the device's name. At most so many a second. */
	void (*netdev_log)(struct libos_netdev *dev, const char *text);
};

/* The library exports its table under this name; the host looks it up. */
#define LIBOS_ENTRY "libos_entry"
#ifdef __KERNEL__
extern const struct libos_entry libos_entry;
#endif

#ifdef __cplusplus
}
#endif
#endif /* LIBOS_ABI_H */
