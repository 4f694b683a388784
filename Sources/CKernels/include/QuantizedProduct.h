// Products of packed quantized weights with float activations: y[tokens, out] = x[tokens, in] · Ŵᵀ, where
// Ŵ[n, k] = (code[n, k] − zero[n, g]) · scale[n, g] and g = k / group_size. The last group of a row may be shorter.
//
// Panel layout. Sixteen output rows make a panel; panel p holds rows 16p … 16p+15, and lane r is row 16p+r. Panels
// follow each other without gaps. A last panel with fewer rows is filled up with codes, scales and zeros of 0.
//
//   uint4         panel = ⌈in / 32⌉ × 256 bytes, filled up with codes of 0. Every 64 bytes hold sixteen rows at eight
//                 consecutive k: bytes 4·r … 4·r+3 are lane r's, byte b has the code of k + b in its low nibble and that
//                 of k + 4 + b in its high one.
//   int8          panel = ⌈in / 32⌉ × 512 bytes, filled up likewise. Every 64 bytes hold sixteen rows at four
//                 consecutive k: byte 4·r + b is the two's complement code of lane r at k + b.
//   float8 E4M3   panel = in × 16 bytes. Byte 16·k + r is the code of lane r at k (never 0x7f or 0xff, the NaN codes).
//   values        panel = ⌈in / group_size⌉ × (16 scales, then 16 zeros if there are some): number r of group g's
//                 belongs to lane r. All scales of a weight are stored alike and all its zeros: in the smallest of the
//                 types of `ck_value_kind` that holds every one of them exactly.
//
// A panel's rows are the lanes of a vector: no horizontal sums, and scales apply lane by lane. Four consecutive k of
// a row in one 32-bit word are what dot products of bytes take (IntegerProduct.h); masks and shifts of the word give
// the single codes. E4M3 has no integer product, and processors convert half-precision numbers that lie side by side.
//
// Determinism. The sum of one output is taken in an order that depends on `in`, `group_size` and the kind of codes
// alone. So neither the split of panels over calls nor the number of tokens in a call changes a bit, and instruction
// sets other than the portable one agree with each other in every bit. `product_one` and `product_many` round
// differently: the first sums x·code within a group before scaling, in four chains that take every fourth k (of
// integers, those with the same k mod 4; of E4M3, counted from the start of the group), the second scales every code.
#ifndef CKERNELS_QUANTIZED_PRODUCT_H
#define CKERNELS_QUANTIZED_PRODUCT_H

#include <stddef.h>
#include <stdint.h>

enum {
  /// Rows in a panel.
  ck_panel_rows = 16,
  /// Input features that `product_many` treats at a time, and that `pack_tokens` keeps together.
  ck_depth_block = 256,
  /// Most tokens that `product_few` takes.
  ck_few_tokens = 32,
};

/// How a code is stored.
typedef enum {
  ck_code_uint4 = 0,
  ck_code_int8 = 1,
  ck_code_e4m3 = 2,
} ck_code_kind;

/// How a scale or zero is stored.
typedef enum {
  /// Not at all: all are 0.
  ck_value_none = 0,
  ck_value_int8 = 1,
  ck_value_bf16 = 2,
  ck_value_f16 = 3,
  ck_value_f32 = 4,
} ck_value_kind;

/// Packed weights; the pointers are borrowed and need no alignment.
typedef struct {
  ck_code_kind kind;
  size_t out;
  size_t in;
  /// At least 1; may exceed `in`.
  size_t group_size;
  const uint8_t *codes;
  const uint8_t *values;
  ck_value_kind scales;
  ck_value_kind zeros;
} ck_panels;

/// Number of panels of `out` rows.
size_t ck_panel_count(size_t out);
/// Bytes of codes in one panel.
size_t ck_panel_code_bytes(ck_code_kind kind, size_t in);
/// Groups in a row of `in` codes.
size_t ck_group_count(size_t in, size_t group_size);
/// Number of depth blocks of `in` features.
size_t ck_depth_block_count(size_t in);

/// Packs panels `first_panel ..< last_panel` of row-major codes [out, in], one byte each, into the whole matrix's
/// `packed` codes. Of 4-bit codes the low nibble of each byte is taken.
void ck_pack_codes(
    ck_code_kind kind, const uint8_t *codes, size_t out, size_t in, size_t first_panel, size_t last_panel,
    uint8_t *packed);
/// The smallest type that holds all values, in every bit; none where there are none.
ck_value_kind ck_smallest_value_kind(const float *values, size_t count);
/// Bytes of a value.
size_t ck_value_bytes(ck_value_kind kind);
/// Packs row-major scales and zeros [out, groups] into `ck_panel_count(out)` × groups × 16 × the bytes of both; `zeros`
/// may be NULL where their kind is none.
void ck_pack_group_values(
    const float *scales, const float *zeros, size_t out, size_t groups, ck_value_kind scale_kind,
    ck_value_kind zero_kind, uint8_t *packed);
/// Writes rows `first_row ..< last_row` of Ŵ as floats [last_row − first_row, in].
void ck_dequantize_rows(const ck_panels *weights, size_t first_row, size_t last_row, float *rows);
/// Sums of x[in] over each group, as `product_one` needs them for weights with zeros.
void ck_group_sums(const float *x, size_t in, size_t group_size, float *sums);

#endif
