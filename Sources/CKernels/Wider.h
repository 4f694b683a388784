// Loops that are worth it are compiled for wider vectors too. These have no fused multiply-add, so the results are the
// same in every bit.
#ifndef CKERNELS_WIDER_H
#define CKERNELS_WIDER_H

#if defined(__x86_64__) && defined(__linux__)
#define CK_WIDER __attribute__((target_clones("avx2", "default")))
#else
#define CK_WIDER
#endif

#endif
