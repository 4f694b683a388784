#include <cblas.h>

/// LAPACK: the Cholesky factor of a symmetric matrix, column-major, in place.
void spotrf_(const char *uplo, const int *n, float *a, const int *lda, int *info);
