/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of this directory share. */
#ifndef _LIBOS_KERNEL_H
#define _LIBOS_KERNEL_H

#include <linux/types.h>
#include <abi/libos.h>

struct module;
struct task_struct;

extern const struct libos_host *libos_host;
extern const struct libos_boot *libos_boot;

/* entry.c */
void libos_mark(const char *stage);

/* console.c, memory.c */
void libos_console_setup(void);
void libos_memory_setup(void);

/* irq.c: raises a line, of enum libos_irq or of the kernel's own. */
void libos_raise(unsigned int line);

/* time.c */
void libos_clock_interrupt(void);

/* process.c */
int libos_spawn(const char *name, void (*fn)(void *cookie), void *cookie, unsigned int flags,
		struct libos_task **task);
int libos_park(u64 deadline_ns);
void libos_unpark(struct libos_task *task);
void libos_interrupt(struct libos_task *task);
int libos_pid(struct libos_task *task);
struct libos_task *libos_self(void);
void *libos_stack(void);
void libos_yield(void);
int libos_alone(const struct libos_task *asleep);
void libos_stretch_begin(struct libos_stretch *stretch);
void libos_stretch_end(void);

void libos_task_start(struct task_struct *prev, int (*fn)(void *), void *arg);

/* syscalls.c */
long libos_syscall(long nr, const unsigned long args[6]);
long libos_syscall_for(void *user, long nr, const unsigned long args[6]);

/* user.c, called from switch.S. They give the number of bytes that were not copied. */
unsigned long libos_user_read(void *to, const void *from, unsigned long n);
unsigned long libos_user_write(void *to, const void *from, unsigned long n);
unsigned long libos_user_clear(void *to, unsigned long n);

/* init.c */
int libos_make_program(const char *path, const char *magic, size_t len);
void __noreturn libos_pid1(void);

/* traps.c */
uintptr_t libos_fixup(uintptr_t ip);
void __noreturn libos_fault(struct libos_fault *fault);

/* stacktrace.c */
struct libos_backtrace {
	unsigned long frames[32]; /* innermost first; of calls, what they return to */
	unsigned int n;
	bool exact; /* the innermost is an instruction, not what a call returns to */
};
void libos_print_trace(const struct libos_backtrace *trace, const char *loglvl, const char *what);

/* plugin/ */
int libos_module_load(const struct libos_plugin *plugin);
int libos_module_swap(const struct libos_plugin *plugin, const struct libos_keep *keep,
		      uint32_t drain, struct libos_swap_report *report);
int libos_module_renew(const struct libos_plugin *plugin, const struct libos_renewal *renewal);
int libos_module_reset(const char *name, struct libos_reset *reset);
int libos_module_ledger(const char *name, libos_ledger_visit visit, void *cookie);
int libos_module_objects(const char *name, libos_objects_visit visit, void *cookie);
int libos_module_memory(const char *name, libos_held_visit visit, void *cookie);
void *libos_block_alloc(size_t size);
void libos_block_free(void *block);
void libos_block_is(void *was, void *now, size_t size);
int libos_check_of(const void *word);
void libos_module_died(const char *name);
void libos_module_inside(const char *name,
			 void (*visit)(void *cookie, const struct libos_inside *task),
			 void *cookie);
void libos_stacks(void (*visit)(void *cookie, void *low, void *high), void *cookie, uint32_t in_pieces);
void libos_init_died(struct module *mod);
int libos_modprobe_run(void);

/* netdev.c */
int libos_netdev_add(void *cookie, const char *name, const uint8_t mac[6], unsigned int mtu,
		     unsigned int vnet_hdr, struct libos_netdev **out);
void libos_netdev_del(struct libos_netdev *netdev);
int libos_netdev_rx(struct libos_netdev *netdev, const struct libos_frame_meta *meta,
		    const struct libos_iov *frame, unsigned int n, size_t len);
void libos_netdev_carrier(struct libos_netdev *netdev, int on);
void libos_netdev_room(struct libos_netdev *netdev);
void libos_netdev_vnet_hdr(struct libos_netdev *netdev, int on);
void libos_netdev_log(struct libos_netdev *netdev, const char *text);

/* switch.S */
void libos_first_switch(void);
void libos_call_on(void *stack_top, void (*fn)(void));

#endif
