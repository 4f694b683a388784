// The inner loops. Functions take sizes, never allocate, never fail, and know nothing of tensors.
#ifndef CKERNELS_H
#define CKERNELS_H

#include "Conversions.h"

#endif
