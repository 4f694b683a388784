// What this machine's arithmetic units and memory do at most, for benchmarks to compare kernels with.
#ifndef CKERNELS_MACHINE_LIMITS_H
#define CKERNELS_MACHINE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/// A mix of instructions.
typedef enum {
  /// Multiply-adds of floats.
  ck_limit_float = 0,
  /// What products of 4-bit codes with int8 activations are made of.
  ck_limit_uint4 = 1,
  /// What products of 8-bit codes with int8 activations are made of.
  ck_limit_int8 = 2,
  /// What products of bfloat16 are made of, where they are faster than floats.
  ck_limit_bf16 = 3,
} ck_limit;

/// Runs a mix of an instruction set of InstructionSets.h on registers alone, in twelve chains; returns how many
/// multiply-adds that were, 0 where there is no such mix.
double ck_run_limit(int isa, ck_limit limit, size_t rounds);
/// Reads bytes, once and in order; the value depends on all of them.
uint64_t ck_read_bytes(const uint8_t *bytes, size_t count);

#endif
