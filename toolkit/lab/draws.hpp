// SPDX-License-Identifier: GPL-2.0
//
// Draws from the distributions that flows have. The C library's log() and pow() have variants for processors with and
// without fused multiplication, which may differ in the last bit; these are made of operations that IEEE 754 defines to the
// bit, so that a draw is the same on every machine.
#pragma once

#include <cstdint>

#include "libos-runtime/host/random.hpp"

namespace lkm::lab {

/// Of a finite number above zero; the last two bits may be wrong.
double portable_log(double value);
/// Of a number between -700 and 700; likewise.
double portable_exp(double value);

/// Uniform between 0 and 1, without either.
double draw_uniform(Random& random);
double draw_exponential(Random& random, double mean);
/// With the shape 1.5: the variance is infinite.
double draw_pareto(Random& random, double mean);

}  // namespace lkm::lab
