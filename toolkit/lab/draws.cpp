// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/draws.hpp"

#include <cmath>

namespace lkm::lab {
namespace {

constexpr double kLn2 = 0x1.62e42fefa39efp-1;
constexpr double kSqrtHalf = 0x1.6a09e667f3bcdp-1;
constexpr double kParetoShape = 1.5;

}  // namespace

// value = m 2^e with m near 1; log m = 2 artanh t with t = (m - 1) / (m + 1), by its series: |t| < 0.172.
double portable_log(double value) {
  int exponent = 0;
  double m = std::frexp(value, &exponent);
  if (m < kSqrtHalf) {
    m *= 2;
    --exponent;
  }
  const double t = (m - 1) / (m + 1);
  const double square = t * t;
  double sum = 0;
  for (int n = 23; n >= 3; n -= 2) sum = sum * square + 1.0 / n;
  return exponent * kLn2 + 2 * (t + t * square * sum);
}

// value = n ln 2 + r; exp r by its series: |r| < 0.347.
double portable_exp(double value) {
  const double n = std::nearbyint(value / kLn2);
  const double r = value - n * kLn2;
  double sum = 1;
  for (int i = 16; i >= 1; --i) sum = 1 + sum * r / i;
  return std::ldexp(sum, int(n));
}

double draw_uniform(Random& random) {
  std::uint64_t word = 0;
  random.fill(&word, sizeof word);
  return (double(word >> 11) + 0.5) * 0x1p-53;
}

double draw_exponential(Random& random, double mean) { return -portable_log(draw_uniform(random)) * mean; }

double draw_pareto(Random& random, double mean) {
  const double least = mean * (kParetoShape - 1) / kParetoShape;
  return least * portable_exp(-portable_log(draw_uniform(random)) / kParetoShape);
}

}  // namespace lkm::lab
