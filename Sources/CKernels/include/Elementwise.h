// Row-wise functions of the forward pass: norms, rotations, softmax, gates. Sums run over sixteen lanes in a fixed
// order and are the same for every caller.
#ifndef CKERNELS_ELEMENTWISE_H
#define CKERNELS_ELEMENTWISE_H

#include <stddef.h>
#include <stdint.h>

/// y[i] = weight[i] · x[i] / sqrt(mean(x²) + epsilon).
void ck_rms_norm(const float *x, const float *weight, float epsilon, float *y, size_t count);
/// y[i] = weight[i] · (x[i] − mean(x)) / sqrt(variance(x) + epsilon), the variance being the mean squared deviation.
void ck_layer_norm(const float *x, const float *weight, float epsilon, float *y, size_t count);
/// In place: x ← softmax(scale · x), scale > 0.
void ck_softmax(float *x, float scale, size_t count);
/// Like ck_softmax with one more logit, `sink`, in the denominator only; `sink` is not scaled.
void ck_softmax_with_sink(float *x, float scale, float sink, size_t count);
/// x[i] ← cap · tanh(scale · x[i] / cap), cap > 0.
void ck_softcap(float *x, float scale, float cap, size_t count);
/// log Σ exp(x[i]); exact to float rounding for any range of x.
float ck_log_sum_exp(const float *x, size_t count);
/// gate[i] ← silu(gate[i]) · up[i], silu(z) = z / (1 + exp(−z)).
void ck_silu_multiply(float *gate, const float *up, size_t count);
/// gate[i] ← gelu(gate[i]) · up[i], gelu(z) = z/2 · (1 + tanh(√(2/π)·(z + 0.044715·z³))).
void ck_gelu_tanh_multiply(float *gate, const float *up, size_t count);
/// gate[i] ← gelu(gate[i]) · up[i], gelu(z) = z/2 · (1 + erf(z/√2)).
void ck_gelu_multiply(float *gate, const float *up, size_t count);
/// gate[i] ← g / (1 + exp(−alpha·g)) · (u + 1), g = min(gate[i], limit), u = up[i] held within ±limit.
void ck_clamped_swish_multiply(float *gate, const float *up, float limit, float alpha, size_t count);
/// Half-split rotation in place: pairs (x[i], x[i + half]) turn by the angle of cosine[i], sine[i].
void ck_rotate_half(float *x, const float *cosine, const float *sine, size_t half);
/// Rotation of neighbours in place: pairs (x[2i], x[2i + 1]) turn by the angle of cosine[i], sine[i].
void ck_rotate_neighbours(float *x, const float *cosine, const float *sine, size_t half);
/// Σ x[i]², in double.
double ck_sum_of_squares(const float *x, size_t count);
/// Σ x[i]·y[i], in double.
double ck_dot_double(const float *x, const float *y, size_t count);
/// Adds |x[i]| to sums[i] and x[i] to means[i] and x[i]² to squares[i], each times weight.
void ck_accumulate_moments(const float *x, double weight, double *magnitudes, double *means, double *squares, size_t count);

#endif
