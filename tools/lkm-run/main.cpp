// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/run.hpp"

int main(int argc, char** argv) { return lkm::cli::run({argv + 1, argv + argc}); }
