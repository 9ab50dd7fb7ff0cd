// SPDX-License-Identifier: GPL-2.0
/* One clock source and one clock event, both the host's. Real or virtual time is the host's affair. */
#include <linux/clockchips.h>
#include <linux/clocksource.h>
#include <linux/init.h>
#include <linux/sched/clock.h>
#include <linux/timekeeping.h>
#include <linux/timex.h>
#include <asm/irqflags.h>
#include "libos.h"

unsigned long long notrace sched_clock(void)
{
	return libos_host->clock_ns();
}

static u64 clocksource_read(struct clocksource *cs)
{
	return libos_host->clock_ns();
}

static struct clocksource libos_clocksource = {
	.name = "libos",
	.rating = 499,
	.read = clocksource_read,
	.mask = CLOCKSOURCE_MASK(64),
	/* One cycle is one nanosecond; the shift is room for NTP to adjust in. */
	.mult = 1 << 10,
	.shift = 10,
	.flags = CLOCK_SOURCE_IS_CONTINUOUS | CLOCK_SOURCE_VALID_FOR_HRES,
};

struct clocksource *__init clocksource_default_clock(void)
{
	return &libos_clocksource;
}

static void set_deadline(u64 deadline_ns)
{
	libos_cpu.deadline_ns = deadline_ns;
	libos_host->clock_event(deadline_ns);
}

static int set_next_event(unsigned long delta_ns, struct clock_event_device *evt)
{
	set_deadline(libos_host->clock_ns() + delta_ns);
	return 0;
}

static int set_state_shutdown(struct clock_event_device *evt)
{
	set_deadline(U64_MAX);
	return 0;
}

static struct clock_event_device libos_clockevent = {
	.name = "libos",
	.rating = 499,
	.features = CLOCK_EVT_FEAT_ONESHOT,
	.set_next_event = set_next_event,
	.set_state_shutdown = set_state_shutdown,
	.set_state_oneshot = set_state_shutdown,
};

/*
 * The line is also raised early (the host polls while the CPU is busy). Early calls must not reach the
 * handler: the periodic one counts a tick each time (kernel/time/tick-common.c).
 */
void libos_clock_interrupt(void)
{
	if (libos_host->clock_ns() < libos_cpu.deadline_ns)
		return;
	libos_cpu.deadline_ns = U64_MAX;
	libos_clockevent.event_handler(&libos_clockevent);
}

void read_persistent_clock64(struct timespec64 *ts)
{
	*ts = ns_to_timespec64(libos_host->wall_ns());
}

void __init time_init(void)
{
	libos_clockevent.cpumask = cpumask_of(0);
	__clocksource_register(&libos_clocksource);
	clockevents_config_and_register(&libos_clockevent, NSEC_PER_SEC, 1, LONG_MAX);
	libos_mark("scheduler and time");
}
