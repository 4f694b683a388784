#include "FloatScales.h"

#include "Rounding.h"
#include "Wider.h"

enum { lanes = 8, chunk = 512 };

CK_WIDER void ck_f32_to_e2m1(const float *source, uint8_t *destination, size_t count) {
  for (size_t i = 0; i < count; i++) destination[i] = e2m1_code(nearest_e2m1(source[i]));
}

CK_WIDER void ck_float_round_trip(float *values, size_t count, ck_float_format format, float scale) {
  if (format == ck_float8_e4m3) {
    for (size_t i = 0; i < count; i++) values[i] = nearest_e4m3(values[i] / scale) * scale;
  } else {
    for (size_t i = 0; i < count; i++) values[i] = nearest_e2m1(values[i] / scale) * scale;
  }
}

CK_WIDER void ck_int_round_trip(float *values, size_t count, float largest, float scale) {
  for (size_t i = 0; i < count; i++)
    values[i] = nearest_small_integer(clamp(values[i] / scale, -largest - 1, largest)) * scale;
}

// One chunk and one scale; the format is a constant wherever this is called.
static inline __attribute__((always_inline)) double error_of(const float *w, const float *importance, size_t count,
                                                             ck_float_format format, float scale) {
  float inverse = 1 / scale;
  float sums[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; lane++) {
      float x = w[i + lane] * inverse;
      float difference = (format == ck_float8_e4m3 ? nearest_e4m3(x) : nearest_e2m1(x)) * scale - w[i + lane];
      float weight = importance ? importance[i + lane] : 1;
      sums[lane] += weight * difference * difference;
    }
  double sum = 0;
  for (; i < count; i++) {
    float x = w[i] * inverse;
    float difference = (format == ck_float8_e4m3 ? nearest_e4m3(x) : nearest_e2m1(x)) * scale - w[i];
    sum += (double)((importance ? importance[i] : 1) * difference * difference);
  }
  for (int lane = 0; lane < lanes; lane++) sum += (double)sums[lane];
  return sum;
}

CK_WIDER void ck_float_scale_errors(
    const float *w, const float *importance, size_t count, ck_float_format format, const float *scales,
    size_t scale_count, double *errors) {
  for (size_t start = 0; start < count; start += chunk) {
    size_t width = start + chunk < count ? chunk : count - start;
    const float *part = importance ? importance + start : NULL;
    for (size_t s = 0; s < scale_count; s++) {
      if (format == ck_float8_e4m3) {
        errors[s] += part ? error_of(w + start, part, width, ck_float8_e4m3, scales[s])
                          : error_of(w + start, NULL, width, ck_float8_e4m3, scales[s]);
      } else {
        errors[s] += part ? error_of(w + start, part, width, ck_float4_e2m1, scales[s])
                          : error_of(w + start, NULL, width, ck_float4_e2m1, scales[s]);
      }
    }
  }
}
