// SPDX-License-Identifier: GPL-2.0
/* The GOT by a base register and a displacement: R_390_GOTPCDBL and R_390_GOT20. */
#include "livepatch_by_hand.h"

LP_HALF("larl %r12, _GLOBAL_OFFSET_TABLE_\n"
	"lg %r1, " DEMO_HALF "@GOT(%r12)\n"
	"basr %r14, %r1", "");

#define LIVEPATCH_DESCRIPTION "klpteach: a livepatch with a GOT register"
#include "livepatch_show.h"
