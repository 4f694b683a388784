// Rounding with feedback: the error of one column is made good by the columns that are rounded after it (GPTQ: Frantar et
// al., 2023; in the form of successive interference cancellation: one Cholesky factor, no inverse).
#ifndef CKERNELS_FEEDBACK_ROUNDING_H
#define CKERNELS_FEEDBACK_ROUNDING_H

#include <stddef.h>
#include <stdint.h>

/// What a weight is rounded to.
typedef enum {
  /// (code − zero) · scale with lowest ≤ code ≤ highest.
  ck_feedback_int = 0,
  /// float8 E4M3 times scale; codes are its bytes.
  ck_feedback_e4m3 = 1,
  /// float4 E2M1 times scale; codes are 0 … 15.
  ck_feedback_e2m1 = 2,
} ck_feedback_kind;

/// A tile of rows. Places are columns in the order of the factor; the last place is rounded first.
typedef struct {
  ck_feedback_kind kind;
  int32_t lowest, highest;
  size_t rows, places;
  /// [rows, places].
  const float *weights;
  /// [rows, cells].
  const float *scales;
  /// [rows, cells], or NULL where every zero is 0.
  const float *zeros;
  size_t cells;
  /// By place: the index of its scale.
  const int32_t *cell;
  /// By place, a factor of its scale in every row; NULL for ones.
  const float *gains;
  /// By place, the square root of the input's second moment; 0 for an input that is always 0.
  const float *deviations;
  /// [rows, places]: what later places owe for earlier ones, in units of the output's deviation.
  float *owed;
  /// [rows, places]: receives (weight − rounded weight) · deviation.
  float *errors;
  /// [rows, places]: receives the codes.
  int32_t *codes;
} ck_feedback_tile;

/// Rounds places last − 1 down to first, and passes their errors on to the places from `first` on.
///
/// `factor` is L, lower triangular, row-major with `places` columns, L·Lᵀ the correlations of the inputs; NULL where there
/// are none, and nothing is passed on. The caller adds errors · L to what the places before `first` owe.
void ck_feedback_block(const ck_feedback_tile *tile, const float *factor, size_t first, size_t last);

#endif
