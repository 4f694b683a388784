#!/usr/bin/env bash
# Prints the table of calibration/README.md: words, tokens under the embedded model, and SHA-256 of every text.
set -euo pipefail
cd "$(dirname "$0")/.."
echo '| file | documents | words | characters | tokens (pocket-qwen2) | SHA-256 |'
echo '|---|---|---|---|---|---|'
for file in calibration/texts/*.txt calibration/stories/*.txt; do
  tokens=$(.build/release/quantize tokenize calibration/pocket-qwen2 --text "$file" | tr ',' '\n' | wc -l)
  printf '| `%s` | %d | %d | %d | %d | `%s` |\n' "${file#calibration/}" "$(($(grep -c '^%%%$' "$file") + 1))" \
    "$(wc -w <"$file")" "$(wc -m <"$file")" "$tokens" "$(sha256sum "$file" | cut -c1-64)"
done
