// Products of few tokens with unquantized weight rows, read straight from a mapped file.
#ifndef CKERNELS_DENSE_PRODUCT_H
#define CKERNELS_DENSE_PRODUCT_H

/// Element type of dense weights.
typedef enum {
  ck_dense_bf16 = 0,
  ck_dense_f16 = 1,
  ck_dense_f32 = 2,
} ck_dense_kind;

enum {
  /// Most tokens for which `dense_product` is faster than expanding the weights first.
  ck_dense_tokens = 8,
};

#endif
