#include "Elementwise.h"

#include <math.h>
#include <string.h>

#include "Wider.h"

enum { lanes = 16 };

CK_WIDER double ck_sum_of_squares(const float *x, size_t count) {
  double sums[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) sums[lane] += (double)x[i + lane] * x[i + lane];
  double total = 0;
  for (; i < count; i++) total += (double)x[i] * x[i];
  for (int lane = 0; lane < lanes; lane++) total += sums[lane];
  return total;
}

CK_WIDER double ck_dot_double(const float *x, const float *y, size_t count) {
  double sums[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) sums[lane] += (double)x[i + lane] * y[i + lane];
  double total = 0;
  for (; i < count; i++) total += (double)x[i] * y[i];
  for (int lane = 0; lane < lanes; lane++) total += sums[lane];
  return total;
}

static double sum(const float *x, size_t count) {
  double sums[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) sums[lane] += x[i + lane];
  double total = 0;
  for (; i < count; i++) total += x[i];
  for (int lane = 0; lane < lanes; lane++) total += sums[lane];
  return total;
}

static double sum_of_squared_deviations(const float *x, double mean, size_t count) {
  double sums[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) sums[lane] += (x[i + lane] - mean) * (x[i + lane] - mean);
  double total = 0;
  for (; i < count; i++) total += (x[i] - mean) * (x[i] - mean);
  for (int lane = 0; lane < lanes; lane++) total += sums[lane];
  return total;
}

CK_WIDER void ck_rms_norm(const float *x, const float *weight, float epsilon, float *y, size_t count) {
  float inverse = (float)(1.0 / sqrt(ck_sum_of_squares(x, count) / (double)count + (double)epsilon));
  for (size_t i = 0; i < count; i++) y[i] = weight[i] * (x[i] * inverse);
}

void ck_layer_norm(const float *x, const float *weight, float epsilon, float *y, size_t count) {
  double mean = sum(x, count) / (double)count;
  double variance = sum_of_squared_deviations(x, mean, count) / (double)count;
  double inverse = 1.0 / sqrt(variance + (double)epsilon);
  for (size_t i = 0; i < count; i++) y[i] = weight[i] * (float)((x[i] - mean) * inverse);
}

// exp for float: x = n·ln 2 + r with |r| ≤ ln 2 / 2, a Taylor polynomial of degree 7 (truncation 5e-9), and 2^n by the
// exponent field. Written without branches so that loops over it vectorise; within 2 units in the last place.
static inline __attribute__((always_inline)) float exponential(float x) {
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

// tanh for float: below 0.625 an odd polynomial fitted for least relative error (4e-9), above it
// (1 − e^−2|x|) / (1 + e^−2|x|), which cancels nothing there. Both are computed so that loops vectorise; within
// 2 units in the last place.
static inline __attribute__((always_inline)) float hyperbolic_tangent(float x) {
  float magnitude = fabsf(x);
  float t = x * x;
  float p = -5.71704190e-3f;
  p = p * t + 2.06505843e-2f;
  p = p * t - 5.37434965e-2f;
  p = p * t + 1.33314908e-1f;
  p = p * t - 3.33332837e-1f;
  float small = x + x * t * p;
  float decayed = exponential(-2.0f * magnitude);
  float large = copysignf((1.0f - decayed) / (1.0f + decayed), x);
  return magnitude < 0.625f ? small : large;
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

// In place: x ← exp(scale · x − top) / (outside + Σ exp(scale · x − top)).
CK_WIDER static void softmax(float *x, float scale, float top, double outside, size_t count) {
  float sums[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) {
      float value = exponential(x[i + lane] * scale - top);
      x[i + lane] = value;
      sums[lane] += value;
    }
  double total = outside;
  for (; i < count; i++) {
    x[i] = exponential(x[i] * scale - top);
    total += x[i];
  }
  for (int lane = 0; lane < lanes; lane++) total += sums[lane];
  float inverse = (float)(1.0 / total);
  for (size_t k = 0; k < count; k++) x[k] *= inverse;
}

void ck_softmax(float *x, float scale, size_t count) {
  // The scale is positive, so the largest scaled value is the scaled largest.
  softmax(x, scale, largest(x, count) * scale, 0, count);
}

void ck_softmax_with_sink(float *x, float scale, float sink, size_t count) {
  float top = largest(x, count) * scale;
  top = sink > top ? sink : top;
  softmax(x, scale, top, exponential(sink - top), count);
}

CK_WIDER void ck_softcap(float *x, float scale, float cap, size_t count) {
  float inner = scale / cap;
  for (size_t i = 0; i < count; i++) x[i] = cap * hyperbolic_tangent(x[i] * inner);
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

CK_WIDER void ck_silu_multiply(float *gate, const float *up, size_t count) {
  for (size_t i = 0; i < count; i++) gate[i] = gate[i] / (1.0f + exponential(-gate[i])) * up[i];
}

CK_WIDER void ck_gelu_tanh_multiply(float *gate, const float *up, size_t count) {
  for (size_t i = 0; i < count; i++) {
    float z = gate[i];
    // (1 + tanh(u)) / 2 = 1 / (1 + exp(−2u)), which keeps its relative accuracy where tanh(u) nears −1.
    float twice = 1.59576912f * (z + 0.044715f * z * z * z);
    gate[i] = z / (1.0f + exponential(-twice)) * up[i];
  }
}

void ck_gelu_multiply(float *gate, const float *up, size_t count) {
  // 1 + erf(u) = erfc(−u); the right side keeps its relative accuracy where erf(u) nears −1.
  for (size_t i = 0; i < count; i++) gate[i] = 0.5f * gate[i] * erfcf(gate[i] * -0.707106781f) * up[i];
}

CK_WIDER void ck_clamped_swish_multiply(float *gate, const float *up, float limit, float alpha, size_t count) {
  for (size_t i = 0; i < count; i++) {
    float g = gate[i] > limit ? limit : gate[i];
    float u = up[i] > limit ? limit : (up[i] < -limit ? -limit : up[i]);
    gate[i] = g / (1.0f + exponential(-alpha * g)) * (u + 1.0f);
  }
}

void ck_rotate_half(float *x, const float *cosine, const float *sine, size_t half) {
  for (size_t i = 0; i < half; i++) {
    float first = x[i];
    float second = x[i + half];
    x[i] = first * cosine[i] - second * sine[i];
    x[i + half] = second * cosine[i] + first * sine[i];
  }
}

void ck_rotate_neighbours(float *x, const float *cosine, const float *sine, size_t half) {
  for (size_t i = 0; i < half; i++) {
    float first = x[2 * i];
    float second = x[2 * i + 1];
    x[2 * i] = first * cosine[i] - second * sine[i];
    x[2 * i + 1] = second * cosine[i] + first * sine[i];
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
