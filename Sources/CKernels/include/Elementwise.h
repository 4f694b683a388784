// Row-wise functions of the forward pass: norms, rotations, softmax, gates. Sums run over sixteen lanes in a fixed
// order and are the same for every caller.
#ifndef CKERNELS_ELEMENTWISE_H
#define CKERNELS_ELEMENTWISE_H

#include <stddef.h>
#include <stdint.h>

/// y[i] = weight[i] · x[i] / sqrt(mean(x²) + epsilon).
void ck_rms_norm(const float *x, const float *weight, float epsilon, float *y, size_t count);
/// In place: x ← softmax(scale · x).
void ck_softmax(float *x, float scale, size_t count);
/// log Σ exp(x[i]); exact to float rounding for any range of x.
float ck_log_sum_exp(const float *x, size_t count);
/// gate[i] ← silu(gate[i]) · up[i], silu(z) = z / (1 + exp(−z)).
void ck_silu_multiply(float *gate, const float *up, size_t count);
/// Half-split rotation in place: pairs (x[i], x[i + half]) turn by the angle of cosine[i], sine[i].
void ck_rotate_half(float *x, const float *cosine, const float *sine, size_t half);
/// Σ x[i]², in double.
double ck_sum_of_squares(const float *x, size_t count);
/// Σ x[i]·y[i], in double.
double ck_dot_double(const float *x, const float *y, size_t count);
/// Adds |x[i]| to sums[i] and x[i] to means[i] and x[i]² to squares[i], each times weight.
void ck_accumulate_moments(const float *x, double weight, double *magnitudes, double *means, double *squares, size_t count);

#endif
