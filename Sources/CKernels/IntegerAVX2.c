#include "IntegerKernels.h"

#if defined(__x86_64__)

#include "Vectors.h"

#include <immintrin.h>

#define CK_TABLE ck_integer_avx2
#define CK_NAME "avx2"
// Six tokens by sixteen rows: twelve of the sixteen registers accumulate.
#define CK_TILE_TOKENS 6

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

// AVX2 multiplies unsigned by signed bytes and adds the products of two neighbours, saturating at 16 bits.
//
// 4-bit codes: 2 · 15 · 127 = 3810 a pair; the eight pairs of a 16-bit lane in a block make 30480 at most, so a block
// is summed in 16 bits and widened once.
//
// 8-bit codes, one to four tokens: |code| · (q with the sign of the code), at most 2 · 128 · 127 = 32512 a pair (q is
// never −128), widened at once.
//
// 8-bit codes, more tokens. Blocks whose codes are −32 … 31, as entropy-coded weights mostly have: code + 32 is
// unsigned, two pairs make 4 · 63 · 127 = 32004 at most and are widened together; sums start at −32 · Σ q. Other blocks:
// codes and activations widened to 16 bits beforehand, whose products are added in 32 bits; that takes fewer
// instructions than signs when the widening is shared.

enum {
  /// Codes from −32 to 31 are narrow.
  narrow_offset = 32,
  narrow_limit = 63,
};
#define CK_START_FACTOR (-narrow_offset)

// 8-bit activations, then the same in 16 bits, where either may be wanted.
CK_INLINE size_t code_bytes(ck_code_kind kind) { return kind == ck_code_uint4 ? 1 : 3; }
CK_INLINE size_t expanded_bytes(ck_code_kind kind) { return kind == ck_code_uint4 ? 512 : 1024; }

CK_INLINE __m256i load(const uint8_t *address) { return _mm256_loadu_si256((const __m256i *)address); }
CK_INLINE void store(uint8_t *address, __m256i value) { _mm256_storeu_si256((__m256i *)address, value); }

/// Four bytes in every lane.
CK_INLINE __m256i spread(const uint8_t *address) {
  int32_t word;
  memcpy(&word, address, 4);
  return _mm256_set1_epi32(word);
}

CK_INLINE void join(ints *sums, __m256i low, __m256i high) {
  memcpy(sums, &low, 32);
  memcpy((char *)sums + 32, &high, 32);
}

/// Words of four codes, and then pairs of two; those of the tokens at the same features lie together.
CK_INLINE void place_codes(
    ck_code_kind kind, int direct, size_t count, size_t t, const int8_t codes[ck_activation_block], uint8_t *block) {
  for (size_t i = 0; i < 8; i++) memcpy(block + (i * count + t) * 4, codes + 4 * i, 4);
  if (direct || kind == ck_code_uint4) return;
  uint8_t *pairs = block + ck_activation_block * count;
  for (size_t i = 0; i < 16; i++) {
    int16_t pair[2] = {codes[2 * i], codes[2 * i + 1]};
    memcpy(pairs + (i * count + t) * 4, pair, 4);
  }
}

#include "DirectBlockAVX2.inc"

CK_INLINE void direct_block(
    ck_code_kind kind, size_t count, const uint8_t *codes, const uint8_t *x, const uint8_t *starts, ints *sums) {
  (void)starts;
  if (kind == ck_code_uint4) return direct_uint4(count, codes, x, sums);
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i low[ck_integer_direct_tokens], high[ck_integer_direct_tokens];
#pragma clang loop unroll(full)
  for (size_t t = 0; t < count; t++) low[t] = high[t] = _mm256_setzero_si256();
#pragma clang loop unroll(full)
  for (size_t i = 0; i < 8; i++) {
    __m256i a = load(codes + 64 * i), b = load(codes + 64 * i + 32);
    __m256i a_size = _mm256_abs_epi8(a), b_size = _mm256_abs_epi8(b);
#pragma clang loop unroll(full)
    for (size_t t = 0; t < count; t++) {
      __m256i value = spread(x + (i * count + t) * 4);
      __m256i a_pairs = _mm256_maddubs_epi16(a_size, _mm256_sign_epi8(value, a));
      __m256i b_pairs = _mm256_maddubs_epi16(b_size, _mm256_sign_epi8(value, b));
      low[t] = _mm256_add_epi32(low[t], _mm256_madd_epi16(a_pairs, ones));
      high[t] = _mm256_add_epi32(high[t], _mm256_madd_epi16(b_pairs, ones));
    }
  }
#pragma clang loop unroll(full)
  for (size_t t = 0; t < count; t++) join(&sums[t], low[t], high[t]);
}

