#!/bin/sh
# Builds CKernels for 64-bit ARM, runs driver.c under qemu-aarch64, and compares with the same run on this machine.
# Installs nothing. Exits 77 when a tool is missing, naming it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
sources=$here/../../Sources/CKernels
# The compiler that Swift brings along, unless another is named.
clang=${CLANG:-$(dirname "$(readlink -f "$(command -v swift || echo /usr/bin/swift)")")/clang}
cross=${CROSS_ROOT:-/usr/aarch64-linux-gnu}

missing() {
  echo "missing: $1" >&2
  exit 77
}
[ -x "$clang" ] || missing "clang (set CLANG)"
[ -e "$cross/include/stdio.h" ] || missing "$cross/include/stdio.h (Debian: libc6-dev-arm64-cross)"
command -v aarch64-linux-gnu-gcc >/dev/null || missing "aarch64-linux-gnu-gcc (Debian: gcc-aarch64-linux-gnu)"
command -v qemu-aarch64 >/dev/null || missing "qemu-aarch64 (Debian: qemu-user)"

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

mkdir "$build/arm64" "$build/native"
for file in "$sources"/*.c "$here/driver.c"; do
  name=$(basename "$file" .c)
  "$clang" --target=aarch64-linux-gnu -isystem "$cross/include" -O2 -Wall -Wextra -Werror \
    -I "$sources/include" -c "$file" -o "$build/arm64/$name.o"
  "$clang" -O2 -Wall -Wextra -Werror -I "$sources/include" -c "$file" -o "$build/native/$name.o"
done
aarch64-linux-gnu-gcc -static "$build"/arm64/*.o -lm -o "$build/arm64/driver"
"$clang" "$build"/native/*.o -lm -o "$build/native/driver"

status=0
"$build/native/driver" >"$build/native.txt" || status=1
qemu-aarch64 "$build/arm64/driver" >"$build/arm64.txt" || status=1
cat "$build/native.txt" "$build/arm64.txt"

# Every vector instruction set of both machines gives the same bits, and so does every table of integer products.
prints=$(awk 'NF == 2 { print $2 }' "$build/native.txt" "$build/arm64.txt" | sort -u | wc -l)
integer_prints=$(awk '$2 == "integer" { print $3 }' "$build/native.txt" "$build/arm64.txt" | sort -u | wc -l)
if [ "$prints" -ne 1 ] || [ "$integer_prints" -ne 1 ]; then
  echo "the fingerprints of the instruction sets differ" >&2
  status=1
fi
exit $status
