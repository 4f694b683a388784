#include "Bfloat16Kernels.h"
#include "Vectors.h"
#include "Wider.h"

#define CK_TABLE ck_bf16_portable
#define CK_NAME "portable"
#define CK_TILE_ROWS 16
#define CK_TILE_TOKENS 4
#define CK_UNIT 2
#define CK_BF16_LOOPS CK_WIDER

/// A bfloat16 is the upper half of the float of the same value. It does not matter whether a compiler fuses a product
/// with its sum: it is exact.
CK_INLINE void multiply_tile(const uint16_t *weights, const uint16_t *x, size_t units, float *sums) {
  floats total[CK_TILE_TOKENS] = {0};
  for (size_t unit = 0; unit < units; unit++) {
    words pairs;
    CK_LOAD(pairs, weights + unit * CK_TILE_ROWS * 2);
    floats second = (floats)(pairs & 0xffff0000u), first = (floats)(pairs << 16);
    for (size_t t = 0; t < CK_TILE_TOKENS; t++) {
      uint32_t pair;
      memcpy(&pair, x + (unit * CK_TILE_TOKENS + t) * 2, sizeof pair);
      words both = pair;
      total[t] += second * (floats)(both & 0xffff0000u);
      total[t] += first * (floats)(both << 16);
    }
  }
  memcpy(sums, total, sizeof total);
}

#include "Bfloat16Body.inc"
