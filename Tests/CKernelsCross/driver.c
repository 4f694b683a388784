// Compares every instruction set of this build with the portable twin, without Swift: run.sh runs it natively and,
// cross-compiled, under an emulator. Prints a fingerprint of all results of each vector instruction set, and one of each
// table of integer products; these agree between instruction sets and between machines. Those of products of bfloat16
// agree but for NEON's.

#include "CKernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 1;

static uint64_t random_bits(void) {
  uint64_t z = state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/// Between −1 and 1, a multiple of 2^-20.
static float random_float(void) { return (float)((int64_t)(random_bits() % (2 << 20)) - (1 << 20)) * 0x1p-20f; }

// `offset` is added to each.
static float *random_floats(size_t count, float offset) {
  float *values = malloc((count + 1) * sizeof(float));
  for (size_t i = 0; i < count; i++) values[i] = random_float() + offset;
  return values;
}

/// Rounds scales and zeros to two of the types they may be stored in, another two each time, and packs them.
static uint8_t *pack_values(ck_panels *weights, float *scales, float *zeros) {
  static int turn = 0;
  static const ck_value_kind kinds[] = {ck_value_bf16, ck_value_f16, ck_value_int8, ck_value_f32};
  size_t groups = ck_group_count(weights->in, weights->group_size), count = weights->out * groups;
  float *arrays[] = {scales, zeros};
  ck_value_kind found[] = {ck_value_none, ck_value_none};
  for (int a = 0; a < 2; a++, turn++) {
    if (!arrays[a]) continue;
    ck_value_kind kind = kinds[a ? turn / 4 % 4 : turn % 4];
    for (size_t i = 0; i < count; i++) {
      uint16_t narrow;
      float *value = &arrays[a][i];
      if (kind == ck_value_int8) *value = rintf(*value);
      if (kind == ck_value_bf16) ck_f32_to_bf16(value, &narrow, 1), ck_bf16_to_f32(&narrow, value, 1);
      if (kind == ck_value_f16) ck_f32_to_f16(value, &narrow, 1), ck_f16_to_f32(&narrow, value, 1);
    }
    found[a] = ck_smallest_value_kind(arrays[a], count);
  }
  weights->scales = found[0];
  weights->zeros = found[1];
  size_t bytes = ck_value_bytes(found[0]) + ck_value_bytes(found[1]);
  uint8_t *values = malloc(ck_panel_count(weights->out) * groups * ck_panel_rows * bytes);
  ck_pack_group_values(scales, zeros, weights->out, groups, found[0], found[1], values);
  weights->values = values;
  return values;
}

static uint64_t fingerprints[ck_isa_count];
static int failures = 0, comparisons = 0;

/// `bound` holds, per output, the sum of the magnitudes that went into it: rounding errors are a small part of that.
static void compare(
    int isa, const char *what, const float *actual, const float *expected, const float *bound, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, &actual[i], sizeof bits);
    fingerprints[isa] = (fingerprints[isa] ^ bits) * 0x100000001B3u;
    comparisons++;
    if (fabsf(actual[i] - expected[i]) <= 4e-6f * bound[i] + 1e-30f) continue;
    if (failures++ < 10)
      printf("%s, %s, output %zu: %.9g, portable twin %.9g\n", ck_kernels_of(isa)->name, what, i, actual[i], expected[i]);
  }
}

