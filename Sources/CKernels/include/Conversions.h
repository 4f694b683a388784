// Element type conversions. Sources and destinations do not overlap; no alignment beyond one byte is assumed
// for sources that come from files (they are read with memcpy).
#ifndef CKERNELS_CONVERSIONS_H
#define CKERNELS_CONVERSIONS_H

#include <stddef.h>
#include <stdint.h>

/// bfloat16 to float: exact.
void ck_bf16_to_f32(const void *source, float *destination, size_t count);
/// IEEE half to float: exact, subnormals and NaN included.
void ck_f16_to_f32(const void *source, float *destination, size_t count);
/// float to bfloat16, to nearest even; NaN stays NaN (quiet), overflow becomes infinity.
void ck_f32_to_bf16(const float *source, uint16_t *destination, size_t count);
/// float to IEEE half, to nearest even; NaN stays NaN (quiet), overflow becomes infinity.
void ck_f32_to_f16(const float *source, uint16_t *destination, size_t count);
/// float8 E4M3FN (no infinity, 0x7f and 0xff are NaN) to float: exact.
void ck_e4m3_to_f32(const uint8_t *source, float *destination, size_t count);
/// float to float8 E4M3FN, to nearest even after clamping to ±448; NaN becomes 0x7f with the sign kept.
void ck_f32_to_e4m3(const float *source, uint8_t *destination, size_t count);
/// Index of the first of some floats, of any alignment, that is NaN or infinite, or `count`.
size_t ck_first_non_finite(const void *values, size_t count);
/// The same of bfloat16 and IEEE half.
size_t ck_first_non_finite_bf16(const void *values, size_t count);
size_t ck_first_non_finite_f16(const void *values, size_t count);

#endif
