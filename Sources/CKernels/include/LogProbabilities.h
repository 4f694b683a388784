// Log-probabilities over a whole vocabulary, in double: what a comparison of two models is made of. The sums run over
// eight lanes in a fixed order and without fused multiply-add: every instruction set gives the same bits.
#ifndef CKERNELS_LOG_PROBABILITIES_H
#define CKERNELS_LOG_PROBABILITIES_H

#include <stddef.h>

/// One row of logits, normalised.
typedef struct {
  /// log Σ exp(x[i]); not finite when a logit is NaN or +∞, or when all are −∞.
  double log_sum;
  /// The lowest index of the largest logit; NaN is never the largest.
  size_t top;
} ck_normalizer;

/// Normalises one row of `count` > 0 logits. Logits more than 708 below the largest count as probability 0.
ck_normalizer ck_normalize_logits(const float *x, size_t count);

/// Σ p[i] · (log p[i] − log q[i]) in nats, for p = softmax(x) and q = softmax(y), and the normalizers of both rows.
/// Log-probabilities are held at 708 below the largest one, so that the sum is finite where y has −∞.
double ck_kl_divergence(const float *x, const float *y, size_t count, ck_normalizer *of_x, ck_normalizer *of_y);

#endif
