#include "IntegerKernels.h"
#include "PanelCodes.h"

#include <math.h>
#include <string.h>

// The plain twin of IntegerBody.inc: it defines, word by word, what IntegerProduct.h promises.

float ck_round_block(const float *x, size_t count, int8_t codes[ck_activation_block], int32_t *sum) {
  // Magnitudes compare as their bits do; NaN is the largest.
  uint32_t largest = 0;
  for (size_t k = 0; k < count; k++) {
    uint32_t bits;
    memcpy(&bits, &x[k], sizeof bits);
    bits &= 0x7fffffff;
    if (bits > largest) largest = bits;
  }
  float magnitude;
  memcpy(&magnitude, &largest, sizeof magnitude);
  memset(codes, 0, ck_activation_block);
  *sum = 0;
  if (largest >= 0x7f800000) return NAN;
  if (magnitude < 0x1p-120f) return 0;
  float inverse = 127 / magnitude;
  for (size_t k = 0; k < count; k++) {
    // Sums with 1.5 · 2^23 have no bits below the units.
    float scaled = x[k] * inverse;
    volatile float shifted = scaled + 0x1.8p23f;
    codes[k] = (int8_t)(shifted - 0x1.8p23f);
    *sum += codes[k];
  }
  return magnitude / 127;
}

static void round_tokens(
    const ck_panels *weights, const float *x, size_t tokens, size_t first_tile, size_t last_tile, uint8_t *rounded) {
  size_t in = weights->in, blocks = ck_block_count(in), groups = ck_group_count(in, weights->group_size);
  size_t tiles = ck_integer_tile_count(&ck_integer_portable, tokens);
  size_t block_bytes = ck_rounded_block_bytes(1), token_bytes = blocks * block_bytes + groups * 4;
  // The tokens of a tile one after the other.
  size_t last = ck_tile_start(last_tile, tiles, tokens);
  for (size_t token = ck_tile_start(first_tile, tiles, tokens); token < last; token++) {
    uint8_t *target = rounded + token * token_bytes;
    for (size_t g = 0, b = 0; g < groups; g++) {
      float t = 0;
      for (; b < blocks && b * ck_activation_block / weights->group_size == g; b++) {
        size_t begin = b * ck_activation_block, left = in - begin;
        int8_t codes[ck_activation_block];
        int32_t sum;
        float scale =
            ck_round_block(x + token * in + begin, left < ck_activation_block ? left : ck_activation_block, codes, &sum);
        memcpy(target + b * block_bytes, codes, sizeof codes);
        memcpy(target + b * block_bytes + sizeof codes, &scale, 4);
        t = fmaf((float)sum, scale, t);
      }
      memcpy(target + blocks * block_bytes + g * 4, &t, 4);
    }
  }
}

static float output(const ck_panels *weights, size_t row, const uint8_t *token) {
  size_t in = weights->in, blocks = ck_block_count(in), groups = ck_group_count(in, weights->group_size);
  size_t panel = row / ck_panel_rows, lane = row % ck_panel_rows, block_bytes = ck_rounded_block_bytes(1);
  const uint8_t *codes = weights->codes + panel * ck_panel_code_bytes(weights->kind, in);
  float y = 0;
  for (size_t g = 0, b = 0; g < groups; g++) {
    float s = 0, scale, zero, t;
    for (; b < blocks && b * ck_activation_block / weights->group_size == g; b++) {
      const uint8_t *block = token + b * block_bytes;
      int32_t sum = 0;
      for (size_t i = 0; i < ck_activation_block; i++)
        sum += (int32_t)ck_panel_code(weights->kind, codes, lane, b * ck_activation_block + i) * (int8_t)block[i];
      memcpy(&scale, block + ck_activation_block, 4);
      s = fmaf((float)sum, scale, s);
    }
    ck_row_values(weights, row, g, &scale, &zero);
    memcpy(&t, token + blocks * block_bytes + g * 4, 4);
    if (weights->zeros != ck_value_none) s = fmaf(-zero, t, s);
    y = fmaf(scale, s, y);
  }
  return y;
}

static void product(
    const ck_panels *weights, size_t first_panel, size_t last_panel, const uint8_t *rounded, size_t tokens, float *y,
    size_t y_stride) {
  size_t token_bytes = ck_block_count(weights->in) * ck_rounded_block_bytes(1)
      + ck_group_count(weights->in, weights->group_size) * 4;
  for (size_t row = first_panel * ck_panel_rows; row < last_panel * ck_panel_rows && row < weights->out; row++)
    for (size_t token = 0; token < tokens; token++)
      y[token * y_stride + row] = output(weights, row, rounded + token * token_bytes);
}

const ck_integer_kernels ck_integer_portable = {"portable", 16, round_tokens, product};
