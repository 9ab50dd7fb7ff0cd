// SPDX-License-Identifier: GPL-2.0
/* System calls as function calls, by x86-64 number. */
#include <linux/linkage.h>
#include <linux/resume_user_mode.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/signal.h>
#include <linux/syscalls.h>
#include <asm/syscall.h>
#include <asm/unistd.h>
#include "libos.h"

/*
 * Calls that need what a task here does not have: an address space of its own, a user mode, or a
 * second return. Some exist in the kernel and would follow current->mm.
 */
#define sys_arch_prctl sys_ni_syscall
#define sys_brk sys_ni_syscall
#define sys_clone sys_ni_syscall
#define sys_clone3 sys_ni_syscall
#define sys_execve sys_ni_syscall
#define sys_execveat sys_ni_syscall
#define sys_exit sys_ni_syscall
#define sys_exit_group sys_ni_syscall
#define sys_fork sys_ni_syscall
#define sys_io_setup sys_ni_syscall
#define sys_ioperm sys_ni_syscall
#define sys_iopl sys_ni_syscall
#define sys_madvise sys_ni_syscall
#define sys_map_shadow_stack sys_ni_syscall
#define sys_mincore sys_ni_syscall
#define sys_mlock sys_ni_syscall
#define sys_mlock2 sys_ni_syscall
#define sys_mlockall sys_ni_syscall
#define sys_mmap sys_ni_syscall
#define sys_modify_ldt sys_ni_syscall
#define sys_mprotect sys_ni_syscall
#define sys_mremap sys_ni_syscall
#define sys_mseal sys_ni_syscall
#define sys_msync sys_ni_syscall
#define sys_munlock sys_ni_syscall
#define sys_munlockall sys_ni_syscall
#define sys_munmap sys_ni_syscall
#define sys_process_madvise sys_ni_syscall
#define sys_process_mrelease sys_ni_syscall
#define sys_process_vm_readv sys_ni_syscall
#define sys_process_vm_writev sys_ni_syscall
#define sys_ptrace sys_ni_syscall
#define sys_remap_file_pages sys_ni_syscall
#define sys_rt_sigreturn sys_ni_syscall
#define sys_shmat sys_ni_syscall
#define sys_shmdt sys_ni_syscall
#define sys_uretprobe sys_ni_syscall
#define sys_userfaultfd sys_ni_syscall
#define sys_vfork sys_ni_syscall

#define __SYSCALL_NORETURN(nr, entry) __SYSCALL(nr, entry)

#define __SYSCALL(nr, entry) [nr] = (sys_call_ptr_t)(void *)entry,

const sys_call_ptr_t sys_call_table[] = {
#include <asm/syscall_table_64.h>
};

/* What the kernel does on the way back to user mode. */
static void exit_work(void)
{
	unsigned long work = READ_ONCE(current_thread_info()->flags);

	if (work & _TIF_NEED_RESCHED)
		schedule();
	if (work & _TIF_NOTIFY_RESUME)
		resume_user_mode_work(NULL);
	if (work & (_TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL)) {
		struct ksignal ksig;

		/* Nothing of ours has a handler: it is ignored, or it ends the task in here. */
		get_signal(&ksig);
		restore_saved_sigmask();
	}
}

#define EXIT_WORK (_TIF_NEED_RESCHED | _TIF_NOTIFY_RESUME | _TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL)

static long call(long nr, const unsigned long a[6])
{
	long ret;

	if ((unsigned long)nr >= ARRAY_SIZE(sys_call_table))
		return -ENOSYS;
	current->thread.calls++;
	ret = sys_call_table[nr](a[0], a[1], a[2], a[3], a[4], a[5]);
	if (unlikely(READ_ONCE(current_thread_info()->flags) & EXIT_WORK))
		exit_work();
	return ret;
}

/* No restart: the caller sees EINTR. */
long libos_syscall(long nr, const unsigned long a[6])
{
	long ret = call(nr, a);

	switch (ret) {
	case -ERESTARTSYS:
	case -ERESTARTNOINTR:
	case -ERESTARTNOHAND:
	case -ERESTART_RESTARTBLOCK:
		return -EINTR;
	}
	return ret;
}

long libos_syscall_for(void *user, long nr, const unsigned long a[6])
{
	long ret;

	current->thread.user = user;
	ret = call(nr, a);
	current->thread.user = NULL;
	return ret;
}
