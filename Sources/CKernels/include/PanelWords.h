// From the words of a file to the panels of QuantizedProduct.h, without a byte for each code in between.
#ifndef CKERNELS_PANEL_WORDS_H
#define CKERNELS_PANEL_WORDS_H

#include "QuantizedProduct.h"

/// Codes in one 32-bit word of `ck_pack_words`: eight of 4 bits, four of 8.
size_t ck_codes_per_word(ck_code_kind kind);

/// Zeroes what `ck_pack_words` never writes: columns from `in` to the end of a block, and rows from `out` to the end of
/// the last panel.
void ck_zero_panel_padding(ck_code_kind kind, size_t out, size_t in, uint8_t *packed);

/// Packs words `first ..< first + count` of row-major codes [rows, in] into the whole matrix's `packed` codes.
///
/// A word is little-endian and has consecutive codes of a row, the first in its lowest bits; `words`, of any alignment,
/// begins with word `first`. Every word is XORed with `flip` before. Several threads may pack parts of one matrix at the
/// same time, since no two words share a byte of a panel.
///
/// `in` is a multiple of `ck_codes_per_word`.
void ck_pack_words(
    ck_code_kind kind, const void *words, size_t first, size_t count, uint32_t flip, size_t in, uint8_t *packed);

/// Whether one of `count` float8 E4M3 codes is NaN.
int ck_e4m3_has_nan(const void *codes, size_t count);

#endif
