#include "PanelCodes.h"

#include <string.h>

// Everything about the panel layout that is not worth an instruction set of its own. See QuantizedProduct.h.

size_t ck_panel_count(size_t out) { return (out + ck_panel_rows - 1) / ck_panel_rows; }

size_t ck_panel_code_bytes(ck_code_kind kind, size_t in) {
  size_t blocks = (in + 31) / 32;
  switch (kind) {
    case ck_code_uint4:
      return blocks * 256;
    case ck_code_int8:
      return blocks * 512;
    case ck_code_e4m3:
      return ck_panel_rows * in;
  }
  return 0;
}

size_t ck_group_count(size_t in, size_t group_size) { return in / group_size + (in % group_size != 0); }

size_t ck_depth_block_count(size_t in) { return (in + ck_depth_block - 1) / ck_depth_block; }

/// The 32-bit word of `count` codes of one row, the rest of 0; little-endian, as all our machines are.
static uint32_t code_word(ck_code_kind kind, const uint8_t *codes, size_t count) {
  uint8_t filled[8] = {0};
  memcpy(filled, codes, count);
  uint32_t first, second;
  memcpy(&first, filled, 4);
  if (kind == ck_code_int8) return first;
  memcpy(&second, filled + 4, 4);
  return (first & 0x0f0f0f0f) | (second & 0x0f0f0f0f) << 4;
}

void ck_pack_codes(
    ck_code_kind kind, const uint8_t *codes, size_t out, size_t in, size_t first_panel, size_t last_panel,
    uint8_t *packed) {
  size_t panel_bytes = ck_panel_code_bytes(kind, in);
  size_t step = kind == ck_code_uint4 ? 8 : 4;
  for (size_t panel = first_panel; panel < last_panel; panel++) {
    uint8_t *target = packed + panel * panel_bytes;
    size_t row = panel * ck_panel_rows, rows = out - row < ck_panel_rows ? out - row : ck_panel_rows;
    memset(target, 0, panel_bytes);
    for (size_t lane = 0; lane < rows; lane++) {
      const uint8_t *source = codes + (row + lane) * in;
      if (kind == ck_code_e4m3) {
        for (size_t k = 0; k < in; k++) target[k * ck_panel_rows + lane] = source[k];
        continue;
      }
      size_t k = 0;
      for (; k + step <= in; k += step) {
        uint32_t word = code_word(kind, source + k, step);
        memcpy(target + k / step * 64 + lane * 4, &word, 4);
      }
      if (k == in) continue;
      uint32_t word = code_word(kind, source + k, in - k);
      memcpy(target + k / step * 64 + lane * 4, &word, 4);
    }
  }
}

void ck_pack_group_values(const float *values, size_t out, size_t groups, float *packed) {
  size_t rows = ck_panel_count(out) * ck_panel_rows;
  for (size_t row = 0; row < rows; row++) {
    float *target = packed + row / ck_panel_rows * groups * ck_panel_rows + row % ck_panel_rows;
    for (size_t g = 0; g < groups; g++) target[g * ck_panel_rows] = row < out ? values[row * groups + g] : 0;
  }
}

void ck_dequantize_rows(const ck_panels *weights, size_t first_row, size_t last_row, float *rows) {
  size_t in = weights->in;
  size_t panel_bytes = ck_panel_code_bytes(weights->kind, in);
  size_t groups = ck_group_count(in, weights->group_size);
  for (size_t row = first_row; row < last_row; row++) {
    size_t panel = row / ck_panel_rows, lane = row % ck_panel_rows;
    const uint8_t *codes = weights->codes + panel * panel_bytes;
    const float *scales = weights->scales + panel * groups * ck_panel_rows + lane;
    const float *zeros = weights->zeros ? weights->zeros + panel * groups * ck_panel_rows + lane : NULL;
    float *target = rows + (row - first_row) * in;
    size_t k = 0;
    for (size_t g = 0; g < groups; g++) {
      size_t end = in - k > weights->group_size ? k + weights->group_size : in;
      float scale = scales[g * ck_panel_rows];
      float zero = zeros ? zeros[g * ck_panel_rows] : 0;
      for (; k < end; k++) target[k] = (ck_panel_code(weights->kind, codes, lane, k) - zero) * scale;
    }
  }
}

void ck_group_sums(const float *x, size_t in, size_t group_size, float *sums) {
  // Sixteen partial sums, so that the compiler may use vectors of any length without changing the result.
  enum { lanes = 16 };
  size_t k = 0;
  for (size_t g = 0; k < in; g++) {
    size_t end = in - k > group_size ? k + group_size : in;
    float partial[lanes] = {0};
    for (; k + lanes <= end; k += lanes)
      for (size_t i = 0; i < lanes; i++) partial[i] += x[k + i];
    for (size_t i = 0; k < end; k++, i++) partial[i] += x[k];
    for (size_t width = lanes / 2; width > 0; width /= 2)
      for (size_t i = 0; i < width; i++) partial[i] += partial[i + width];
    sums[g] = partial[0];
  }
}
