#include "FloatScales.h"

#include <math.h>
#include <string.h>

enum { lanes = 8, chunk = 512 };

static inline uint32_t float_to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float bits_to_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// To nearest even with `significand` bits behind the leading one; below 2^`lowest` steps no longer shrink. Adding and
// subtracting 1.5 · 2^(23 − significand) times the value's power of two leaves multiples of its step.
static inline float nearest(float x, int significand, int lowest, float largest) {
  uint32_t bits = float_to_bits(x);
  uint32_t sign = bits & 0x80000000u;
  float magnitude = bits_to_float(bits & 0x7fffffffu);
  magnitude = magnitude > largest ? largest : magnitude;
  uint32_t power = float_to_bits(magnitude) & 0x7f800000u;
  uint32_t least = (uint32_t)(lowest + 127) << 23;
  power = power < least ? least : power;
  float rounder = bits_to_float(power + ((uint32_t)(23 - significand) << 23) + 0x400000u);
  return bits_to_float(float_to_bits((magnitude + rounder) - rounder) | sign);
}

static inline float nearest_e4m3(float x) { return nearest(x, 3, -6, 448); }
static inline float nearest_e2m1(float x) { return nearest(x, 1, 0, 6); }

void ck_f32_to_e2m1(const float *source, uint8_t *destination, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits = float_to_bits(nearest_e2m1(source[i]));
    uint32_t magnitude = bits & 0x7fffffffu;
    // 1, 1½, 2, 3, 4, 6 follow each other in the two bits above the rest; ½ and 0 are below them.
    uint32_t code = magnitude >= 0x3f800000u ? (magnitude >> 22) - 252 : (magnitude >= 0x3f000000u ? 1 : 0);
    destination[i] = (uint8_t)((code & 7) | (bits >> 31) << 3);
  }
}

void ck_float_round_trip(float *values, size_t count, ck_float_format format, float scale) {
  if (format == ck_float8_e4m3) {
    for (size_t i = 0; i < count; i++) values[i] = nearest_e4m3(values[i] / scale) * scale;
  } else {
    for (size_t i = 0; i < count; i++) values[i] = nearest_e2m1(values[i] / scale) * scale;
  }
}

void ck_int_round_trip(float *values, size_t count, float largest, float scale) {
  // Adding and subtracting 1.5 · 2^23 rounds to the nearest even integer.
  const float rounder = 12582912.0f;
  for (size_t i = 0; i < count; i++) {
    float x = values[i] / scale;
    x = x > largest ? largest : (x < -largest - 1 ? -largest - 1 : x);
    values[i] = ((x + rounder) - rounder) * scale;
  }
}

// One chunk and one scale; the format is a constant wherever this is called.
static inline __attribute__((always_inline)) double error_of(const float *w, const float *importance, size_t count,
                                                             ck_float_format format, float scale) {
  float inverse = 1 / scale;
  float sums[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) {
      float x = w[i + lane] * inverse;
      float difference = (format == ck_float8_e4m3 ? nearest_e4m3(x) : nearest_e2m1(x)) * scale - w[i + lane];
      float weight = importance ? importance[i + lane] : 1;
      sums[lane] += weight * difference * difference;
    }
  double sum = 0;
  for (; i < count; i++) {
    float x = w[i] * inverse;
    float difference = (format == ck_float8_e4m3 ? nearest_e4m3(x) : nearest_e2m1(x)) * scale - w[i];
    sum += (double)((importance ? importance[i] : 1) * difference * difference);
  }
  for (int lane = 0; lane < lanes; lane++) sum += (double)sums[lane];
  return sum;
}

void ck_float_scale_errors(const float *w, const float *importance, size_t count, ck_float_format format,
                           const float *scales, size_t scale_count, double *errors) {
  for (size_t start = 0; start < count; start += chunk) {
    size_t width = start + chunk < count ? chunk : count - start;
    const float *part = importance ? importance + start : NULL;
    for (size_t s = 0; s < scale_count; s++) {
      if (format == ck_float8_e4m3) {
        errors[s] += part ? error_of(w + start, part, width, ck_float8_e4m3, scales[s])
                          : error_of(w + start, NULL, width, ck_float8_e4m3, scales[s]);
      } else {
        errors[s] += part ? error_of(w + start, part, width, ck_float4_e2m1, scales[s])
                          : error_of(w + start, NULL, width, ck_float4_e2m1, scales[s]);
      }
    }
  }
}
