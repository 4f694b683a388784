#include "Conversions.h"

#include <math.h>
#include <string.h>

#include "Rounding.h"
#include "Wider.h"

// Written as straight integer arithmetic over fixed blocks, so that the compiler vectorises them at the baseline
// instruction set; formats after IEEE 754 and the OCP FP8 specification (1.0, 2023).

CK_WIDER void ck_bf16_to_f32(const void *source, float *destination, size_t count) {
  const uint8_t *bytes = source;
  for (size_t i = 0; i < count; i++) {
    uint16_t half;
    memcpy(&half, bytes + 2 * i, sizeof half);
    destination[i] = bits_to_float((uint32_t)half << 16);
  }
}

CK_WIDER void ck_f16_to_f32(const void *source, float *destination, size_t count) {
  const uint8_t *bytes = source;
  for (size_t i = 0; i < count; i++) {
    uint16_t half;
    memcpy(&half, bytes + 2 * i, sizeof half);
    uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13;
    // Re-bias by a multiplication, which also normalises subnormals; infinities and NaN need the largest exponent.
    uint32_t scaled = float_to_bits(bits_to_float(magnitude) * 0x1p112f);
    uint32_t special = magnitude | 0x7f800000u;
    uint32_t bits = magnitude >= 0x0f800000u ? special : scaled;
    destination[i] = bits_to_float(bits | (uint32_t)(half & 0x8000) << 16);
  }
}

CK_WIDER void ck_f32_to_bf16(const float *source, uint16_t *destination, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits = float_to_bits(source[i]);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40;
    destination[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
  }
}

CK_WIDER void ck_f32_to_f16(const float *source, uint16_t *destination, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits = float_to_bits(source[i]);
    uint32_t sign = (bits >> 16) & 0x8000;
    uint32_t magnitude = bits & 0x7fffffff;
    // Normal halves: subtract the bias difference and round the 13 dropped bits to even.
    uint32_t normal = (magnitude - 0x38000000u + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    // Subnormal halves: adding 0.5 puts the bits of weight 2^-24 at the bottom of the float's significand.
    uint32_t subnormal = float_to_bits(bits_to_float(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
    half = magnitude >= 0x477ff000u ? 0x7c00 : half;
    half = magnitude > 0x7f800000u ? (0x7e00 | ((magnitude >> 13) & 0x3ff)) : half;
    destination[i] = (uint16_t)(half | sign);
  }
}

CK_WIDER void ck_e4m3_to_f32(const uint8_t *source, float *destination, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t code = source[i];
    uint32_t magnitude = code & 0x7f;
    uint32_t normal = (magnitude << 20) + (120u << 23);
    // Subnormals count in steps of 2^-9.
    uint32_t subnormal = float_to_bits((float)(int32_t)magnitude * 0x1p-9f);
    uint32_t bits = magnitude < 8 ? subnormal : normal;
    bits = magnitude == 0x7f ? 0x7fc00000u : bits;
    destination[i] = bits_to_float(bits | (code & 0x80) << 24);
  }
}

CK_WIDER void ck_f32_to_e4m3(const float *source, uint8_t *destination, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits = float_to_bits(source[i]);
    uint32_t sign = (bits >> 24) & 0x80;
    uint32_t magnitude = bits & 0x7fffffff;
    uint32_t clamped = magnitude > 0x43e00000u ? 0x43e00000u : magnitude;  // 448
    uint32_t normal = (clamped - (120u << 23) + 0x7ffff + ((clamped >> 20) & 1)) >> 20;
    // Below 2^-6, adding 2^14 leaves multiples of 2^-9 at the bottom of the significand.
    uint32_t subnormal = float_to_bits(bits_to_float(clamped) + 0x1p14f) - 0x46800000u;
    uint32_t code = clamped < 0x3c800000u ? subnormal : normal;
    code = magnitude > 0x7f800000u ? 0x7f : code;
    destination[i] = (uint8_t)(code | sign);
  }
}

/// A loop over numbers of a type whose exponent, all ones, says infinite or NaN.
#define CK_FIRST_NON_FINITE(type)                                             \
  const uint8_t *bytes = values;                                              \
  enum { block = 1024 };                                                      \
  for (size_t start = 0; start < count; start += block) {                     \
    size_t length = count - start < block ? count - start : block;            \
    type part[block], any = 0;                                                \
    memcpy(part, bytes + start * sizeof(type), length * sizeof(type));        \
    for (size_t i = 0; i < length; i++) any |= (part[i] & exponent) == exponent; \
    if (!any) continue;                                                       \
    for (size_t i = 0; i < length; i++)                                       \
      if ((part[i] & exponent) == exponent) return start + i;                 \
  }                                                                           \
  return count

static size_t first_non_finite_16(const void *values, size_t count, uint16_t exponent) { CK_FIRST_NON_FINITE(uint16_t); }
static size_t first_non_finite_32(const void *values, size_t count, uint32_t exponent) { CK_FIRST_NON_FINITE(uint32_t); }

size_t ck_first_non_finite_bf16(const void *values, size_t count) { return first_non_finite_16(values, count, 0x7f80); }
size_t ck_first_non_finite_f16(const void *values, size_t count) { return first_non_finite_16(values, count, 0x7c00); }
size_t ck_first_non_finite(const void *values, size_t count) {
  return first_non_finite_32(values, count, 0x7f800000);
}
