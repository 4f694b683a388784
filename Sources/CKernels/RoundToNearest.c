#include "RoundToNearest.h"

#include <math.h>

#include "Conversions.h"
#include "Rounding.h"
#include "Wider.h"

enum { lanes = 8 };

float ck_round_scale(float value, ck_scale_type type) {
  uint16_t half;
  float result = value;
  switch (type) {
    case ck_scale_f32: break;
    case ck_scale_bf16:
      ck_f32_to_bf16(&value, &half, 1);
      ck_bf16_to_f32(&half, &result, 1);
      break;
    case ck_scale_f16:
      ck_f32_to_f16(&value, &half, 1);
      ck_f16_to_f32(&half, &result, 1);
      break;
  }
  return result;
}

float ck_round_scale_up(float value, ck_scale_type type) {
  float rounded = ck_round_scale(value, type);
  if (rounded >= value || type == ck_scale_f32) return rounded;
  uint16_t half;
  if (type == ck_scale_bf16) {
    ck_f32_to_bf16(&rounded, &half, 1);
    half++;
    ck_bf16_to_f32(&half, &rounded, 1);
  } else {
    ck_f32_to_f16(&rounded, &half, 1);
    half++;
    ck_f16_to_f32(&half, &rounded, 1);
  }
  return rounded;
}

CK_WIDER float ck_largest_magnitude(const float *w, size_t count) {
  float best[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) {
      float magnitude = fabsf(w[i + lane]);
      best[lane] = magnitude > best[lane] ? magnitude : best[lane];
    }
  float result = 0;
  for (; i < count; i++) result = fabsf(w[i]) > result ? fabsf(w[i]) : result;
  for (int lane = 0; lane < lanes; lane++) result = best[lane] > result ? best[lane] : result;
  return result;
}

CK_WIDER void ck_int_group_range(const float *w, size_t count, float *low, float *high) {
  float smallest[lanes] = {0}, largest[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) {
      float value = w[i + lane];
      smallest[lane] = value < smallest[lane] ? value : smallest[lane];
      largest[lane] = value > largest[lane] ? value : largest[lane];
    }
  *low = 0;
  *high = 0;
  for (; i < count; i++) {
    *low = w[i] < *low ? w[i] : *low;
    *high = w[i] > *high ? w[i] : *high;
  }
  for (int lane = 0; lane < lanes; lane++) {
    *low = smallest[lane] < *low ? smallest[lane] : *low;
    *high = largest[lane] > *high ? largest[lane] : *high;
  }
}

void ck_int_range_scale(float low, float high, ck_int_grid grid, float *scale, float *zero) {
  float steps = (float)((1 << grid.bits) - 1);
  float lowest = (float)-(1 << (grid.bits - 1));
  float raw = grid.symmetric ? (high > -low ? high : -low) / (steps / 2) : (high - low) / steps;
  *scale = ck_round_scale(raw, grid.scale_type);
  if (!(*scale > 0)) *scale = 1;
  *zero = grid.symmetric ? 0 : clamp(nearest_integer(lowest - low / *scale), lowest, lowest + steps);
}

void ck_int_group_scale(const float *w, size_t count, ck_int_grid grid, float shrink, float *scale, float *zero) {
  float low, high;
  ck_int_group_range(w, count, &low, &high);
  ck_int_range_scale(low * shrink, high * shrink, grid, scale, zero);
}

CK_WIDER void ck_int_group_round(const float *w, size_t count, ck_int_grid grid, float scale, float zero, int8_t *codes) {
  float lowest = (float)-(1 << (grid.bits - 1));
  float highest = -lowest - 1;
  for (size_t i = 0; i < count; i++) codes[i] = (int8_t)clamp(nearest_integer(w[i] / scale) + zero, lowest, highest);
}

CK_WIDER void ck_int_group_error(
    const float *w, size_t count, ck_int_grid grid, float scale, float zero, float *difference) {
  float lowest = (float)-(1 << (grid.bits - 1));
  float highest = -lowest - 1;
  for (size_t i = 0; i < count; i++) {
    float code = clamp(nearest_integer(w[i] / scale) + zero, lowest, highest);
    difference[i] = (code - zero) * scale - w[i];
  }
}

CK_WIDER float ck_int_group_best_shrink(
    const float *w, size_t count, ck_int_grid grid, const float *factors, size_t factor_count, const float *variance,
    const float *mean) {
  float lowest = (float)-(1 << (grid.bits - 1));
  float highest = -lowest - 1;
  float low, high;
  ck_int_group_range(w, count, &low, &high);
  float best = 1;
  double least = INFINITY;
  for (size_t f = 0; f < factor_count; f++) {
    float scale, zero;
    ck_int_range_scale(low * factors[f], high * factors[f], grid, &scale, &zero);
    float spread[lanes] = {0}, shift[lanes] = {0};
    size_t i = 0;
    for (; i + lanes <= count; i += lanes)
      for (int lane = 0; lane < lanes; lane++) {
        float code = clamp(nearest_integer(w[i + lane] / scale) + zero, lowest, highest);
        float difference = (code - zero) * scale - w[i + lane];
        spread[lane] += variance[i + lane] * difference * difference;
        shift[lane] += mean[i + lane] * difference;
      }
    double spread_sum = 0, shift_sum = 0;
    for (; i < count; i++) {
      float code = clamp(nearest_integer(w[i] / scale) + zero, lowest, highest);
      float difference = (code - zero) * scale - w[i];
      spread_sum += (double)(variance[i] * difference * difference);
      shift_sum += (double)(mean[i] * difference);
    }
    for (int lane = 0; lane < lanes; lane++) {
      spread_sum += spread[lane];
      shift_sum += shift[lane];
    }
    double error = spread_sum + shift_sum * shift_sum;
    if (error < least) {
      least = error;
      best = factors[f];
    }
  }
  return best;
}

CK_WIDER double ck_scaled_row_error(
    const float *w, const float *s, const float *inverse_s, const float *variance, const float *mean, size_t count,
    size_t group_size, ck_int_grid grid, float *scratch) {
  float *scaled = scratch;
  float *difference = scratch + count;
  for (size_t i = 0; i < count; i++) scaled[i] = w[i] * s[i];
  for (size_t start = 0; start < count; start += group_size) {
    size_t width = start + group_size < count ? group_size : count - start;
    float scale, zero;
    ck_int_group_scale(scaled + start, width, grid, 1, &scale, &zero);
    ck_int_group_error(scaled + start, width, grid, scale, zero, difference + start);
  }
  double spread[lanes] = {0}, shift[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) {
      float delta = difference[i + lane] * inverse_s[i + lane];
      spread[lane] += (double)(variance[i + lane] * delta * delta);
      shift[lane] += (double)(mean[i + lane] * delta);
    }
  double spread_sum = 0, shift_sum = 0;
  for (; i < count; i++) {
    float delta = difference[i] * inverse_s[i];
    spread_sum += (double)(variance[i] * delta * delta);
    shift_sum += (double)(mean[i] * delta);
  }
  for (int lane = 0; lane < lanes; lane++) {
    spread_sum += spread[lane];
    shift_sum += shift[lane];
  }
  return spread_sum + shift_sum * shift_sum;
}
