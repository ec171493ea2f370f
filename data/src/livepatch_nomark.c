// SPDX-License-Identifier: GPL-2.0
/* livepatch_nomark: livepatch_nfsd_demo, but nobody told the kernel that it is one. */
#define LEAVE_UNMARKED
#include "livepatch_nfsd_demo.c"
