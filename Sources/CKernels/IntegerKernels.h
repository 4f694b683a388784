// The tables of integer products, and what all of them share; IntegerDispatch.c alone chooses between them.
#ifndef CKERNELS_INTEGER_KERNELS_H
#define CKERNELS_INTEGER_KERNELS_H

#include "IntegerProduct.h"

extern const ck_integer_kernels ck_integer_portable;
#if defined(__x86_64__)
extern const ck_integer_kernels ck_integer_avx2;
extern const ck_integer_kernels ck_integer_avxvnni;
extern const ck_integer_kernels ck_integer_avx512;
extern const ck_integer_kernels ck_integer_avx512_on_avx2;
#elif defined(__aarch64__)
extern const ck_integer_kernels ck_integer_neon;
extern const ck_integer_kernels ck_integer_dotprod;
extern const ck_integer_kernels ck_integer_i8mm;
#endif

/// Blocks of activations in a token.
static inline size_t ck_block_count(size_t in) { return (in + ck_activation_block - 1) / ck_activation_block; }

/// The first token of a tile; that of the tile after the last is `tokens`.
static inline size_t ck_tile_start(size_t tile, size_t tiles, size_t tokens) {
  return tiles > 0 ? tile * tokens / tiles : 0;
}

/// A rounded block of a tile of `count` tokens, then the next: `count` × 32 codes of 1 or 3 bytes in an order of the
/// table's own, `count` float scales, `count` int32 sums of codes times what the table wants. After the last block: for
/// each group `count` floats t(g). So a tile takes `count` times the bytes of a token, and starts where the tokens before
/// it end.
static inline size_t ck_rounded_block_bytes(size_t code_bytes) { return ck_activation_block * code_bytes + 8; }

/// A block of activations, filled up with zeros: its codes, scale and sum of codes.
float ck_round_block(const float *x, size_t count, int8_t codes[ck_activation_block], int32_t *sum);

#endif