static void run_quantized(ck_code_kind kind, size_t out, size_t in, size_t group_size, size_t tokens, int with_zeros) {
  const ck_kernels *portable = ck_kernels_of(ck_isa_portable);
  size_t groups = ck_group_count(in, group_size), panels = ck_panel_count(out);
  uint8_t *codes = malloc(out * in), *packed = malloc(panels * ck_panel_code_bytes(kind, in));
  for (size_t i = 0; i < out * in; i++) {
    codes[i] = (uint8_t)random_bits();
    if (kind == ck_code_uint4) codes[i] &= 15;
    if (kind == ck_code_e4m3 && (codes[i] & 0x7f) == 0x7f) codes[i] ^= 1;
  }
  float *scales = random_floats(out * groups, 1.5f), *zeros = random_floats(out * groups, 7);
  ck_pack_codes(kind, codes, out, in, 0, panels, packed);
  ck_panels weights = {kind, out, in, group_size, packed, NULL, ck_value_none, ck_value_none};
  uint8_t *values = pack_values(&weights, scales, with_zeros ? zeros : NULL);

  float *x = random_floats(tokens * in, 0), *packed_x = malloc(tokens * in * sizeof(float));
  float *y = malloc(tokens * out * sizeof(float)), *expected = malloc(tokens * out * sizeof(float));
  float *sums = malloc(tokens * groups * sizeof(float)), *alone = malloc(tokens * out * sizeof(float));
  float *bound = malloc(tokens * out * sizeof(float));
  portable->product_many(&weights, 0, panels, x, tokens, expected, out);

  // The bound: |x| times |Ŵ|, where what a zero cancels counts too.
  float *row = malloc(in * sizeof(float));
  for (size_t n = 0; n < out; n++) {
    ck_dequantize_rows(&weights, n, n + 1, row);
    for (size_t t = 0; t < tokens; t++) {
      double sum = 0;
      for (size_t k = 0; k < in; k++)
        sum += fabs((double)x[t * in + k]) * (fabsf(row[k]) + (with_zeros ? 20.0 * scales[n * groups] + 20 : 0));
      bound[t * out + n] = (float)sum;
    }
  }

  for (int isa = 1; isa < ck_isa_count; isa++) {
    const ck_kernels *kernels = ck_kernels_of(isa);
    if (!kernels) continue;
    for (size_t t = 0; t < tokens; t++) {
      ck_group_sums(x + t * in, in, group_size, sums + t * groups);
      // One panel a call.
      for (size_t panel = 0; panel < panels; panel++)
        kernels->product_one(&weights, panel, panel + 1, x + t * in, sums + t * groups, alone + t * out);
    }
    compare(isa, "one token", alone, expected, bound, tokens * out);
    if (tokens <= ck_few_tokens) {
      kernels->product_few(&weights, 0, panels / 2, x, sums, tokens, y, out);
      kernels->product_few(&weights, panels / 2, panels, x, sums, tokens, y, out);
      compare(isa, "few tokens", y, expected, bound, tokens * out);
      if (memcmp(y, alone, tokens * out * sizeof(float)) != 0 && failures++ < 10)
        printf("%s, few tokens: other bits than alone\n", kernels->name);
    }
    kernels->pack_tokens(x, in, tokens, 0, ck_depth_block_count(in), packed_x);
    kernels->product_many(&weights, 0, panels / 2, packed_x, tokens, y, out);
    kernels->product_many(&weights, panels / 2, panels, packed_x, tokens, y, out);
    compare(isa, "many tokens", y, expected, bound, tokens * out);
  }
  void *all[] = {codes, packed, scales, zeros, values, x, packed_x, y, alone, expected, sums, bound, row};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void run_dense(ck_dense_kind kind, size_t out, size_t in, size_t tokens) {
  float *values = random_floats(out * in, 0), *x = random_floats(tokens * in, 0);
  // One byte off alignment, and a buffer that ends where the weights do.
  size_t size = kind == ck_dense_f32 ? 4 : 2;
  uint8_t *weights = malloc(out * in * size + 1), *aligned = malloc(out * in * 4);
  if (kind == ck_dense_bf16) ck_f32_to_bf16(values, (uint16_t *)aligned, out * in);
  else if (kind == ck_dense_f16) ck_f32_to_f16(values, (uint16_t *)aligned, out * in);
  else memcpy(aligned, values, out * in * 4);
  memcpy(weights + 1, aligned, out * in * size);
  float *y = malloc(tokens * out * 4), *expected = malloc(tokens * out * 4), *bound = malloc(tokens * out * 4);
  const ck_kernels *portable = ck_kernels_of(ck_isa_portable);
  portable->dense_product(kind, weights + 1, in, 0, out, x, tokens, expected, out);
  for (size_t i = 0; i < tokens * out; i++) bound[i] = (float)in;
  for (int isa = 1; isa < ck_isa_count; isa++) {
    const ck_kernels *kernels = ck_kernels_of(isa);
    if (!kernels) continue;
    kernels->dense_product(kind, weights + 1, in, 0, out / 3, x, tokens, y, out);
    kernels->dense_product(kind, weights + 1, in, out / 3, out, x, tokens, y, out);
    compare(isa, "dense", y, expected, bound, tokens * out);
  }
  void *all[] = {values, x, weights, aligned, y, expected, bound};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

// MARK: Integer products

static uint64_t integer_fingerprints[ck_integer_table_count];

/// All tables against the portable one, in every bit; `extreme` takes the largest codes and activations there are.
static void run_integer(
    ck_code_kind kind, size_t out, size_t in, size_t group_size, size_t tokens, int with_zeros, int extreme) {
  size_t groups = ck_group_count(in, group_size), panels = ck_panel_count(out);
  uint8_t *codes = malloc(out * in), *packed = malloc(panels * ck_panel_code_bytes(kind, in) + 1);
  for (size_t i = 0; i < out * in; i++) {
    uint8_t bits = (uint8_t)random_bits();
    // In groups of 64 most codes are small, as entropy-coded ones are.
    static const uint8_t largest[] = {0, 0x80, 0x7f, 31, (uint8_t)-31};
    if (kind == ck_code_uint4) codes[i] = extreme ? 15 : bits & 15;
    else if (extreme) codes[i] = largest[extreme];
    else codes[i] = group_size == 64 && random_bits() % 4001 ? (uint8_t)(bits % 63 - 31) : bits;
  }
  float *scales = random_floats(out * groups, 1.5f), *zeros = random_floats(out * groups, 7);
  ck_pack_codes(kind, codes, out, in, 0, panels, packed);
  ck_panels weights = {kind, out, in, group_size, packed, NULL, ck_value_none, ck_value_none};
  uint8_t *values = pack_values(&weights, scales, with_zeros ? zeros : NULL);
  float *x = random_floats(tokens * in, 0);
  for (size_t i = 0; i < tokens * in; i++) {
    if (extreme) x[i] = extreme % 2 ? -3.5f : 3.5f;
    else if (random_bits() % 50 == 0) x[i] *= 30;
    else if (random_bits() % 97 == 0) x[i] = 0;
  }
  if (!extreme && tokens > 1)
    for (size_t k = 0; k < in; k++) x[in + k] *= 0x1p-119f;
  float *y = malloc(tokens * out * sizeof(float)), *expected = malloc(tokens * out * sizeof(float));
  uint8_t *rounded = malloc(tokens * ck_rounded_token_bytes(&weights));
  for (int table = 0; table < ck_integer_table_count; table++) {
    const ck_integer_kernels *kernels = ck_integer_table(table);
    if (!kernels) continue;
    float *target = table == 0 ? expected : y;
    size_t tiles = ck_integer_tile_count(kernels, tokens);
    kernels->round_tokens(&weights, x, tokens, tiles / 2, tiles, rounded);
    kernels->round_tokens(&weights, x, tokens, 0, tiles / 2, rounded);
    for (size_t panel = 0; panel < panels; panel += 2)
      kernels->product(&weights, panel, panel + 2 < panels ? panel + 2 : panels, rounded, tokens, target, out);
    for (size_t i = 0; i < tokens * out; i++) {
      uint32_t bits, wanted;
      memcpy(&bits, &target[i], sizeof bits);
      memcpy(&wanted, &expected[i], sizeof wanted);
      integer_fingerprints[table] = (integer_fingerprints[table] ^ bits) * 0x100000001B3u;
      comparisons++;
      if (bits == wanted) continue;
      if (failures++ < 10)
        printf(
            "%s, integer product, kind %d, %zu x %zu, group %zu, %zu tokens, output %zu: %.9g, portable twin %.9g\n",
            kernels->name, kind, out, in, group_size, tokens, i, target[i], expected[i]);
    }
  }
  void *all[] = {codes, packed, scales, zeros, values, x, y, expected, rounded};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void run_integers(void) {
  static const size_t depths[] = {1, 31, 32, 43, 129, 288, 400, 545}, group_sizes[] = {32, 64, 96, 128, 1000};
  for (int kind = ck_code_uint4; kind <= ck_code_int8; kind++) {
    for (size_t d = 0; d < 8; d++)
      for (size_t g = 0; g < 5; g++)
        for (size_t tokens = 1; tokens <= 27; tokens += tokens < 14 ? 1 : 13)
          run_integer((ck_code_kind)kind, 1 + random_bits() % 70, depths[d], group_sizes[g], tokens, tokens % 2, 0);
    for (int extreme = 1; extreme <= 4; extreme++)
      for (size_t tokens = 1; tokens <= 7; tokens += 2)
        run_integer((ck_code_kind)kind, 33, 512, 512, tokens, 0, extreme);
    // More tokens than are kept at a time.
    run_integer((ck_code_kind)kind, 17, 300, 64, 205, 1, 0);
  }
}

// MARK: Products of bfloat16

static uint64_t bf16_fingerprints[ck_bf16_table_count];

/// All tables against the portable one: those that add in its order in every bit, NEON's squares within rounding.
static void run_bf16(size_t out, size_t in, size_t tokens, int by_columns) {
  float *w = random_floats(out * in, 0), *x = random_floats(tokens * in, 0);
  uint16_t *halves = malloc(out * in * 2 + 2);
  ck_f32_to_bf16(w, halves, out * in);
  float *y = malloc(tokens * out * 4), *expected = malloc(tokens * out * 4);
  for (int index = 0; index < ck_bf16_table_count; index++) {
    const ck_bf16_kernels *table = ck_bf16_table(index);
    if (!table) continue;
    size_t row_tiles = (out + table->tile_rows - 1) / table->tile_rows;
    size_t token_tiles = (tokens + table->tile_tokens - 1) / table->tile_tokens;
    size_t rows = table->tile_rows, count = table->tile_tokens, unit = table->unit;
    uint16_t *packed_w = malloc(ck_bf16_packed_count(rows, out, in) * 2);
    uint16_t *packed_x = malloc(ck_bf16_packed_count(count, tokens, in) * 2);
    if (tokens % 2) ck_bf16_pack_lines(rows, unit, ck_dense_bf16, halves, in, out, in, 0, row_tiles, packed_w);
    else ck_bf16_pack_lines(rows, unit, ck_dense_f32, w, in, out, in, 0, row_tiles, packed_w);
    if (by_columns) {
      float *turned = malloc(tokens * in * 4);
      for (size_t t = 0; t < tokens; t++)
        for (size_t k = 0; k < in; k++) turned[k * tokens + t] = x[t * in + k];
      ck_bf16_pack_columns(count, unit, turned, tokens, tokens, in, 0, token_tiles, packed_x);
      free(turned);
    } else {
      ck_bf16_pack_lines(count, unit, ck_dense_f32, x, in, tokens, in, token_tiles / 2, token_tiles, packed_x);
      ck_bf16_pack_lines(count, unit, ck_dense_f32, x, in, tokens, in, 0, token_tiles / 2, packed_x);
    }
    float *target = index == 0 ? expected : y;
    for (size_t i = 0; i < tokens * out; i++) target[i] = by_columns ? 0.5f : NAN;
    for (size_t part = 0; part < 4; part++) {
      size_t row = part % 2 ? row_tiles / 2 : 0, last_row = part % 2 ? row_tiles : row_tiles / 2;
      size_t token = part / 2 ? token_tiles / 2 : 0, last_token = part / 2 ? token_tiles : token_tiles / 2;
      table->product(packed_w, out, row, last_row, packed_x, tokens, token, last_token, in, target, out, by_columns);
    }
    for (size_t i = 0; i < tokens * out; i++) {
      uint32_t bits;
      memcpy(&bits, &target[i], sizeof bits);
      bf16_fingerprints[index] = (bf16_fingerprints[index] ^ bits) * 0x100000001B3u;
      comparisons++;
      float bound = table->unit == 2 ? 0 : (float)in * 0x1p-22f;
      if (fabsf(target[i] - expected[i]) <= bound) continue;
      if (failures++ < 10)
        printf("%s, bfloat16, %zu x %zu, %zu tokens, output %zu: %.9g, portable twin %.9g\n", table->name, out, in,
               tokens, i, target[i], expected[i]);
    }
    free(packed_w);
    free(packed_x);
  }
  void *all[] = {w, x, halves, y, expected};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void run_bf16s(void) {
  static const size_t depths[] = {1, 2, 3, 43, 129, 512, 515, 1030};
  for (size_t d = 0; d < 8; d++)
    for (size_t tokens = 1; tokens <= 27; tokens += tokens < 14 ? 1 : 13)
      run_bf16(1 + random_bits() % 70, depths[d], tokens, tokens % 3 == 0);
  // More tokens than are taken at a time.
  run_bf16(33, 100, 500, 0);
}

int main(void) {
  static const size_t depths[] = {1, 2, 15, 43, 129, 257, 400}, group_sizes[] = {1, 32, 43, 128, 1000};
  static const size_t token_counts[] = {1, 2, 7, 17};
  for (int kind = 0; kind < 3; kind++)
    for (size_t d = 0; d < 7; d++)
      for (size_t g = 0; g < 5; g++)
        for (size_t t = 0; t < 4; t++)
          run_quantized((ck_code_kind)kind, 1 + random_bits() % 70, depths[d], group_sizes[g], token_counts[t], t % 2);
  for (int kind = 0; kind < 3; kind++)
    for (size_t d = 0; d < 7; d++)
      for (size_t tokens = 1; tokens <= 8; tokens++)
        run_dense((ck_dense_kind)kind, 1 + random_bits() % 20, depths[d], tokens);
  run_integers();
  run_bf16s();
  for (int table = 0; table < ck_bf16_table_count; table++)
    if (ck_bf16_table(table))
      printf("%-14s bfloat16 %016llx\n", ck_bf16_table(table)->name, (unsigned long long)bf16_fingerprints[table]);
  for (int table = 0; table < ck_integer_table_count; table++)
    if (ck_integer_table(table))
      printf("%-14s integer %016llx\n", ck_integer_table(table)->name, (unsigned long long)integer_fingerprints[table]);
  for (int isa = 1; isa < ck_isa_count; isa++)
    if (ck_isa_available(isa))
      printf("%-14s %016llx\n", ck_kernels_of(isa)->name, (unsigned long long)fingerprints[isa]);
  printf("in use: %s; %d comparisons, %d failures\n", ck_isa_name(), comparisons, failures);
  return failures > 0;
}
