// The inner loops. Functions take sizes, never allocate, never fail, and know nothing of tensors.
#ifndef CKERNELS_H
#define CKERNELS_H

#include "Bfloat16Product.h"
#include "CachedAttention.h"
#include "Conversions.h"
#include "DenseProduct.h"
#include "Elementwise.h"
#include "FeedbackRounding.h"
#include "FloatScales.h"
#include "FreeMemory.h"
#include "InstructionSets.h"
#include "IntegerProduct.h"
#include "LogProbabilities.h"
#include "MachineLimits.h"
#include "PanelWords.h"
#include "QuantizedProduct.h"
#include "RoundToNearest.h"
#include "Spinning.h"

#endif
