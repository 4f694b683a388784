// Attention of one query with cached keys and values.
//
// Keys lie in blocks of sixteen tokens, so that lanes are tokens and no sum goes across lanes: element 16·c + t of a
// head's part of a block is channel c of the block's token t. Values lie row by row: lanes are channels there.
#ifndef CKERNELS_CACHED_ATTENTION_H
#define CKERNELS_CACHED_ATTENTION_H

#include <stddef.h>

enum {
  /// Tokens in a block of keys.
  ck_key_block = 16,
};

/// Puts one token's keys, those of all heads, where they belong in a block.
static inline void ck_place_keys(const float *keys, size_t columns, size_t lane, float *block) {
  for (size_t i = 0; i < columns; i++) block[i * ck_key_block + lane] = keys[i];
}

#endif
