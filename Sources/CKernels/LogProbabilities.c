#include "LogProbabilities.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

enum { lanes = 8 };

static const double deepest = -708.0;

// exp for −708 ≤ x ≤ 0, or NaN: x = n·ln 2 + r with |r| ≤ ln 2 / 2, the Taylor polynomial of degree 12 (truncation
// 2e-16), and 2^n by the exponent field. Adding 1.5 · 2^52 leaves n in the low bits. No branches, so loops vectorise.
static inline double exponential(double x) {
  double shifted = x * 1.4426950408889634 + 6755399441055744.0;
  double n = shifted - 6755399441055744.0;
  double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  double p = 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  uint64_t bits, exponent;
  memcpy(&bits, &p, sizeof bits);
  memcpy(&exponent, &shifted, sizeof exponent);
  bits += exponent << 52;
  memcpy(&p, &bits, sizeof p);
  return p;
}

static inline double held(double x) { return x < deepest ? deepest : x; }

static inline double total(const double *sums) {
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

static size_t index_of_largest(const float *x, size_t count) {
  float best[lanes];
  for (int lane = 0; lane < lanes; lane++) best[lane] = -INFINITY;
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) best[lane] = x[i + lane] > best[lane] ? x[i + lane] : best[lane];
  float top = -INFINITY;
  for (; i < count; i++) top = x[i] > top ? x[i] : top;
  for (int lane = 0; lane < lanes; lane++) top = best[lane] > top ? best[lane] : top;
  for (size_t k = 0; k < count; k++)
    if (x[k] == top) return k;
  return 0;
}

static double sum_of_exponentials(const float *x, double top, size_t count) {
  double sums[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) sums[lane] += exponential(held((double)x[i + lane] - top));
  for (int lane = 0; i < count; i++, lane++) sums[lane] += exponential(held((double)x[i] - top));
  return total(sums);
}

// Out: Σ exp(x), Σ exp(y) and Σ exp(x)·(x − y), each relative to its row's largest value.
static void divergence_sums(const float *x, double top_x, const float *y, double top_y, size_t count, double *out) {
  double sums_x[lanes] = {0}, sums_y[lanes] = {0}, products[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) {
      double u = held((double)x[i + lane] - top_x);
      double v = held((double)y[i + lane] - top_y);
      double weight = exponential(u);
      sums_x[lane] += weight;
      sums_y[lane] += exponential(v);
      products[lane] += weight * (u - v);
    }
  for (int lane = 0; i < count; i++, lane++) {
    double u = held((double)x[i] - top_x);
    double v = held((double)y[i] - top_y);
    double weight = exponential(u);
    sums_x[lane] += weight;
    sums_y[lane] += exponential(v);
    products[lane] += weight * (u - v);
  }
  out[0] = total(sums_x);
  out[1] = total(sums_y);
  out[2] = total(products);
}

ck_normalizer ck_normalize_logits(const float *x, size_t count) {
  size_t top = index_of_largest(x, count);
  return (ck_normalizer){x[top] + log(sum_of_exponentials(x, x[top], count)), top};
}

double ck_kl_divergence(const float *x, const float *y, size_t count, ck_normalizer *of_x, ck_normalizer *of_y) {
  size_t top_x = index_of_largest(x, count);
  size_t top_y = index_of_largest(y, count);
  double sums[3];
  divergence_sums(x, x[top_x], y, y[top_y], count, sums);
  double log_x = log(sums[0]), log_y = log(sums[1]);
  *of_x = (ck_normalizer){x[top_x] + log_x, top_x};
  *of_y = (ck_normalizer){y[top_y] + log_y, top_y};
  return sums[2] / sums[0] - log_x + log_y;
}
