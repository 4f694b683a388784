#!/usr/bin/env bash
# DocC pages of the library floors: symbol graphs from the compiler, pages by the toolchain's docc.
set -euo pipefail
cd "$(dirname "$0")/.."
swift package dump-symbol-graph --minimum-access-level public >/dev/null
graphs=$(find .build -type d -name symbolgraph | head -n 1)
mkdir -p .build/docs
for floor in Tensors Kernels Quantization Tokenizers Checkpoints Models Calibration Reports Pipeline; do
  one=$(mktemp -d)
  cp "$graphs/$floor".symbols.json "$graphs/$floor"@*.symbols.json "$one" 2>/dev/null || cp "$graphs/$floor".symbols.json "$one"
  catalog=()
  [ -d "Sources/$floor/$floor.docc" ] && catalog=("Sources/$floor/$floor.docc")
  docc convert "${catalog[@]}" --additional-symbol-graph-dir "$one" --fallback-display-name "$floor" \
    --fallback-bundle-identifier "quantize.$floor" --output-dir ".build/docs/$floor" --warnings-as-errors
  rm -rf "$one"
done
echo "DocC pages are in .build/docs"
