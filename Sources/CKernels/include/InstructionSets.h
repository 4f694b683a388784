// The kernels that exist once per instruction set, and the choice between them.
#ifndef CKERNELS_INSTRUCTION_SETS_H
#define CKERNELS_INSTRUCTION_SETS_H

#include "CachedAttention.h"
#include "DenseProduct.h"
#include "QuantizedProduct.h"

/// Instruction sets; a build holds those of its architecture.
enum {
  ck_isa_portable = 0,
  ck_isa_avx2 = 1,
  ck_isa_avx512 = 2,
  ck_isa_neon = 3,
  /// The AVX-512 kernels with their token tile, compiled for AVX2: lets tests on AVX2 machines run that code. Never
  /// chosen by itself, and `ck_isa_named` does not know it.
  ck_isa_avx512_on_avx2 = 4,
  ck_isa_count = 5,
};

/// One instruction set's kernels. Fetch the table once per product: packed tokens are for the same table's
/// `product_many` only. (The attribute tells Swift that threads may share it: it never changes.)
typedef struct __attribute__((swift_attr("@Sendable"))) {
  const char *name;

  /// One token: y[16·first_panel ..< min(out, 16·last_panel)] of y[out] from x[in].
  /// `sums` are `ck_group_sums` of x; it may be NULL when the weights have no zeros.
  void (*product_one)(
      const ck_panels *weights, size_t first_panel, size_t last_panel, const float *x, const float *sums, float *y);

  /// Rearranges depth blocks `first_block ..< last_block` of x[tokens, in] for `product_many`; `packed` has room for
  /// tokens × in floats.
  void (*pack_tokens)(
      const float *x, size_t in, size_t tokens, size_t first_block, size_t last_block, float *packed);

  /// Any number of tokens: the same columns of y[tokens, y_stride] from tokens packed by `pack_tokens`. Uses 16 KiB of
  /// stack; the matrix is never expanded.
  void (*product_many)(
      const ck_panels *weights, size_t first_panel, size_t last_panel, const float *packed, size_t tokens, float *y,
      size_t y_stride);

  /// Up to `ck_few_tokens` tokens: the same columns of y[tokens, y_stride] from x[tokens, in], each token with the bits
  /// of `product_one`, and sums[tokens, groups] as that has them. Uses 28 KiB of stack.
  void (*product_few)(
      const ck_panels *weights, size_t first_panel, size_t last_panel, const float *x, const float *sums,
      size_t tokens, float *y, size_t y_stride);

  /// A few tokens: columns `first_row ..< last_row` of y[tokens, y_stride] from x[tokens, in] and row-major
  /// weights [out, in] of any alignment. A token's result does not depend on the other tokens nor on the row range.
  void (*dense_product)(
      ck_dense_kind kind, const void *weights, size_t in, size_t first_row, size_t last_row, const float *x,
      size_t tokens, float *y, size_t y_stride);

  /// Products of `heads` queries [heads, width] with one head's keys, blocks `first_block ..< last_block` of
  /// CachedAttention.h, `block_stride` floats apart: scores[h · score_stride + token]. Rounded alike in each block.
  void (*key_products)(
      const float *keys, size_t block_stride, size_t width, size_t first_block, size_t last_block,
      const float *queries, size_t heads, float *scores, size_t score_stride);

  /// Sums of one head's values [tokens, width], rows `row_stride` floats apart, with weights [heads, weight_stride]:
  /// results [heads, width].
  void (*value_sums)(
      const float *values, size_t row_stride, size_t width, size_t tokens, const float *weights,
      size_t weight_stride, size_t heads, float *results);
} ck_kernels;

/// The kernels of an instruction set, or NULL where this build or this processor lacks it.
const ck_kernels *ck_kernels_of(int isa);
/// Whether `ck_kernels_of` gives something.
int ck_isa_available(int isa);
/// The instruction set called `name` (portable, avx2, avx512, neon), or −1.
int ck_isa_named(const char *name);
/// The best available instruction set.
int ck_best_isa(void);

/// The instruction set in use: at first the one that QUANTIZE_ISA names, else, also where that name is unknown or
/// unavailable, the best one. Callers that want to refuse a bad name ask `ck_isa_environment_status`.
int ck_current_isa(void);
/// The name of the instruction set in use.
const char *ck_isa_name(void);
/// Makes an instruction set the one in use, process-wide; returns 0 and changes nothing where it is not available.
int ck_use_isa(int isa);

enum {
  ck_environment_unset = 0,
  ck_environment_honoured = 1,
  ck_environment_unknown = 2,
  ck_environment_unavailable = 3,
};
/// What a value of QUANTIZE_ISA asks for: one of the above; NULL and "" count as unset. `isa`, if not NULL, receives
/// the instruction set that such a value leads to.
int ck_isa_for_environment(const char *value, int *isa);
/// The same of this process's own QUANTIZE_ISA.
int ck_isa_environment_status(void);

#endif
