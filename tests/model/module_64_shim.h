/* What arch/powerpc/kernel/module_64.c needs to be compiled as an ordinary program: our own stand-ins for kernel headers. */
#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint32_t u32;
typedef uint64_t u64;
typedef u32 ppc_inst_t;
typedef struct { unsigned long addr; } func_desc_t;
struct module_arch { unsigned int stubs_section, toc_section; bool toc_fixed; unsigned int stub_count; unsigned long tramp, tramp_regs; };
struct module { char name[56]; struct module_arch arch; };
struct modversion_info { unsigned long crc; char name[56]; };
struct paca_struct { char before[16]; unsigned long kernel_toc; };
static struct { unsigned long kernelbase; } paca, *local_paca = &paca;
static unsigned long FTRACE, FTRACE_REGS;
static char said[256];

#define CONFIG_PPC64_ELF_ABI_V2 1
#define CONFIG_DYNAMIC_FTRACE 1
#define CONFIG_DYNAMIC_FTRACE_WITH_REGS 1
#define CONFIG_MPROFILE_KERNEL 1
#define IS_ENABLED(option) (option)
enum { CONFIG_PPC_KERNEL_PCREL, CONFIG_PPC_FTRACE_OUT_OF_LINE = 0, CONFIG_DYNAMIC_FTRACE_WITH_ARGS = 0 };
#define BUILD_BUG_ON(condition)
#define __aligned(bytes)
#define Elf_Ehdr Elf64_Ehdr
#define Elf_Shdr Elf64_Shdr
#undef R_PPC_REL24
#define R_PPC_REL24 10
#define R_PPC64_ENTRY 118
#define R_PPC64_TOCSAVE 109
#define SHN_LIVEPATCH 0xff20
#define ENOEXEC 8
#define ENOENT 2
#define EFAULT 14
#define R2_STACK_OFFSET 24
#define _R1 1
#define _R2 2
#define _R11 11
#define _R12 12
#define _R13 13
#define ARRAY_SIZE(a) (sizeof(a) / sizeof(a[0]))
#define WARN_ON(x) (x)
#define pr_err(...) snprintf(said, sizeof(said), __VA_ARGS__)
#define pr_debug(...)
#define ppc_inst(word) ((u32)(word))
#define within_module_core(address, module) 1
#define copy_from_kernel_nofault(to, from, size) (memcpy(to, from, size), 0)
#define kernel_toc_addr() 0xc000000000488000UL

static int patch_instruction(u32 *at, u32 word) { *at = word; return 0; }
static int patch_u32(void *at, u32 word) { *(u32 *)at = word; return 0; }
static bool instr_is_relative_link_branch(u32 word) { return (word >> 26 == 16 || word >> 26 == 18) && (word & 3) == 1; }

/* lib/sort.c is compiled into the same file */
typedef void (*swap_r_func_t)(void *a, void *b, int size, const void *priv);
typedef void (*swap_func_t)(void *a, void *b, int size);
typedef int (*cmp_r_func_t)(const void *a, const void *b, const void *priv);
typedef int (*cmp_func_t)(const void *a, const void *b);
#define __attribute_const__
#define cond_resched() 0
#define EXPORT_SYMBOL(name)
#define EXPORT_SYMBOL_GPL(name)
#define unlikely(x) (x)
#define CONFIG_64BIT 1
