#include "FeedbackRounding.h"

#include <math.h>

#include "Conversions.h"
#include "Rounding.h"

void ck_feedback_block(const ck_feedback_tile *tile, const float *factor, size_t first, size_t last) {
  size_t places = tile->places;
  float lowest = (float)tile->lowest, highest = (float)tile->highest;
  for (size_t row = 0; row < tile->rows; row++) {
    const float *weights = tile->weights + row * places;
    const float *scales = tile->scales + row * tile->cells;
    const float *zeros = tile->zeros ? tile->zeros + row * tile->cells : 0;
    float *owed = tile->owed + row * places;
    float *errors = tile->errors + row * places;
    int32_t *codes = tile->codes + row * places;
    for (size_t place = last; place-- > first;) {
      const float *line = factor ? factor + place * places : NULL;
      float deviation = tile->deviations[place];
      float target = weights[place];
      // Where nothing is owed, a weight of −0 stays one.
      if (line && deviation > 0 && owed[place] != 0) target += owed[place] / (line[place] * deviation);
      float scale = scales[tile->cell[place]];
      if (tile->gains) scale *= tile->gains[place];
      float value;
      switch (tile->kind) {
        case ck_feedback_int: {
          float zero = zeros ? zeros[tile->cell[place]] : 0;
          float code = clamp(nearest_integer(target / scale) + zero, lowest, highest);
          codes[place] = (int32_t)code;
          value = (code - zero) * scale;
          break;
        }
        case ck_feedback_e4m3: {
          float steps = target / scale;
          uint8_t code;
          ck_f32_to_e4m3(&steps, &code, 1);
          ck_e4m3_to_f32(&code, &value, 1);
          codes[place] = code;
          value *= scale;
          break;
        }
        case ck_feedback_e2m1: {
          float steps = target / scale;
          // Where weight and scale are 0 any number times the scale is right, but NaN.
          value = nearest_e2m1(isnan(steps) ? copysignf(6, steps) : steps);
          codes[place] = e2m1_code(value);
          value *= scale;
          break;
        }
      }
      float error = (weights[place] - value) * deviation;
      errors[place] = error;
      if (line && error != 0)
        for (size_t other = first; other < place; other++) owed[other] += error * line[other];
    }
  }
}
