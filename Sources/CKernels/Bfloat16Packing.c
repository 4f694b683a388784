#include "Bfloat16Kernels.h"

#include <string.h>

#include "Conversions.h"
#include "Quads.h"

typedef uint32_t two_pairs __attribute__((ext_vector_type(2)));

enum {
  /// Most lines whose features are interleaved at a time; all tiles are multiples of it where a unit is two features.
  most_lines = 4,
  /// Columns that are rounded at a time.
  columns_at_once = 256,
};

size_t ck_bf16_packed_count(size_t tile, size_t lines, size_t in) {
  return ck_bf16_lines(lines, tile) * ((in + 3) / 4 * 4);
}

CK_INLINE size_t value_bytes(ck_dense_kind kind) { return kind == ck_dense_f32 ? 4 : 2; }

/// At most a block of features of a line as BF16, filled up with zeros: where they are, or in `room`. The next block is
/// asked for: lines are so short a stream that processors do not follow them.
CK_INLINE const uint8_t *load_line(
    ck_dense_kind kind, const uint8_t *source, size_t count, uint16_t room[ck_bf16_block]) {
  for (size_t i = 0; i < ck_bf16_block * value_bytes(kind); i += 64)
    __builtin_prefetch(source + ck_bf16_block * value_bytes(kind) + i);
  if (kind == ck_dense_bf16 && count == ck_bf16_block) return source;
  if (count < ck_bf16_block) memset(room, 0, ck_bf16_block * 2);
  if (kind == ck_dense_bf16) {
    memcpy(room, source, count * 2);
  } else {
    float floats[ck_bf16_block];
    if (kind == ck_dense_f32) memcpy(floats, source, count * 4);
    else ck_f16_to_f32(source, floats, count);
    ck_f32_to_bf16(floats, room, count);
  }
  return (const uint8_t *)room;
}

/// Four features of some lines, pairs or fours of each line together.
CK_INLINE void interleave(size_t unit, const uint8_t *const lines[], size_t k, size_t tile, uint16_t *target) {
  if (unit == 4) {
    for (size_t i = 0; i < 2; i++) memcpy(target + 4 * i, lines[i] + 2 * k, 8);
    return;
  }
  two_pairs pairs[most_lines];
#pragma clang loop unroll(full)
  for (size_t i = 0; i < most_lines; i++) CK_LOAD(pairs[i], lines[i] + 2 * k);
  quad one = __builtin_shufflevector(pairs[0], pairs[1], 0, 2, 1, 3);
  quad other = __builtin_shufflevector(pairs[2], pairs[3], 0, 2, 1, 3);
  quad first = __builtin_shufflevector(one, other, 0, 1, 4, 5);
  quad second = __builtin_shufflevector(one, other, 2, 3, 6, 7);
  CK_STORE(target, first);
  CK_STORE(target + 2 * tile, second);
}

CK_INLINE void pack_lines(
    size_t unit, size_t tile, ck_dense_kind kind, const uint8_t *values, size_t stride, size_t lines, size_t in,
    size_t first_tile, size_t last_tile, uint16_t *packed) {
  static const uint16_t nothing[ck_bf16_block];
  size_t step = unit == 4 ? 2 : most_lines;
  for (size_t start = first_tile * tile; start < last_tile * tile; start += tile)
    for (size_t first = 0; first < in; first += ck_bf16_block) {
      size_t depth = ck_bf16_depth(in, first), count = in - first < ck_bf16_block ? in - first : ck_bf16_block;
      uint16_t *block = packed + first * ck_bf16_lines(lines, tile) + start * depth;
      for (size_t line = start; line < start + tile; line += step) {
        uint16_t room[most_lines][ck_bf16_block];
        const uint8_t *sources[most_lines];
        for (size_t i = 0; i < step; i++)
          sources[i] = line + i < lines
              ? load_line(kind, values + ((line + i) * stride + first) * value_bytes(kind), count, room[i])
              : (const uint8_t *)nothing;
        for (size_t k = 0; k < depth; k += 4)
          interleave(unit, sources, k, tile, block + k * tile + (line - start) * unit);
      }
    }
}

void ck_bf16_pack_lines(
    size_t tile, size_t unit, ck_dense_kind kind, const void *values, size_t stride, size_t lines, size_t in,
    size_t first_tile, size_t last_tile, uint16_t *packed) {
  if (unit == 2) pack_lines(2, tile, kind, values, stride, lines, in, first_tile, last_tile, packed);
  else pack_lines(4, tile, kind, values, stride, lines, in, first_tile, last_tile, packed);
}

CK_INLINE void pack_columns(
    size_t unit, size_t tile, const float *values, size_t stride, size_t lines, size_t in, size_t first_tile,
    size_t last_tile, uint16_t *packed) {
  size_t step = columns_at_once / tile * tile, last = last_tile * tile;
  for (size_t first = 0; first < in; first += ck_bf16_block) {
    size_t depth = ck_bf16_depth(in, first);
    uint16_t *block = packed + first * ck_bf16_lines(lines, tile);
    for (size_t k = 0; k < depth; k += unit)
      for (size_t start = first_tile * tile; start < last; start += step) {
        size_t end = last - start < step ? last : start + step, known = end < lines ? end : lines;
        uint16_t run[4][columns_at_once] = {0};
        for (size_t i = 0; i < unit && first + k + i < in; i++)
          ck_f32_to_bf16(values + (first + k + i) * stride + start, run[i], known - start);
        for (size_t line = start; line < end; line += tile) {
          uint16_t *target = block + line * depth + k * tile;
          for (size_t lane = 0; lane < tile; lane++)
            for (size_t i = 0; i < unit; i++) target[lane * unit + i] = run[i][line - start + lane];
        }
      }
  }
}

void ck_bf16_pack_columns(
    size_t tile, size_t unit, const float *values, size_t stride, size_t lines, size_t in, size_t first_tile,
    size_t last_tile, uint16_t *packed) {
  if (unit == 2) pack_columns(2, tile, values, stride, lines, in, first_tile, last_tile, packed);
  else pack_columns(4, tile, values, stride, lines, in, first_tile, last_tile, packed);
}