CK_INLINE void expand_uint4(const uint8_t *codes, uint8_t *expanded) {
  const __m256i nibbles = _mm256_set1_epi8(15);
  for (size_t i = 0; i < 8; i++) {
    __m256i packed = load(codes + 32 * i);
    uint8_t *target = expanded + i / 2 * 128 + i % 2 * 32;
    store(target, _mm256_and_si256(packed, nibbles));
    store(target + 64, _mm256_and_si256(_mm256_srli_epi16(packed, 4), nibbles));
  }
}

/// Whether all codes are narrow.
CK_INLINE int are_narrow(ck_code_kind kind, const uint8_t *codes, size_t blocks) {
  if (kind == ck_code_uint4) return 0;
  const __m256i offset = _mm256_set1_epi8(narrow_offset);
  __m256i largest[4];
  for (size_t j = 0; j < 4; j++) largest[j] = _mm256_setzero_si256();
  for (size_t i = 0; i < 4 * blocks; i++)
#pragma clang loop unroll(full)
    for (size_t j = 0; j < 4; j++)
      largest[j] = _mm256_max_epu8(largest[j], _mm256_add_epi8(load(codes + 128 * i + 32 * j), offset));
  largest[0] = _mm256_max_epu8(_mm256_max_epu8(largest[0], largest[1]), _mm256_max_epu8(largest[2], largest[3]));
  __m256i excess = _mm256_subs_epu8(largest[0], _mm256_set1_epi8(narrow_limit));
  return _mm256_testz_si256(excess, excess);
}

CK_INLINE void expand_int8(int narrow, const uint8_t *codes, uint8_t *expanded) {
  if (narrow) {
    const __m256i offset = _mm256_set1_epi8(narrow_offset);
    for (size_t i = 0; i < 16; i++) store(expanded + 32 * i, _mm256_add_epi8(load(codes + 32 * i), offset));
    return;
  }
  // Words of four bytes become a word of the first two and, 64 bytes further on, one of the last two.
  for (size_t i = 0; i < 16; i++) {
    __m256i packed = load(codes + 32 * i);
    uint8_t *target = expanded + i / 2 * 128 + i % 2 * 32;
    __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(packed, 8), 8), odd = _mm256_srai_epi16(packed, 8);
    store(target, _mm256_blend_epi16(even, _mm256_slli_epi32(odd, 16), 0xaa));
    store(target + 64, _mm256_blend_epi16(_mm256_srli_epi32(even, 16), odd, 0xaa));
  }
}

CK_INLINE void expand_block(ck_code_kind kind, int narrow, const uint8_t *codes, uint8_t *expanded) {
  if (kind == ck_code_uint4) expand_uint4(codes, expanded);
  else expand_int8(narrow, codes, expanded);
}

CK_INLINE void tile_uint4(size_t count, const uint8_t *expanded, const uint8_t *x, ints *sums) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i low[CK_TILE_TOKENS], high[CK_TILE_TOKENS];
#pragma clang loop unroll(full)
  for (size_t t = 0; t < count; t++) low[t] = high[t] = _mm256_setzero_si256();
  // Unrolled further, the compiler runs out of registers.
