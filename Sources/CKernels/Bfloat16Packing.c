#include "Bfloat16Kernels.h"

#include <string.h>

#include "Conversions.h"

size_t ck_bf16_packed_count(size_t tile, size_t lines, size_t in) {
  return ck_bf16_lines(lines, tile) * ((in + 3) / 4 * 4);
}

static size_t value_bytes(ck_dense_kind kind) { return kind == ck_dense_f32 ? 4 : 2; }

/// At most a block of features of a line.
static void load_line(ck_dense_kind kind, const uint8_t *source, size_t count, uint16_t *values) {
  float floats[ck_bf16_block];
  if (kind == ck_dense_bf16) {
    memcpy(values, source, count * 2);
    return;
  }
  if (kind == ck_dense_f32) memcpy(floats, source, count * 4);
  else ck_f16_to_f32(source, floats, count);
  ck_f32_to_bf16(floats, values, count);
}

void ck_bf16_pack_lines(
    size_t tile, size_t unit, ck_dense_kind kind, const void *values, size_t lines, size_t in, size_t first_tile,
    size_t last_tile, uint16_t *packed) {
  for (size_t first = 0; first < in; first += ck_bf16_block) {
    size_t depth = ck_bf16_depth(in, first), count = in - first < ck_bf16_block ? in - first : ck_bf16_block;
    uint16_t *block = packed + first * ck_bf16_lines(lines, tile);
    for (size_t line = first_tile * tile; line < last_tile * tile; line++) {
      uint16_t run[ck_bf16_block] = {0};
      if (line < lines) load_line(kind, (const uint8_t *)values + (line * in + first) * value_bytes(kind), count, run);
      uint16_t *target = block + line / tile * tile * depth + line % tile * unit;
      if (unit == 2)
        for (size_t k = 0; k < depth; k += 2) memcpy(target + k * tile, run + k, 4);
      else
        for (size_t k = 0; k < depth; k += 4) memcpy(target + k * tile, run + k, 8);
    }
  }
}

void ck_bf16_pack_columns(
    size_t tile, size_t unit, const float *values, size_t lines, size_t in, size_t first_tile, size_t last_tile,
    uint16_t *packed) {
  for (size_t first = 0; first < in; first += ck_bf16_block) {
    size_t depth = ck_bf16_depth(in, first);
    uint16_t *block = packed + first * ck_bf16_lines(lines, tile);
    for (size_t k = 0; k < depth; k++)
      for (size_t line = first_tile * tile; line < last_tile * tile; line += tile) {
        uint16_t run[64] = {0}, *target = block + line * depth + k / unit * unit * tile + k % unit;
        size_t count = lines - line < tile ? lines - line : tile;
        if (first + k < in) ck_f32_to_bf16(values + (first + k) * lines + line, run, count);
        for (size_t lane = 0; lane < tile; lane++) target[lane * unit] = run[lane];
      }
  }
}
