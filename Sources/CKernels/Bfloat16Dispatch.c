#include "Bfloat16Kernels.h"
#include "InstructionSets.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

const ck_bf16_kernels *ck_bf16_table(int index) {
  if (index == 0) return &ck_bf16_portable;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (index == 1 && ck_isa_available(ck_isa_avx512) && __builtin_cpu_supports("avx512bf16")) return &ck_bf16_avx512;
#elif defined(__aarch64__) && defined(__linux__)
  // What the C library's headers of the time may not name yet.
  enum { hwcap2_bf16 = 1 << 14 };
  if (index == 2 && (getauxval(AT_HWCAP2) & hwcap2_bf16) != 0) return &ck_bf16_neon;
#endif
  return NULL;
}

const ck_bf16_kernels *ck_bf16_kernels_of(int isa) {
  if (isa == ck_isa_avx512) return ck_bf16_table(1);
  return isa == ck_isa_neon ? ck_bf16_table(2) : NULL;
}
