// SPDX-License-Identifier: GPL-2.0
#define NAME(x) fuse_demo_##x
#define MODULE_TEXT "fuse_demo"
#include "small_demo.h"
