#include "Elementwise.h"

#include <math.h>
#include <string.h>

enum { lanes = 16 };

double ck_sum_of_squares(const float *x, size_t count) {
  double sums[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) sums[lane] += (double)x[i + lane] * x[i + lane];
  double total = 0;
  for (; i < count; i++) total += (double)x[i] * x[i];
  for (int lane = 0; lane < lanes; lane++) total += sums[lane];
  return total;
}

double ck_dot_double(const float *x, const float *y, size_t count) {
  double sums[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) sums[lane] += (double)x[i + lane] * y[i + lane];
  double total = 0;
  for (; i < count; i++) total += (double)x[i] * y[i];
  for (int lane = 0; lane < lanes; lane++) total += sums[lane];
  return total;
}

void ck_rms_norm(const float *x, const float *weight, float epsilon, float *y, size_t count) {
  float inverse = (float)(1.0 / sqrt(ck_sum_of_squares(x, count) / (double)count + (double)epsilon));
  for (size_t i = 0; i < count; i++) y[i] = weight[i] * (x[i] * inverse);
}

// exp for float: x = n·ln 2 + r with |r| ≤ ln 2 / 2, a Taylor polynomial of degree 7 (truncation 5e-9), and 2^n by the
// exponent field. Written without branches so that loops over it vectorise; within 2 units in the last place.
static inline float exponential(float x) {
  float clamped = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
  float shifted = clamped * 1.44269504f + 12582912.0f;
  float n = shifted - 12582912.0f;
  float r = clamped - n * 0.693145752f - n * 1.42860677e-6f;
  float p = 1.98412698e-4f;
  p = p * r + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  int32_t exponent = (int32_t)n;
  uint32_t bits;
  memcpy(&bits, &p, sizeof bits);
  bits += (uint32_t)exponent << 23;
  float result;
  memcpy(&result, &bits, sizeof result);
  return x < -87.0f ? 0.0f : result;
}

static float largest(const float *x, size_t count) {
  float best[lanes];
  for (int lane = 0; lane < lanes; lane++) best[lane] = -INFINITY;
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) best[lane] = x[i + lane] > best[lane] ? x[i + lane] : best[lane];
  float result = -INFINITY;
  for (; i < count; i++) result = x[i] > result ? x[i] : result;
  for (int lane = 0; lane < lanes; lane++) result = best[lane] > result ? best[lane] : result;
  return result;
}

void ck_softmax(float *x, float scale, size_t count) {
  // The scale is positive, so the largest scaled value is the scaled largest.
  float top = largest(x, count) * scale;
  float sums[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) {
      float value = exponential(x[i + lane] * scale - top);
      x[i + lane] = value;
      sums[lane] += value;
    }
  double total = 0;
  for (; i < count; i++) {
    x[i] = exponential(x[i] * scale - top);
    total += x[i];
  }
  for (int lane = 0; lane < lanes; lane++) total += sums[lane];
  float inverse = (float)(1.0 / total);
  for (size_t k = 0; k < count; k++) x[k] *= inverse;
}

float ck_log_sum_exp(const float *x, size_t count) {
  float top = largest(x, count);
  double sums[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) sums[lane] += exponential(x[i + lane] - top);
  double total = 0;
  for (; i < count; i++) total += exponential(x[i] - top);
  for (int lane = 0; lane < lanes; lane++) total += sums[lane];
  return (float)(top + log(total));
}

void ck_silu_multiply(float *gate, const float *up, size_t count) {
  for (size_t i = 0; i < count; i++) gate[i] = gate[i] / (1.0f + exponential(-gate[i])) * up[i];
}

void ck_rotate_half(float *x, const float *cosine, const float *sine, size_t half) {
  for (size_t i = 0; i < half; i++) {
    float first = x[i];
    float second = x[i + half];
    x[i] = first * cosine[i] - second * sine[i];
    x[i + half] = second * cosine[i] + first * sine[i];
  }
}

void ck_accumulate_moments(const float *x, double weight, double *magnitudes, double *means, double *squares, size_t count) {
  for (size_t i = 0; i < count; i++) {
    double value = x[i];
    magnitudes[i] += weight * fabs(value);
    means[i] += weight * value;
    squares[i] += weight * value * value;
  }
}
