/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ASM_LIB_ELF_H
#define _ASM_LIB_ELF_H

#include <asm/ptrace.h>

#define ELF_CLASS ELFCLASS64
#define ELF_DATA ELFDATA2LSB
#define ELF_ARCH EM_X86_64
#define ELF_EXEC_PAGESIZE 4096
#define ELF_PLATFORM NULL
#define ELF_HWCAP 0
#define ELF_ET_DYN_BASE 0
#define ELF_CORE_COPY_REGS(dst, regs)
#define elf_check_arch(x) ((x)->e_machine == EM_X86_64)

typedef unsigned long elf_greg_t;
typedef elf_greg_t elf_gregset_t[sizeof(struct pt_regs) / sizeof(elf_greg_t)];
typedef struct { } elf_fpregset_t;

#define R_X86_64_NONE 0
#define R_X86_64_64 1
#define R_X86_64_PC32 2
#define R_X86_64_PLT32 4
#define R_X86_64_32 10
#define R_X86_64_32S 11
#define R_X86_64_PC64 24

#endif
