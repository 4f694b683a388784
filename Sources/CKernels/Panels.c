#include "Conversions.h"
#include "QuantizedProduct.h"

// Everything about the panel layout that is not worth an instruction set of its own. See QuantizedProduct.h.

size_t ck_panel_count(size_t out) { return (out + ck_panel_rows - 1) / ck_panel_rows; }

size_t ck_panel_code_bytes(ck_code_kind kind, size_t in) {
  return ck_panel_rows * (kind == ck_code_uint4 ? (in + 1) / 2 : in);
}

size_t ck_group_count(size_t in, size_t group_size) { return in / group_size + (in % group_size != 0); }

size_t ck_depth_block_count(size_t in) { return (in + ck_depth_block - 1) / ck_depth_block; }

void ck_pack_codes(
    ck_code_kind kind, const uint8_t *codes, size_t out, size_t in, size_t first_panel, size_t last_panel,
    uint8_t *packed) {
  size_t panel_bytes = ck_panel_code_bytes(kind, in);
  for (size_t panel = first_panel; panel < last_panel; panel++) {
    uint8_t *target = packed + panel * panel_bytes;
    for (size_t lane = 0; lane < ck_panel_rows; lane++) {
      size_t row = panel * ck_panel_rows + lane;
      const uint8_t *source = codes + row * in;
      if (row >= out) {
        for (size_t i = lane; i < panel_bytes; i += ck_panel_rows) target[i] = 0;
      } else if (kind == ck_code_uint4) {
        for (size_t k = 0; k < in; k += 2) {
          uint8_t high = k + 1 < in ? source[k + 1] & 15 : 0;
          target[k / 2 * ck_panel_rows + lane] = (uint8_t)((source[k] & 15) | high << 4);
        }
      } else {
        for (size_t k = 0; k < in; k++) target[k * ck_panel_rows + lane] = source[k];
      }
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
    const uint8_t *codes = weights->codes + panel * panel_bytes + lane;
    const float *scales = weights->scales + panel * groups * ck_panel_rows + lane;
    const float *zeros = weights->zeros ? weights->zeros + panel * groups * ck_panel_rows + lane : NULL;
    float *target = rows + (row - first_row) * in;
    size_t k = 0;
    for (size_t g = 0; g < groups; g++) {
      size_t end = in - k > weights->group_size ? k + weights->group_size : in;
      float scale = scales[g * ck_panel_rows];
      float zero = zeros ? zeros[g * ck_panel_rows] : 0;
      for (; k < end; k++) {
        float code;
        switch (weights->kind) {
          case ck_code_uint4:
            code = (float)(codes[k / 2 * ck_panel_rows] >> (k % 2 ? 4 : 0) & 15);
            break;
          case ck_code_int8:
            code = (float)(int8_t)codes[k * ck_panel_rows];
            break;
          case ck_code_e4m3:
            ck_e4m3_to_f32(&codes[k * ck_panel_rows], &code, 1);
            break;
        }
        target[k] = (code - zero) * scale;
      }
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
