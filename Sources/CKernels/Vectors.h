// The vectors that KernelBody.inc and DenseBody.inc are written with: sixteen lanes, whatever the instruction set.
#ifndef CKERNELS_VECTORS_H
#define CKERNELS_VECTORS_H

#include <stdint.h>
#include <string.h>

#define CK_INLINE static inline __attribute__((always_inline))
#define CK_VECTOR(element) element __attribute__((ext_vector_type(16)))

typedef CK_VECTOR(float) floats;
typedef CK_VECTOR(_Float16) halves;
typedef CK_VECTOR(int32_t) ints;
typedef CK_VECTOR(uint32_t) words;
typedef CK_VECTOR(uint16_t) shorts;
typedef CK_VECTOR(int16_t) signed_shorts;
typedef CK_VECTOR(uint8_t) bytes;
typedef CK_VECTOR(int8_t) signed_bytes;

// Functions hand vectors over through pointers: passing them by value would depend on the instruction set.
#define CK_LOAD(vector, address) memcpy(&(vector), (address), sizeof(vector))
#define CK_STORE(address, vector) memcpy((address), &(vector), sizeof(vector))
/// a · b + sum, rounded once; `a` and `b` may be single floats.
#define CK_FMA(a, b, sum) __builtin_elementwise_fma((floats)(a), (floats)(b), (sum))

#endif