#pragma clang loop unroll_count(2)
  for (size_t i = 0; i < 8; i++) {
    __m256i a = load(expanded + 64 * i), b = load(expanded + 64 * i + 32);
#pragma clang loop unroll(full)
    for (size_t t = 0; t < count; t++) {
      __m256i value = spread(x + (i * count + t) * 4);
      low[t] = _mm256_add_epi16(low[t], _mm256_maddubs_epi16(a, value));
      high[t] = _mm256_add_epi16(high[t], _mm256_maddubs_epi16(b, value));
    }
  }
#pragma clang loop unroll(full)
  for (size_t t = 0; t < count; t++)
    join(&sums[t], _mm256_madd_epi16(low[t], ones), _mm256_madd_epi16(high[t], ones));
}

/// Tokens first ..< last of `count`, three at most: four registers of codes leave room for no more.
CK_INLINE void narrow_tokens(
    size_t first, size_t last, size_t count, const uint8_t *expanded, const uint8_t *x, const uint8_t *starts,
    ints *sums) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i low[CK_TILE_TOKENS], high[CK_TILE_TOKENS];
#pragma clang loop unroll(full)
  for (size_t t = first; t < last; t++)
    low[t] = high[t] = spread(starts + t * 4);
#pragma clang loop unroll(disable)
  for (size_t i = 0; i < 8; i += 2) {
    const uint8_t *codes = expanded + 64 * i;
    __m256i a0 = load(codes), b0 = load(codes + 32), a1 = load(codes + 64), b1 = load(codes + 96);
#pragma clang loop unroll(full)
    for (size_t t = first; t < last; t++) {
      __m256i x0 = spread(x + (i * count + t) * 4), x1 = spread(x + ((i + 1) * count + t) * 4);
      __m256i a = _mm256_add_epi16(_mm256_maddubs_epi16(a0, x0), _mm256_maddubs_epi16(a1, x1));
      __m256i b = _mm256_add_epi16(_mm256_maddubs_epi16(b0, x0), _mm256_maddubs_epi16(b1, x1));
      low[t] = _mm256_add_epi32(low[t], _mm256_madd_epi16(a, ones));
      high[t] = _mm256_add_epi32(high[t], _mm256_madd_epi16(b, ones));
    }
  }
#pragma clang loop unroll(full)
  for (size_t t = first; t < last; t++) join(&sums[t], low[t], high[t]);
}

CK_INLINE void tile_narrow(
    size_t count, const uint8_t *expanded, const uint8_t *x, const uint8_t *starts, ints *sums) {
#pragma clang loop unroll(full)
  for (size_t first = 0; first < count; first += 3)
    narrow_tokens(first, count < first + 3 ? count : first + 3, count, expanded, x, starts, sums);
}

CK_INLINE void tile_wide(size_t count, const uint8_t *expanded, const uint8_t *x, ints *sums) {
  __m256i low[CK_TILE_TOKENS], high[CK_TILE_TOKENS];
#pragma clang loop unroll(full)
  for (size_t t = 0; t < count; t++) low[t] = high[t] = _mm256_setzero_si256();
#pragma clang loop unroll_count(2)
  for (size_t i = 0; i < 16; i++) {
    __m256i a = load(expanded + 64 * i), b = load(expanded + 64 * i + 32);
#pragma clang loop unroll(full)
    for (size_t t = 0; t < count; t++) {
      __m256i value = spread(x + (i * count + t) * 4);
      low[t] = _mm256_add_epi32(low[t], _mm256_madd_epi16(a, value));
      high[t] = _mm256_add_epi32(high[t], _mm256_madd_epi16(b, value));
    }
  }
#pragma clang loop unroll(full)
  for (size_t t = 0; t < count; t++) join(&sums[t], low[t], high[t]);
}

CK_INLINE void tile_block(
    ck_code_kind kind, int narrow, size_t count, const uint8_t *expanded, const uint8_t *x, const uint8_t *starts,
    ints *sums) {
  if (kind == ck_code_uint4) return tile_uint4(count, expanded, x, sums);
  if (narrow) tile_narrow(count, expanded, x, starts, sums);
  else tile_wide(count, expanded, x + ck_activation_block * count, sums);
}

#include "IntegerBody.inc"

#pragma clang attribute pop

#endif
