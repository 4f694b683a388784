#include "PanelCodes.h"

#include <string.h>

#include "PanelWords.h"
#include "Quads.h"

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

/// The next four words of one row.
CK_INLINE quad code_words(ck_code_kind kind, const uint8_t *codes) {
  quad first, second;
  memcpy(&first, codes, sizeof first);
  if (kind == ck_code_int8) return first;
  memcpy(&second, codes + sizeof first, sizeof second);
  quad low = __builtin_shufflevector(first, second, 0, 2, 4, 6);
  quad high = __builtin_shufflevector(first, second, 1, 3, 5, 7);
  return (low & 0x0f0f0f0f) | (high & 0x0f0f0f0f) << 4;
}

/// Four words of four rows that lie `in` codes apart: to each 64 bytes of `target` one of each row.
CK_INLINE void pack_square(ck_code_kind kind, const uint8_t *codes, size_t in, uint8_t *target) {
  quad rows[4];
  for (size_t i = 0; i < 4; i++) rows[i] = code_words(kind, codes + i * in);
  transpose(rows);
  for (size_t i = 0; i < 4; i++) memcpy(target + i * 64, &rows[i], sizeof rows[i]);
}

/// The codes of some lanes from word `word` on, lane by lane.
static void pack_lanes(
    ck_code_kind kind, const uint8_t *codes, size_t in, size_t word, size_t first_lane, size_t last_lane,
    uint8_t *target) {
  size_t step = ck_codes_per_word(kind);
  for (size_t lane = first_lane; lane < last_lane; lane++)
    for (size_t i = word; i * step < in; i++) {
      size_t left = in - i * step;
      uint32_t packed = code_word(kind, codes + lane * in + i * step, left < step ? left : step);
      memcpy(target + i * 64 + lane * 4, &packed, 4);
    }
}

CK_INLINE void pack_panel(ck_code_kind kind, const uint8_t *codes, size_t in, size_t rows, uint8_t *target) {
  size_t step = ck_codes_per_word(kind), words = in / step / 4 * 4, whole = rows / 4 * 4;
  for (size_t i = 0; i < words; i += 4)
    for (size_t lane = 0; lane < whole; lane += 4)
      pack_square(kind, codes + lane * in + i * step, in, target + i * 64 + lane * 4);
  pack_lanes(kind, codes, in, words, 0, whole, target);
  pack_lanes(kind, codes, in, 0, whole, rows, target);
}

void ck_pack_codes(
    ck_code_kind kind, const uint8_t *codes, size_t out, size_t in, size_t first_panel, size_t last_panel,
    uint8_t *packed) {
  size_t panel_bytes = ck_panel_code_bytes(kind, in);
  for (size_t panel = first_panel; panel < last_panel; panel++) {
    uint8_t *target = packed + panel * panel_bytes;
    size_t row = panel * ck_panel_rows, rows = out - row < ck_panel_rows ? out - row : ck_panel_rows;
    const uint8_t *source = codes + row * in;
    if (rows < ck_panel_rows || in % 32 > 0) memset(target, 0, panel_bytes);
    switch (kind) {
      case ck_code_uint4:
        pack_panel(ck_code_uint4, source, in, rows, target);
        break;
      case ck_code_int8:
        pack_panel(ck_code_int8, source, in, rows, target);
        break;
      case ck_code_e4m3:
        for (size_t lane = 0; lane < rows; lane++)
          for (size_t k = 0; k < in; k++) target[k * ck_panel_rows + lane] = source[lane * in + k];
        break;
    }
  }
}

size_t ck_value_bytes(ck_value_kind kind) {
  switch (kind) {
    case ck_value_none:
      return 0;
    case ck_value_int8:
      return 1;
    case ck_value_bf16:
    case ck_value_f16:
      return 2;
    case ck_value_f32:
      return 4;
  }
  return 0;
}

