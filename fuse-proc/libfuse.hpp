// SPDX-License-Identifier: GPL-2.0
//
// The one place that names the version of libfuse's API that we are written for (Debian 12: 3.14).
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
