// Scales and zeros as they lie in panels; see QuantizedProduct.h.
#ifndef CKERNELS_GROUP_VALUES_H
#define CKERNELS_GROUP_VALUES_H

#include "QuantizedProduct.h"
#include "Vectors.h"

/// Bytes of a value.
CK_INLINE size_t value_bytes(ck_value_kind kind) {
  static const uint8_t sizes[] = {[ck_value_int8] = 1, [ck_value_bf16] = 2, [ck_value_f16] = 2, [ck_value_f32] = 4};
  return sizes[kind];
}

/// Bytes of the scales and zeros of a panel's group.
CK_INLINE size_t group_bytes(const ck_panels *weights) {
  return ck_panel_rows * (value_bytes(weights->scales) + value_bytes(weights->zeros));
}

/// Sixteen values that lie side by side.
CK_INLINE void load_values(ck_value_kind kind, const uint8_t *address, floats *values) {
  // The most usual first; a jump table would cost a group of 32 a tenth of its time.
  if (kind == ck_value_bf16) {
    shorts high;
    CK_LOAD(high, address);
    *values = (floats)(__builtin_convertvector(high, words) << 16);
  } else if (kind == ck_value_f16) {
    halves narrow;
    CK_LOAD(narrow, address);
    *values = __builtin_convertvector(narrow, floats);
  } else if (kind == ck_value_int8) {
    signed_bytes integers;
    CK_LOAD(integers, address);
    *values = __builtin_convertvector(integers, floats);
  } else if (kind == ck_value_f32) {
    CK_LOAD(*values, address);
  } else {
    *values = 0;
  }
}

/// The scales of a group whose values are at `address`.
CK_INLINE void load_scales(const ck_panels *weights, const uint8_t *address, floats *scales) {
  load_values(weights->scales, address, scales);
}

/// The zeros of a group whose values are at `address`.
CK_INLINE void load_zeros(const ck_panels *weights, const uint8_t *address, floats *zeros) {
  load_values(weights->zeros, address + ck_panel_rows * value_bytes(weights->scales), zeros);
}

/// Asks for the values of the group that comes `groups` later.
CK_INLINE void prefetch_values(const uint8_t *address, size_t bytes, size_t groups) {
  __builtin_prefetch(address + groups * bytes);
  if (bytes > 64) __builtin_prefetch(address + groups * bytes + 64);
}

#endif
