// What a thread does between two looks at something another thread is about to change.
#ifndef CKERNELS_SPINNING_H
#define CKERNELS_SPINNING_H

/// Lets the processor rest for some tens of cycles.
static inline void ck_spin_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

#endif
