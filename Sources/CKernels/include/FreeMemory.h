// Memory that the C library keeps.
#ifndef CKERNELS_FREE_MEMORY_H
#define CKERNELS_FREE_MEMORY_H

/// Gives pages that were freed back to the system, where the C library can be asked for it.
void ck_give_back_free_memory(void);

#endif
