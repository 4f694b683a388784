// Numbers of narrow float formats: rounding to them, and what a scale costs.
#ifndef CKERNELS_FLOAT_SCALES_H
#define CKERNELS_FLOAT_SCALES_H

#include <stddef.h>
#include <stdint.h>

/// A float format without infinities: float8 E4M3FN up to 448, float4 E2M1 up to 6.
typedef enum { ck_float8_e4m3 = 0, ck_float4_e2m1 = 1 } ck_float_format;

/// float to float4 E2M1 in the lower four bits, to nearest even after clamping to ±6.
void ck_f32_to_e2m1(const float *source, uint8_t *destination, size_t count);

/// Rounds in place to the nearest number of the format times `scale`, as codes would be expanded; what is beyond the
/// largest becomes the largest.
void ck_float_round_trip(float *values, size_t count, ck_float_format format, float scale);

/// Rounds in place to the nearest whole number times `scale`, magnitudes up to `largest` · `scale` (one more for negative
/// ones), as runtimes do with activations of 8-bit integers.
void ck_int_round_trip(float *values, size_t count, float largest, float scale);

/// errors[s] += Σ_i importance_i · (round(w_i / scales[s]) · scales[s] − w_i)²; all importances are 1 where `importance`
/// is NULL. Scales are positive and normal.
void ck_float_scale_errors(const float *w, const float *importance, size_t count, ck_float_format format,
                           const float *scales, size_t scale_count, double *errors);

#endif
