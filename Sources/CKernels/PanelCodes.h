// Codes, scales and zeros of single lanes of a panel; see QuantizedProduct.h.
#ifndef CKERNELS_PANEL_CODES_H
#define CKERNELS_PANEL_CODES_H

#include "Conversions.h"
#include "QuantizedProduct.h"

#include <string.h>

/// The number that the code of `lane` at `k` stands for.
static inline float ck_panel_code(ck_code_kind kind, const uint8_t *codes, size_t lane, size_t k) {
  float value = 0;
  switch (kind) {
    case ck_code_uint4:
      value = (float)(codes[k / 8 * 64 + lane * 4 + k % 4] >> (k / 4 % 2 * 4) & 15);
      break;
    case ck_code_int8:
      value = (float)(int8_t)codes[k / 4 * 64 + lane * 4 + k % 4];
      break;
    case ck_code_e4m3:
      ck_e4m3_to_f32(&codes[k * ck_panel_rows + lane], &value, 1);
      break;
  }
  return value;
}

/// Number `index` of values that lie side by side.
static inline float ck_panel_value(ck_value_kind kind, const uint8_t *values, size_t index) {
  float value = 0;
  switch (kind) {
    case ck_value_none:
      break;
    case ck_value_int8:
      value = (float)(int8_t)values[index];
      break;
    case ck_value_bf16:
      ck_bf16_to_f32(values + 2 * index, &value, 1);
      break;
    case ck_value_f16:
      ck_f16_to_f32(values + 2 * index, &value, 1);
      break;
    case ck_value_f32:
      memcpy(&value, values + 4 * index, sizeof value);
      break;
  }
  return value;
}

/// The scale and the zero of a row's group.
static inline void ck_row_values(const ck_panels *weights, size_t row, size_t group, float *scale, float *zero) {
  size_t scale_bytes = ck_panel_rows * ck_value_bytes(weights->scales);
  size_t bytes = scale_bytes + ck_panel_rows * ck_value_bytes(weights->zeros);
  size_t at = row / ck_panel_rows * ck_group_count(weights->in, weights->group_size) + group, lane = row % ck_panel_rows;
  *scale = ck_panel_value(weights->scales, weights->values + at * bytes, lane);
  *zero = ck_panel_value(weights->zeros, weights->values + at * bytes + scale_bytes, lane);
}

#endif
