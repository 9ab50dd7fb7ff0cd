// SPDX-License-Identifier: GPL-2.0
/* The library's door: the table of entry points, and the way into start_kernel(). */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/panic.h>
#include <linux/reboot.h>
#include <linux/sched/task.h>
#include <linux/start_kernel.h>
#include <linux/string.h>
#include <generated/utsrelease.h>
#include <asm/irqflags.h>
#include <asm/page.h>
#include <asm/setup.h>
#include "libos.h"

const struct libos_host *libos_host;
const struct libos_boot *libos_boot;
struct libos_cpu libos_cpu = { .deadline_ns = U64_MAX };
EXPORT_SYMBOL(libos_cpu);

static struct libos_boot_stage boot_chart[LIBOS_BOOT_STAGES];

/* Notes that a stage of boot ended now. Stages past the table's end are not kept. */
void libos_mark(const char *stage)
{
	static unsigned int n;

	if (n >= LIBOS_BOOT_STAGES - 1)
		return;
	boot_chart[n].at_ns = libos_boot->host_ns();
	boot_chart[n++].name = stage;
}

#define MARK_INITCALLS(level, stage)           \
	static int __init mark_##level(void)   \
	{                                      \
		libos_mark(stage);             \
		return 0;                      \
	}                                      \
	level(mark_##level)

MARK_INITCALLS(early_initcall, "kernel core");
MARK_INITCALLS(core_initcall_sync, "core initcalls");
MARK_INITCALLS(subsys_initcall_sync, "subsystem initcalls");
MARK_INITCALLS(fs_initcall_sync, "file systems and protocols");
MARK_INITCALLS(device_initcall_sync, "device initcalls");
MARK_INITCALLS(late_initcall_sync, "late initcalls");

static int __ref libos_enter(const struct libos_host *host, const struct libos_boot *boot)
{
	if (host->abi_version != LIBOS_ABI_VERSION || host->size != sizeof(*host))
		return -EPROTO;
	if (libos_host)
		return -EBUSY;
	if (strlen(boot->cmdline) >= COMMAND_LINE_SIZE)
		return -E2BIG;

	libos_host = host;
	libos_boot = boot;
	libos_pool = (unsigned long)boot->pool;
	libos_mark("map the library");
	init_task.thread.fiber = host->stack_alloc(FIBER_STACK_SIZE);
	if (!init_task.thread.fiber)
		return -ENOMEM;
	libos_call_on(init_task.thread.fiber + FIBER_STACK_SIZE, (void (*)(void))start_kernel);
	return -ENOTRECOVERABLE; /* not reached: start_kernel() does not return */
}

static void libos_halt(void)
{
	kernel_halt();
}

const struct libos_entry libos_entry = {
	.abi_version = LIBOS_ABI_VERSION,
	.size = sizeof(struct libos_entry),
	.release = UTS_RELEASE,
	.cpu = &libos_cpu,
	.boot_chart = boot_chart,
	.boot = libos_enter,
	.syscall = libos_syscall,
	.syscall_for = libos_syscall_for,
	.spawn = libos_spawn,
	.self = libos_self,
	.stack = libos_stack,
	.park = libos_park,
	.unpark = libos_unpark,
	.interrupt = libos_interrupt,
	.pid = libos_pid,
	.yield = libos_yield,
	.alone = libos_alone,
	.stretch_begin = libos_stretch_begin,
	.stretch_end = libos_stretch_end,
	.run_irqs = libos_irqs,
	.halt = libos_halt,
	.fixup = libos_fixup,
	.fault = libos_fault,
	.module_load = libos_module_load,
	.module_swap = libos_module_swap,
	.module_renew = libos_module_renew,
	.module_reset = libos_module_reset,
	.module_ledger = libos_module_ledger,
	.module_objects = libos_module_objects,
	.module_memory = libos_module_memory,
	.block_alloc = libos_block_alloc,
	.block_free = libos_block_free,
	.block_is = libos_block_is,
	.check_of = libos_check_of,
	.module_died = libos_module_died,
	.module_inside = libos_module_inside,
	.stacks = libos_stacks,
	.netdev_add = libos_netdev_add,
	.netdev_del = libos_netdev_del,
	.netdev_rx = libos_netdev_rx,
	.netdev_carrier = libos_netdev_carrier,
	.netdev_room = libos_netdev_room,
	.netdev_vnet_hdr = libos_netdev_vnet_hdr,
	.netdev_log = libos_netdev_log,
};

/* reboot(2), and panic() with panic=-1, by emergency_restart(), end here. */
void machine_restart(char *cmd)
{
	libos_host->halt(atomic_read(&panic_cpu) != PANIC_CPU_INVALID);
}

void machine_halt(void)
{
	libos_host->halt(0);
}

void machine_power_off(void)
{
	libos_host->halt(0);
}

void (*pm_power_off)(void);
EXPORT_SYMBOL(pm_power_off);
