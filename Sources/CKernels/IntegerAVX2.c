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
// never −128), widened at once. More tokens: codes and activations widened to 16 bits beforehand, whose products are
// added in 32 bits; that takes fewer instructions when the widening is shared.

CK_INLINE size_t code_bytes(ck_code_kind kind) { return kind == ck_code_uint4 ? 1 : 2; }
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

/// Words of four codes or pairs of two; those of the tokens at the same features lie together.
CK_INLINE void place_codes(
    ck_code_kind kind, int direct, size_t count, size_t t, const int8_t codes[ck_activation_block], uint8_t *block) {
  if (direct || kind == ck_code_uint4) {
    for (size_t i = 0; i < 8; i++) memcpy(block + (i * count + t) * 4, codes + 4 * i, 4);
  } else {
    for (size_t i = 0; i < 16; i++) {
      int16_t pair[2] = {codes[2 * i], codes[2 * i + 1]};
      memcpy(block + (i * count + t) * 4, pair, 4);
    }
  }
}

CK_INLINE void direct_block(
    ck_code_kind kind, size_t count, const uint8_t *codes, const uint8_t *x, const uint8_t *code_sums, ints *sums) {
  (void)code_sums;
  const __m256i ones = _mm256_set1_epi16(1), nibbles = _mm256_set1_epi8(15);
  __m256i low[ck_integer_direct_tokens], high[ck_integer_direct_tokens];
#pragma clang loop unroll(full)
  for (size_t t = 0; t < count; t++) low[t] = high[t] = _mm256_setzero_si256();
  if (kind == ck_code_uint4) {
#pragma clang loop unroll(full)
    for (size_t i = 0; i < 4; i++) {
      __m256i a = load(codes + 64 * i), b = load(codes + 64 * i + 32);
      __m256i a0 = _mm256_and_si256(a, nibbles), a1 = _mm256_and_si256(_mm256_srli_epi16(a, 4), nibbles);
      __m256i b0 = _mm256_and_si256(b, nibbles), b1 = _mm256_and_si256(_mm256_srli_epi16(b, 4), nibbles);
#pragma clang loop unroll(full)
      for (size_t t = 0; t < count; t++) {
        __m256i x0 = spread(x + (2 * i * count + t) * 4), x1 = spread(x + ((2 * i + 1) * count + t) * 4);
        low[t] = _mm256_add_epi16(low[t], _mm256_maddubs_epi16(a0, x0));
        high[t] = _mm256_add_epi16(high[t], _mm256_maddubs_epi16(b0, x0));
        low[t] = _mm256_add_epi16(low[t], _mm256_maddubs_epi16(a1, x1));
        high[t] = _mm256_add_epi16(high[t], _mm256_maddubs_epi16(b1, x1));
      }
    }
#pragma clang loop unroll(full)
    for (size_t t = 0; t < count; t++)
      join(&sums[t], _mm256_madd_epi16(low[t], ones), _mm256_madd_epi16(high[t], ones));
  } else {
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
}

CK_INLINE void expand_block(ck_code_kind kind, const uint8_t *codes, uint8_t *expanded) {
  if (kind == ck_code_uint4) {
    const __m256i nibbles = _mm256_set1_epi8(15);
    for (size_t i = 0; i < 8; i++) {
      __m256i packed = load(codes + 32 * i);
      uint8_t *target = expanded + i / 2 * 128 + i % 2 * 32;
      store(target, _mm256_and_si256(packed, nibbles));
      store(target + 64, _mm256_and_si256(_mm256_srli_epi16(packed, 4), nibbles));
    }
  } else {
    // Words of four bytes become a word of the first two and, 64 bytes further on, one of the last two.
    for (size_t i = 0; i < 16; i++) {
      __m256i packed = load(codes + 32 * i);
      uint8_t *target = expanded + i / 2 * 128 + i % 2 * 32;
      __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(packed, 8), 8), odd = _mm256_srai_epi16(packed, 8);
      store(target, _mm256_blend_epi16(even, _mm256_slli_epi32(odd, 16), 0xaa));
      store(target + 64, _mm256_blend_epi16(_mm256_srli_epi32(even, 16), odd, 0xaa));
    }
  }
}

CK_INLINE void tile_block(
    ck_code_kind kind, size_t count, const uint8_t *expanded, const uint8_t *x, const uint8_t *code_sums, ints *sums) {
  (void)code_sums;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i low[CK_TILE_TOKENS], high[CK_TILE_TOKENS];
#pragma clang loop unroll(full)
  for (size_t t = 0; t < count; t++) low[t] = high[t] = _mm256_setzero_si256();
  if (kind == ck_code_uint4) {
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
  } else {
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
}

#include "IntegerBody.inc"

#pragma clang attribute pop

#endif
