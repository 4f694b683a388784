#include "InstructionSets.h"
#include "IntegerKernels.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

int ck_has_integer_product(const ck_panels *weights) {
  return weights->kind != ck_code_e4m3
      && (weights->group_size % ck_activation_block == 0 || weights->group_size >= weights->in);
}

size_t ck_rounded_token_bytes(const ck_panels *weights) {
  return ck_block_count(weights->in) * ck_rounded_block_bytes(3)
      + ck_group_count(weights->in, weights->group_size) * sizeof(float);
}

size_t ck_integer_tile_count(const ck_integer_kernels *kernels, size_t tokens) {
  if (tokens <= ck_integer_direct_tokens) return tokens > 0;
  return (tokens + kernels->tile_tokens - 1) / kernels->tile_tokens;
}

#if defined(__x86_64__)
static int has_avx2(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

static int has_avxvnni(void) { return has_avx2() && __builtin_cpu_supports("avxvnni"); }

static int has_avx512vnni(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
      && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}
#elif defined(__aarch64__)
// What the C library's headers of the time may not name yet.
enum { hwcap_asimddp = 1 << 20, hwcap2_i8mm = 1 << 13 };

static int has_dotprod(void) {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & hwcap_asimddp) != 0;
#else
  return 1;
#endif
}

static int has_i8mm(void) {
#if defined(__linux__)
  return has_dotprod() && (getauxval(AT_HWCAP2) & hwcap2_i8mm) != 0;
#else
  return 0;
#endif
}
#endif

const ck_integer_kernels *ck_integer_table(int index) {
  switch (index) {
    case 0:
      return &ck_integer_portable;
#if defined(__x86_64__)
    case 1:
      return has_avx2() ? &ck_integer_avx2 : NULL;
    case 2:
      return has_avx2() ? &ck_integer_avx512_on_avx2 : NULL;
    case 7:
      return has_avxvnni() ? &ck_integer_avxvnni : NULL;
    case 3:
      return has_avx512vnni() ? &ck_integer_avx512 : NULL;
#elif defined(__aarch64__)
    case 4:
      return &ck_integer_neon;
    case 5:
      return has_dotprod() ? &ck_integer_dotprod : NULL;
    case 6:
      return has_i8mm() ? &ck_integer_i8mm : NULL;
#endif
    default:
      return NULL;
  }
}

const ck_integer_kernels *ck_integer_kernels_of(int isa) {
  // Best first. AVX-512 without VNNI multiplies bytes as AVX2 does.
  static const int candidates[ck_isa_count][3] = {
      [ck_isa_portable] = {0, 0, 0},
      [ck_isa_avx2] = {7, 1, 1},
      [ck_isa_avx512] = {3, 7, 1},
      [ck_isa_neon] = {6, 5, 4},
      [ck_isa_avx512_on_avx2] = {2, 2, 2},
  };
  if (!ck_isa_available(isa)) return NULL;
  for (int i = 0; i < 3; i++) {
    const ck_integer_kernels *kernels = ck_integer_table(candidates[isa][i]);
    if (kernels) return kernels;
  }
  return NULL;
}
