#include "Kernels.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

const ck_kernels *ck_kernels_of(int isa) {
  switch (isa) {
    case ck_isa_portable:
      return &ck_portable_kernels;
#if defined(__x86_64__)
    case ck_isa_avx2:
    case ck_isa_avx512_on_avx2:
      __builtin_cpu_init();
      if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c"))
        return NULL;
      return isa == ck_isa_avx2 ? &ck_avx2_kernels : &ck_avx512_on_avx2_kernels;
    case ck_isa_avx512:
      __builtin_cpu_init();
      if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")
          || !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
        return NULL;
      return &ck_avx512_kernels;
#elif defined(__aarch64__)
    case ck_isa_neon:
      return &ck_neon_kernels;
#endif
    default:
      return NULL;
  }
}

int ck_isa_available(int isa) { return ck_kernels_of(isa) != NULL; }

int ck_isa_named(const char *name) {
  static const char *const names[] = {"portable", "avx2", "avx512", "neon"};
  for (int isa = 0; isa < 4; isa++)
    if (strcmp(name, names[isa]) == 0) return isa;
  return -1;
}

int ck_best_isa(void) {
  static const int best_first[] = {ck_isa_avx512, ck_isa_avx2, ck_isa_neon};
  for (int i = 0; i < 3; i++)
    if (ck_isa_available(best_first[i])) return best_first[i];
  return ck_isa_portable;
}

int ck_isa_for_environment(const char *value, int *isa) {
  int named = value && *value ? ck_isa_named(value) : -1;
  int honoured = named >= 0 && ck_isa_available(named);
  if (isa) *isa = honoured ? named : ck_best_isa();
  if (!value || !*value) return ck_environment_unset;
  if (named < 0) return ck_environment_unknown;
  return honoured ? ck_environment_honoured : ck_environment_unavailable;
}

int ck_isa_environment_status(void) { return ck_isa_for_environment(getenv("QUANTIZE_ISA"), NULL); }

// −1 until somebody asks; two threads that ask at once store the same value.
static _Atomic int current = -1;

int ck_current_isa(void) {
  int isa = atomic_load_explicit(&current, memory_order_relaxed);
  if (isa >= 0) return isa;
  int chosen;
  ck_isa_for_environment(getenv("QUANTIZE_ISA"), &chosen);
  atomic_compare_exchange_strong(&current, &isa, chosen);
  return isa >= 0 ? isa : chosen;
}

const char *ck_isa_name(void) { return ck_kernels_of(ck_current_isa())->name; }

int ck_use_isa(int isa) {
  if (!ck_isa_available(isa)) return 0;
  atomic_store(&current, isa);
  return 1;
}
