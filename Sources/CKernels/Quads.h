// Four 32-bit words at a time, where packing has no need of wider vectors.
#ifndef CKERNELS_QUADS_H
#define CKERNELS_QUADS_H

#include "Vectors.h"

typedef uint32_t quad __attribute__((ext_vector_type(4)));

/// Four words of four lanes each: rows become columns.
CK_INLINE void transpose(quad rows[4]) {
  quad a = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
  quad b = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
  quad c = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
  quad d = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
  rows[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  rows[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  rows[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  rows[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

#endif
