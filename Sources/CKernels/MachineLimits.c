#include "MachineLimits.h"

#include "Bfloat16Product.h"
#include "InstructionSets.h"
#include "IntegerKernels.h"

#include <string.h>

enum { chains = 12 };

// A loop over `chains` independent steps. The empty assembly makes operands look new each time, so that nothing is done
// once for all.
#define CK_LIMIT(name, instructions, vector, registers, step) \
  __attribute__((target(instructions))) static void name(size_t rounds) { \
    vector a, b, sums[chains]; \
    memset(&a, 1, sizeof a); \
    memset(&b, 1, sizeof b); \
    memset(sums, 0, sizeof sums); \
    for (size_t round = 0; round < rounds; round++) { \
      _Pragma("clang loop unroll(full)") for (int i = 0; i < chains; i++) { \
        __asm__ volatile("" : "+" registers(a), "+" registers(b)); \
        step; \
      } \
    } \
    for (int i = 0; i < chains; i++) __asm__ volatile("" : : registers(sums[i])); \
  }

#if defined(__x86_64__)

#include <immintrin.h>

CK_LIMIT(avx2_float, "avx2,fma", __m256, "x", sums[i] = _mm256_fmadd_ps(sums[i], a, b))
CK_LIMIT(avx2_uint4, "avx2", __m256i, "x", sums[i] = _mm256_add_epi16(sums[i], _mm256_maddubs_epi16(a, b)))
CK_LIMIT(avx2_int8, "avx2", __m256i, "x", sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(a, b)))
CK_LIMIT(avx2_dot, "avx2,avxvnni", __m256i, "x", sums[i] = _mm256_dpbusd_avx_epi32(sums[i], a, b))
CK_LIMIT(avx512_float, "avx512f", __m512, "v", sums[i] = _mm512_fmadd_ps(sums[i], a, b))
CK_LIMIT(avx512_dot, "avx512f,avx512vnni", __m512i, "v", sums[i] = _mm512_dpbusd_epi32(sums[i], a, b))
CK_LIMIT(
    avx512_bf16, "avx512f,avx512bf16", __m512, "v", sums[i] = _mm512_dpbf16_ps(sums[i], (__m512bh)a, (__m512bh)b))

double ck_run_limit(int isa, ck_limit limit, size_t rounds) {
  if (!ck_isa_available(isa) || isa == ck_isa_portable) return 0;
  int wide = isa == ck_isa_avx512;
  double steps = (double)rounds * chains;
  if (limit == ck_limit_float) {
    (wide ? avx512_float : avx2_float)(rounds);
    return steps * (wide ? 16 : 8);
  }
  if (limit == ck_limit_bf16) {
    if (!ck_bf16_kernels_of(isa)) return 0;
    avx512_bf16(rounds);
    return steps * 32;
  }
  const ck_integer_kernels *kernels = ck_integer_kernels_of(isa);
  if (kernels == &ck_integer_avx512) {
    avx512_dot(rounds);
    return steps * 64;
  }
  if (kernels == &ck_integer_avxvnni) {
    avx2_dot(rounds);
    return steps * 32;
  }
  (limit == ck_limit_uint4 ? avx2_uint4 : avx2_int8)(rounds);
  return steps * (limit == ck_limit_uint4 ? 32 : 16);
}

#elif defined(__aarch64__)

#include <arm_neon.h>

CK_LIMIT(neon_float, "neon", float32x4_t, "w", sums[i] = vfmaq_f32(b, sums[i], a))
CK_LIMIT(neon_dot, "dotprod", int32x4_t, "w", sums[i] = vdotq_s32(sums[i], (int8x16_t)a, (int8x16_t)b))
CK_LIMIT(neon_square, "i8mm", int32x4_t, "w", sums[i] = vmmlaq_s32(sums[i], (int8x16_t)a, (int8x16_t)b))
CK_LIMIT(
    neon_bf16, "bf16", float32x4_t, "w", sums[i] = vbfmmlaq_f32(sums[i], (bfloat16x8_t)a, (bfloat16x8_t)b))

double ck_run_limit(int isa, ck_limit limit, size_t rounds) {
  if (isa != ck_isa_neon) return 0;
  double steps = (double)rounds * chains;
  const ck_integer_kernels *kernels = ck_integer_kernels_of(isa);
  if (limit == ck_limit_float) {
    neon_float(rounds);
    return steps * 4;
  }
  if (limit == ck_limit_bf16) {
    if (!ck_bf16_kernels_of(isa)) return 0;
    neon_bf16(rounds);
    return steps * 16;
  }
  if (kernels == &ck_integer_neon) return 0;
  int squares = kernels == &ck_integer_i8mm;
  (squares ? neon_square : neon_dot)(rounds);
  return steps * (squares ? 32 : 16);
}

#else

double ck_run_limit(int isa, ck_limit limit, size_t rounds) {
  (void)isa, (void)limit, (void)rounds;
  return 0;
}

#endif

uint64_t ck_read_bytes(const uint8_t *bytes, size_t count) {
  enum { lanes = 16 };
  uint64_t sums[lanes] = {0}, words[lanes], sum = 0;
  size_t i = 0;
  for (; i + sizeof words <= count; i += sizeof words) {
    memcpy(words, bytes + i, sizeof words);
    for (int lane = 0; lane < lanes; lane++) sums[lane] ^= words[lane];
  }
  for (; i < count; i++) sum ^= bytes[i];
  for (int lane = 0; lane < lanes; lane++) sum ^= sums[lane];
  return sum;
}
