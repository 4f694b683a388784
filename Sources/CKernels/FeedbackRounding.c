#include "FeedbackRounding.h"

#include <math.h>

#include "Conversions.h"

static const float rounder = 12582912.0f;

static inline float clamp(float x, float low, float high) { return x < low ? low : (x > high ? high : x); }

/// To nearest even, for magnitudes held below 2^22.
static inline float nearest(float x) { return (clamp(x, -4194304.0f, 4194303.0f) + rounder) - rounder; }

static inline int32_t nearest_e2m1(float x, float *value) {
  static const float numbers[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  float magnitude = fabsf(x);
  int32_t code;
  // Ties go to the even code.
  if (magnitude <= 0.25f) code = 0;
  else if (magnitude < 0.75f) code = 1;
  else if (magnitude <= 1.25f) code = 2;
  else if (magnitude < 1.75f) code = 3;
  else if (magnitude <= 2.5f) code = 4;
  else if (magnitude < 3.5f) code = 5;
  else if (magnitude <= 5) code = 6;
  else code = 7;
  *value = signbit(x) ? -numbers[code] : numbers[code];
  return signbit(x) ? code + 8 : code;
}

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
      const float *line = factor + place * places;
      float deviation = tile->deviations[place];
      float target = weights[place];
      // Where nothing is owed, a weight of −0 stays one.
      if (deviation > 0 && owed[place] != 0) target += owed[place] / (line[place] * deviation);
      float scale = scales[tile->cell[place]];
      if (tile->gains) scale *= tile->gains[place];
      float value;
      switch (tile->kind) {
        case ck_feedback_int: {
          float zero = zeros ? zeros[tile->cell[place]] : 0;
          float steps = target / scale;
          if (tile->dead_zone > 0) {
            float magnitude = fabsf(steps) - tile->dead_zone;
            steps = magnitude > 0 ? copysignf(magnitude, steps) : 0;
          }
          float code = clamp(nearest(steps) + zero, lowest, highest);
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
        case ck_feedback_e2m1:
          codes[place] = nearest_e2m1(target / scale, &value);
          value *= scale;
          break;
      }
      float error = (weights[place] - value) * deviation;
      errors[place] = error;
      if (error != 0)
        for (size_t other = first; other < place; other++) owed[other] += error * line[other];
    }
  }
}