/// Whether a type holds all values, in every bit.
static int holds(ck_value_kind kind, const float *values, size_t count) {
  enum { chunk = 256 };
  uint16_t halves[chunk];
  float read[chunk];
  for (size_t start = 0; start < count; start += chunk) {
    size_t width = count - start < chunk ? count - start : chunk;
    const float *part = values + start;
    for (size_t i = 0; i < width; i++) read[i] = 0;
    if (kind == ck_value_int8) {
      for (size_t i = 0; i < width; i++) read[i] = part[i] >= -128 && part[i] <= 127 ? (float)(int8_t)part[i] : 0.5f;
    } else if (kind == ck_value_bf16) {
      ck_f32_to_bf16(part, halves, width);
      ck_bf16_to_f32(halves, read, width);
    } else if (kind == ck_value_f16) {
      ck_f32_to_f16(part, halves, width);
      ck_f16_to_f32(halves, read, width);
    }
    if (kind != ck_value_f32 && memcmp(read, part, width * sizeof(float)) != 0) return 0;
  }
  return 1;
}

ck_value_kind ck_smallest_value_kind(const float *values, size_t count) {
  if (count == 0) return ck_value_none;
  ck_value_kind kind = ck_value_int8;
  while (!holds(kind, values, count)) kind++;
  return kind;
}

/// Writes values that belong to one lane, `stride` bytes apart.
static void pack_lane(ck_value_kind kind, const float *values, size_t count, uint8_t *target, size_t stride) {
  for (size_t i = 0; i < count; i++, target += stride) {
    uint16_t narrow;
    uint32_t bits;
    switch (kind) {
      case ck_value_none:
        break;
      case ck_value_int8:
        *target = (uint8_t)(int8_t)values[i];
        break;
      case ck_value_bf16:
        memcpy(&bits, &values[i], sizeof bits);
        narrow = (uint16_t)(bits >> 16);
        memcpy(target, &narrow, sizeof narrow);
        break;
      case ck_value_f16:
        ck_f32_to_f16(&values[i], &narrow, 1);
        memcpy(target, &narrow, sizeof narrow);
        break;
      case ck_value_f32:
        memcpy(target, &values[i], sizeof(float));
        break;
    }
  }
}

void ck_pack_group_values(
    const float *scales, const float *zeros, size_t out, size_t groups, ck_value_kind scale_kind,
    ck_value_kind zero_kind, uint8_t *packed) {
  size_t scale_bytes = ck_value_bytes(scale_kind), zero_bytes = ck_value_bytes(zero_kind);
  size_t group = ck_panel_rows * (scale_bytes + zero_bytes), panels = ck_panel_count(out);
  // Rows that do not exist.
  if (out % ck_panel_rows > 0) memset(packed + (panels - 1) * groups * group, 0, groups * group);
  for (size_t row = 0; row < out; row++) {
    size_t lane = row % ck_panel_rows;
    uint8_t *target = packed + row / ck_panel_rows * groups * group;
    pack_lane(scale_kind, scales + row * groups, groups, target + lane * scale_bytes, group);
    if (zero_kind == ck_value_none) continue;
    pack_lane(
        zero_kind, zeros + row * groups, groups, target + ck_panel_rows * scale_bytes + lane * zero_bytes, group);
  }
}

void ck_dequantize_rows(const ck_panels *weights, size_t first_row, size_t last_row, float *rows) {
  size_t in = weights->in;
  size_t panel_bytes = ck_panel_code_bytes(weights->kind, in);
  size_t groups = ck_group_count(in, weights->group_size);
  for (size_t row = first_row; row < last_row; row++) {
    size_t panel = row / ck_panel_rows, lane = row % ck_panel_rows;
    const uint8_t *codes = weights->codes + panel * panel_bytes;
    float *target = rows + (row - first_row) * in;
    size_t k = 0;
    for (size_t g = 0; g < groups; g++) {
      size_t end = in - k > weights->group_size ? k + weights->group_size : in;
      float scale, zero;
      ck_row_values(weights, row, g, &scale, &zero);
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
