#include "Kernels.h"
#include "PanelCodes.h"

#include <string.h>

// The plain twin of KernelBody.inc: no vectors, no tricks, sums in double. It defines what the other instruction sets
// are compared with, and it runs everywhere.

static void product_many(
    const ck_panels *weights, size_t first_panel, size_t last_panel, const float *x, size_t tokens, float *y,
    size_t y_stride) {
  size_t in = weights->in, group_size = weights->group_size;
  for (size_t row = first_panel * ck_panel_rows; row < last_panel * ck_panel_rows && row < weights->out; row++) {
    size_t panel = row / ck_panel_rows, lane = row % ck_panel_rows;
    const uint8_t *codes = weights->codes + panel * ck_panel_code_bytes(weights->kind, in);
    for (size_t token = 0; token < tokens; token++) {
      double sum = 0;
      for (size_t k = 0; k < in; k++) {
        float scale, zero;
        ck_row_values(weights, row, k / group_size, &scale, &zero);
        double weight = ((double)ck_panel_code(weights->kind, codes, lane, k) - zero) * scale;
        sum += weight * x[token * in + k];
      }
      y[token * y_stride + row] = (float)sum;
    }
  }
}

static void product_one(
    const ck_panels *weights, size_t first_panel, size_t last_panel, const float *x, const float *sums, float *y) {
  (void)sums;
  product_many(weights, first_panel, last_panel, x, 1, y, 0);
}

static void product_few(
    const ck_panels *weights, size_t first_panel, size_t last_panel, const float *x, const float *sums, size_t tokens,
    float *y, size_t y_stride) {
  (void)sums;
  product_many(weights, first_panel, last_panel, x, tokens, y, y_stride);
}

static void pack_tokens(
    const float *x, size_t in, size_t tokens, size_t first_block, size_t last_block, float *packed) {
  for (size_t token = 0; token < tokens; token++)
    for (size_t k = first_block * ck_depth_block; k < last_block * ck_depth_block && k < in; k++)
      packed[token * in + k] = x[token * in + k];
}

static float dense_value(ck_dense_kind kind, const uint8_t *weights, size_t index) {
  float value;
  switch (kind) {
    case ck_dense_bf16:
      ck_bf16_to_f32(weights + 2 * index, &value, 1);
      break;
    case ck_dense_f16:
      ck_f16_to_f32(weights + 2 * index, &value, 1);
      break;
    case ck_dense_f32:
      memcpy(&value, weights + 4 * index, sizeof value);
      break;
  }
  return value;
}

static void dense_product(
    ck_dense_kind kind, const void *weights, size_t in, size_t first_row, size_t last_row, const float *x,
    size_t tokens, float *y, size_t y_stride) {
  for (size_t token = 0; token < tokens; token++)
    for (size_t row = first_row; row < last_row; row++) {
      double sum = 0;
      for (size_t k = 0; k < in; k++) sum += (double)dense_value(kind, weights, row * in + k) * x[token * in + k];
      y[token * y_stride + row] = (float)sum;
    }
}

static void key_products(
    const float *keys, size_t block_stride, size_t width, size_t first_block, size_t last_block, const float *queries,
    size_t heads, float *scores, size_t score_stride) {
  for (size_t h = 0; h < heads; h++)
    for (size_t token = first_block * ck_key_block; token < last_block * ck_key_block; token++) {
      const float *key = keys + token / ck_key_block * block_stride + token % ck_key_block;
      double sum = 0;
      for (size_t c = 0; c < width; c++) sum += (double)key[c * ck_key_block] * queries[h * width + c];
      scores[h * score_stride + token] = (float)sum;
    }
}

static void value_sums(
    const float *values, size_t row_stride, size_t width, size_t tokens, const float *weights, size_t weight_stride,
    size_t heads, float *results) {
  for (size_t h = 0; h < heads; h++)
    for (size_t c = 0; c < width; c++) {
      double sum = 0;
      for (size_t t = 0; t < tokens; t++) sum += (double)values[t * row_stride + c] * weights[h * weight_stride + t];
      results[h * width + c] = (float)sum;
    }
}

const ck_kernels ck_portable_kernels = {
    "portable", product_one, pack_tokens, product_many, product_few, dense_product, key_products, value_sums};
