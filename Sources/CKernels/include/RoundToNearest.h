// Rounding of weights to integer and float8 grids. One group is a run of weights that share a scale.
#ifndef CKERNELS_ROUND_TO_NEAREST_H
#define CKERNELS_ROUND_TO_NEAREST_H

#include <stddef.h>
#include <stdint.h>

/// The type a scale is stored in; a scale is rounded to it before anything is divided by it.
typedef enum { ck_scale_f32 = 0, ck_scale_bf16 = 1, ck_scale_f16 = 2 } ck_scale_type;

/// An integer grid of `bits` bits: codes −2^(bits−1) … 2^(bits−1) − 1.
typedef struct {
  int32_t bits;
  int32_t symmetric;
  ck_scale_type scale_type;
} ck_int_grid;

/// Rounds a positive number to a scale type, to nearest even.
float ck_round_scale(float value, ck_scale_type type);
/// Rounds a positive number up to a scale type, so that what was divided by it stays in range.
float ck_round_scale_up(float value, ck_scale_type type);

/// The least and the greatest weight of a group and zero.
void ck_int_group_range(const float *w, size_t count, float *low, float *high);
/// Scale and zero point of a range that includes zero; see `ck_int_group_scale`.
void ck_int_range_scale(float low, float high, ck_int_grid grid, float *scale, float *zero);

/// Scale and zero point of a group whose range, widened to include zero, is shrunk by a factor.
///
/// Asymmetric: scale = (max − min) / (2^bits − 1), zero = clamp(round(lowest code − min / scale)).
/// Symmetric: scale = max|w| / ((2^bits − 1) / 2), zero = 0 (the grid of compressed-tensors).
/// A group of zeros has scale 1.
void ck_int_group_scale(const float *w, size_t count, ck_int_grid grid, float shrink, float *scale, float *zero);

/// code[i] = clamp(round(w[i] / scale) + zero), to nearest even.
void ck_int_group_round(const float *w, size_t count, ck_int_grid grid, float scale, float zero, int8_t *codes);

/// difference[i] = (code[i] − zero) · scale − w[i] for the same codes.
void ck_int_group_error(const float *w, size_t count, ck_int_grid grid, float scale, float zero, float *difference);

/// The factor of the group's range, out of `factors`, with the lowest expected squared error
/// Σ_j variance_j·d_j² + (Σ_j mean_j·d_j)² of the rounded weights' differences d; ties go to the earlier one.
///
/// The same as `ck_int_group_scale` and `ck_int_group_error` for every factor, in one pass each.
float ck_int_group_best_shrink(const float *w, size_t count, ck_int_grid grid, const float *factors, size_t factor_count,
                               const float *variance, const float *mean);

/// Largest magnitude.
float ck_largest_magnitude(const float *w, size_t count);

/// Expected squared output error of one row after scaling its channels, rounding to nearest and scaling back:
/// Σ_j variance_j·δ_j² + (Σ_j mean_j·δ_j)² with δ = round(w·s)/s − w.
///
/// `scratch` holds 2 × count floats.
double ck_scaled_row_error(const float *w, const float *s, const float *inverse_s, const float *variance, const float *mean,
                           size_t count, size_t group_size, ck_int_grid grid, float *scratch);

#endif
