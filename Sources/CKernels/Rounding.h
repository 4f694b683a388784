// Rounding of single numbers to nearest even, written so that loops over it vectorise at the baseline instruction set.
#ifndef CKERNELS_ROUNDING_H
#define CKERNELS_ROUNDING_H

#include <stdint.h>
#include <string.h>

static inline float bits_to_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline uint32_t float_to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// `x` within bounds; NaN stays NaN.
static inline float clamp(float x, float low, float high) { return x < low ? low : (x > high ? high : x); }

/// The nearest integer, for magnitudes below 2^22: adding and subtracting 1.5 · 2^23 leaves none of the fraction, without
/// the call that rintf costs.
static inline float nearest_small_integer(float x) { return (x + 12582912.0f) - 12582912.0f; }

/// The nearest integer, of magnitudes held below 2^22.
static inline float nearest_integer(float x) { return nearest_small_integer(clamp(x, -4194304.0f, 4194303.0f)); }

/// The nearest number with `significand` bits behind the leading one; below 2^`lowest` steps no longer shrink, and
/// `largest` is the greatest. The sign of 0 and NaN stay.
///
/// Adding and subtracting 1.5 · 2^(23 − significand) times the value's power of two leaves multiples of its step.
static inline float nearest_number(float x, int significand, int lowest, float largest) {
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

static inline float nearest_e4m3(float x) { return nearest_number(x, 3, -6, 448); }
static inline float nearest_e2m1(float x) { return nearest_number(x, 1, 0, 6); }

/// The code of a number of float4 E2M1, 0 … 15.
static inline uint8_t e2m1_code(float number) {
  uint32_t bits = float_to_bits(number);
  uint32_t magnitude = bits & 0x7fffffffu;
  // 1, 1½, 2, 3, 4, 6 follow each other in the two bits above the rest; ½ and 0 are below them.
  uint32_t code = magnitude >= 0x3f800000u ? (magnitude >> 22) - 252 : (magnitude >= 0x3f000000u ? 1 : 0);
  return (uint8_t)((code & 7) | (bits >> 31) << 3);
}

#endif
