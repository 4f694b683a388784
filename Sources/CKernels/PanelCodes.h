// Where the code of a lane lies in a panel; see QuantizedProduct.h.
#ifndef CKERNELS_PANEL_CODES_H
#define CKERNELS_PANEL_CODES_H

#include "Conversions.h"
#include "QuantizedProduct.h"

/// The number that the code of `lane` at `k` stands for.
static inline float ck_panel_code(ck_code_kind kind, const uint8_t *codes, size_t lane, size_t k) {
  float value = 0;
  switch (kind) {
    case ck_code_uint4:
      value = (float)(codes[k / 8 * 64 + lane * 4 + k % 4] >> (k / 4 % 2 * 4) & 15);
      break;
    case ck_code_int8:
      value = (float)(int8_t)codes[k / 4 * 64 + lane * 4 + k % 4];
      break;
    case ck_code_e4m3:
      ck_e4m3_to_f32(&codes[k * ck_panel_rows + lane], &value, 1);
      break;
  }
  return value;
}

#endif
