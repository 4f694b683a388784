#!/usr/bin/env bash
# DocC pages of the library floors: symbol graphs from the compiler, pages by the toolchain's docc.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$PWD/.build/docs
# The compiler ends with an error at the test bundle, which is no module, after it has written the graphs of all floors.
swift package dump-symbol-graph --minimum-access-level public >/dev/null 2>"$(mktemp)" || true
graphs=$(find .build -type d -name symbolgraph | head -n 1)
[ -n "$graphs" ] && [ -e "$graphs/Pipeline.symbols.json" ] || { echo "no symbol graphs: does swift build succeed?" >&2; exit 1; }
rm -rf "$out" && mkdir -p "$out"
for floor in Tensors Kernels Quantization Tokenizers Checkpoints Models Calibration Reports Pipeline; do
  one=$(mktemp -d)
  cp "$graphs/$floor".symbols.json "$one"
  for extension in "$graphs/$floor"@*.symbols.json; do if [ -e "$extension" ]; then cp "$extension" "$one"; fi; done
  docc convert "Sources/$floor/$floor.docc" --additional-symbol-graph-dir "$one" --fallback-display-name "$floor" \
    --fallback-bundle-identifier "quantize.$floor" --output-dir "$out/$floor" "$@"
  rm -rf "$one"
done
echo "DocC pages are in .build/docs"
