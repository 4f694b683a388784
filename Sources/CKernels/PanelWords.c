#include "PanelWords.h"

#include <string.h>

#include "Quads.h"

typedef uint8_t sixteen __attribute__((ext_vector_type(16)));

size_t ck_codes_per_word(ck_code_kind kind) { return kind == ck_code_uint4 ? 8 : 4; }

void ck_zero_panel_padding(ck_code_kind kind, size_t out, size_t in, uint8_t *packed) {
  size_t panels = ck_panel_count(out), panel_bytes = ck_panel_code_bytes(kind, in);
  size_t filled = in / ck_codes_per_word(kind) * 64;
  if (filled < panel_bytes)
    for (size_t panel = 0; panel < panels; panel++)
      memset(packed + panel * panel_bytes + filled, 0, panel_bytes - filled);
  if (out % ck_panel_rows) memset(packed + (panels - 1) * panel_bytes, 0, panel_bytes);
}

/// Nibbles 0 … 7 from the lowest to what a panel has: in byte b the nibble b below the nibble b + 4.
#define CK_NIBBLES(type)                                    \
  type even = word & 0x0f0f0f0f, odd = word >> 4 & 0x0f0f0f0f; \
  even |= even >> 12;                                       \
  odd |= odd >> 12;                                         \
  even = (even & 0xff) | (even & 0xff00) << 8;              \
  odd = (odd & 0xff) << 8 | (odd & 0xff00) << 16;           \
  return even | odd

CK_INLINE uint32_t nibbles(uint32_t word) { CK_NIBBLES(uint32_t); }
CK_INLINE quad four_nibbles(quad word) { CK_NIBBLES(quad); }

/// One word of a lane, at word `k` of its row.
CK_INLINE void pack_word(ck_code_kind kind, uint32_t word, size_t k, size_t lane, uint8_t *panel) {
  if (kind == ck_code_e4m3) {
    for (size_t b = 0; b < 4; b++) panel[(4 * k + b) * ck_panel_rows + lane] = (uint8_t)(word >> 8 * b);
    return;
  }
  if (kind == ck_code_uint4) word = nibbles(word);
  memcpy(panel + 64 * k + 4 * lane, &word, 4);
}

/// Sixteen words, four of each group of four lanes, to the bytes of all sixteen lanes at four consecutive k.
CK_INLINE void split_bytes(const quad lanes[4], uint8_t *target) {
  sixteen word[4], pair[2][2];
  memcpy(word, lanes, sizeof word);
  // Bytes 0 … 3 of lanes 0 … 7, then of lanes 8 … 15, as a transposition of 16 × 4 bytes.
  for (size_t half = 0; half < 2; half++) {
    sixteen a = word[2 * half], b = word[2 * half + 1];
    pair[half][0] = __builtin_shufflevector(a, b, 0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
    pair[half][1] = __builtin_shufflevector(a, b, 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
  }
  for (size_t b = 0; b < 2; b++) {
    sixteen low =
        __builtin_shufflevector(pair[0][b], pair[1][b], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    sixteen high =
        __builtin_shufflevector(pair[0][b], pair[1][b], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    memcpy(target + 32 * b, &low, 16);
    memcpy(target + 32 * b + 16, &high, 16);
  }
}

/// All sixteen rows of a panel, `stride` bytes apart: whole lines of 64 bytes are written.
CK_INLINE void pack_panel(ck_code_kind kind, const uint8_t *rows, size_t stride, uint32_t flip, uint8_t *panel) {
  size_t words = stride / 4, k = 0;
  for (; k + 4 <= words; k += 4) {
    quad block[4][4];  // [group of four lanes][word]
    for (size_t group = 0; group < 4; group++) {
      for (size_t lane = 0; lane < 4; lane++) {
        quad word;
        memcpy(&word, rows + (4 * group + lane) * stride + 4 * k, 16);
        word ^= flip;
        block[group][lane] = kind == ck_code_uint4 ? four_nibbles(word) : word;
      }
      transpose(block[group]);
    }
    for (size_t i = 0; i < 4; i++) {
      quad line[4] = {block[0][i], block[1][i], block[2][i], block[3][i]};
      uint8_t *target = panel + 64 * (k + i);
      if (kind == ck_code_e4m3) split_bytes(line, target);
      else memcpy(target, line, sizeof line);
    }
  }
  for (; k < words; k++)
    for (size_t lane = 0; lane < ck_panel_rows; lane++) {
      uint32_t word;
      memcpy(&word, rows + lane * stride + 4 * k, 4);
      pack_word(kind, word ^ flip, k, lane, panel);
    }
}

CK_INLINE void pack_words(
    ck_code_kind kind, const uint8_t *words, size_t first, size_t count, uint32_t flip, size_t in, uint8_t *packed) {
  size_t row_words = in / ck_codes_per_word(kind), panel_bytes = ck_panel_code_bytes(kind, in);
  size_t panel_words = row_words * ck_panel_rows;
  for (size_t done = 0; done < count;) {
    size_t place = first + done, panel = place / panel_words, within = place % panel_words;
    const uint8_t *source = words + 4 * done;
    uint8_t *target = packed + panel * panel_bytes;
    if (within == 0 && count - done >= panel_words) {
      pack_panel(kind, source, 4 * row_words, flip, target);
      done += panel_words;
      continue;
    }
    // Part of a row, at either end.
    size_t lane = within / row_words, k = within % row_words;
    size_t part = row_words - k < count - done ? row_words - k : count - done;
    for (size_t i = 0; i < part; i++) {
      uint32_t word;
      memcpy(&word, source + 4 * i, 4);
      pack_word(kind, word ^ flip, k + i, lane, target);
    }
    done += part;
  }
}

void ck_pack_words(
    ck_code_kind kind, const void *words, size_t first, size_t count, uint32_t flip, size_t in, uint8_t *packed) {
  // One loop for each kind.
  switch (kind) {
    case ck_code_uint4:
      return pack_words(ck_code_uint4, words, first, count, flip, in, packed);
    case ck_code_int8:
      return pack_words(ck_code_int8, words, first, count, flip, in, packed);
    case ck_code_e4m3:
      return pack_words(ck_code_e4m3, words, first, count, flip, in, packed);
  }
}

int ck_e4m3_has_nan(const void *codes, size_t count) {
  const uint8_t *bytes = codes;
  sixteen found = 0;
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    sixteen part;
    memcpy(&part, bytes + i, 16);
    found |= (sixteen)((part & 0x7f) == 0x7f);
  }
  int any = 0;
  for (size_t lane = 0; lane < 16; lane++) any |= found[lane];
  for (; i < count; i++) any |= (bytes[i] & 0x7f) == 0x7f;
  return any != 0;
}
