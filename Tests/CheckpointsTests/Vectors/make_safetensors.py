#!/usr/bin/env python3
"""Writes good/ and refused/: the accept and reject matrix of formats/safetensors.md, one small file a rule.

Run with Python safetensors 0.8.0, numpy 2 and torch 2.13 (CPU); the output is the same every time:

    python3 make_safetensors.py

Each file is also given to the reference implementation: all of good/ must be taken, and all of refused/ must be
refused but for STRICTER, where we ask for more.
"""
import json
import struct
from pathlib import Path

import safetensors
import safetensors.torch
import torch

HERE = Path(__file__).parent
GOOD, REFUSED = HERE / "good", HERE / "refused"
for folder in (GOOD, REFUSED):
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.safetensors"):
        old.unlink()

# What the reference takes and we refuse.
STRICTER = {
    "entry-array", "metadata-name-twice", "metadata-name-twice-in-unicode-forms", "name-twice",
    "name-twice-in-unicode-forms", "number-2-to-63", "product-2-to-63-before-zero",
}


def container(header, data=b""):
    header = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(header)) + header + data


def write(folder, name, content):
    (folder / f"{name}.safetensors").write_bytes(content)
    try:
        safetensors.deserialize(content)
        taken = True
    except safetensors.SafetensorError:
        taken = False
    wanted = folder == GOOD or name in STRICTER
    assert taken == wanted, f"{name}: the reference {'takes' if taken else 'refuses'} it"


def good(name, header, data=b""):
    write(GOOD, name, container(header, data))


def refused(name, header, data=b""):
    write(REFUSED, name, container(header, data))


def entry(dtype="U8", shape="[1]", offsets="[0,1]"):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


A = '"a":' + entry()
B = '"b":' + entry(offsets="[1,2]")

# --- good ---
WORKED = container(
    '{"__metadata__":{"format":"pt"},"s.i64":{"dtype":"I64","shape":[],"data_offsets":[0,8]},'
    '"a.f32":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},'
    '"b.bf16":{"dtype":"BF16","shape":[2],"data_offsets":[16,20]},'
    '"q.f8":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[20,22]},'
    '"z.u8":{"dtype":"U8","shape":[1],"data_offsets":[22,23]}}',
    bytes.fromhex("ffffffffffffffff 0000803f00000040 803f20c0 7e80 07"))
assert WORKED[:8] == bytes.fromhex("4801000000000000")
tensors = {
    "z.u8": torch.tensor([7], dtype=torch.uint8), "q.f8": torch.tensor([448, -0.0]).to(torch.float8_e4m3fn),
    "b.bf16": torch.tensor([1, -2.5], dtype=torch.bfloat16), "a.f32": torch.tensor([[1.0, 2.0]]),
    "s.i64": torch.tensor(-1, dtype=torch.int64),
}
assert safetensors.torch.save(tensors, {"format": "pt"}) == WORKED, "the reference writes other bytes"
write(GOOD, "worked-example", WORKED)
write(GOOD, "python-no-tensors", safetensors.serialize({}))
widths = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64, "BOOL": 8}
ALL = ("BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ I16 U16 F16 BF16 I32 U32 F32 C64 "
       "F64 I64 U64").split()
parts, data = [], b""
for dtype in reversed(ALL):
    width = widths.get(dtype) or (8 if dtype.startswith("F8") else int(dtype[1:]))
    size = 4 * width // 8
    parts.append(f'"t.{dtype}":' + entry(dtype, "[2,2]", f"[{len(data)},{len(data) + size}]"))
    data += bytes((len(data) + i) % 2 if dtype == "BOOL" else (len(data) + i) % 251 for i in range(size))
text = "{" + ",".join(parts) + "}"
good("all-dtypes", text + " " * (-len(text) % 8), data)
torch.manual_seed(7)
write(GOOD, "python-torch", safetensors.torch.save({
    "model.embed_tokens.weight": torch.randn(8, 4).to(torch.bfloat16), "model.norm.weight": torch.randn(4),
    "model.layers.0.scale": torch.randn(2, 3).to(torch.float16), "model.empty": torch.zeros(0, 4),
    "model.steps": torch.arange(3), "é": torch.tensor([True, False]),
}, {"format": "pt"}))
good("smallest", "{}")
good("space-around", " \t\r\n{ " + A + " }\n\t\r ", b"\1")
good("fields-in-any-order", '{"a":{"data_offsets":[0,1],"shape":[1],"dtype":"U8"}}', b"\1")
good("header-not-in-data-order", "{" + B + "," + A + "}", b"\1\2")
good("unknown-fields", '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"note":{"x":[1.5,null]}}}', b"\1")
good("name-empty", '{"":' + entry() + "}", b"\1")
good("name-with-nul", '{"a\\u0000b":' + entry() + "}", b"\1")
good("name-like-a-path", '{"../x":' + entry() + "}", b"\1")
good("name-with-escapes", '{"\\u00e9\\ud83d\\ude00\\"\\\\\\n":' + entry() + "}", b"\1")
good("metadata-null", '{"__metadata__":null,' + A + "}", b"\1")
good("metadata-empty", '{"__metadata__":{},' + A + "}", b"\1")
good("metadata-only", '{"__metadata__":{"b":"2","a":""}}')
good("unaligned", "{" + A + ',"b":' + entry("F32", "[1]", "[1,5]") + "}", b"\7" + struct.pack("<f", 1.5))
good("empty-tensors", '{"e0":' + entry("F32", "[0]", "[0,0]") + "," + A + ',"e1":' + entry("I64", "[2,0]", "[1,1]") + ","
     + B + ',"e2":' + entry("F4", "[0,3]", "[2,2]") + "}", b"\1\2")
good("zero-before-large-extents", '{"a":' + entry("U8", "[0,4294967296,4294967296]", "[0,0]") + "}")
good("nested-127", '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":' + "[" * 125 + "]" * 125 + "}}", b"\1")

# --- refused: the frame ---
write(REFUSED, "empty-file", b"")
write(REFUSED, "seven-bytes", bytes(7))
write(REFUSED, "length-huge", struct.pack("<Q", 0xFFFFFFFF0000003C) + b"{}")
write(REFUSED, "length-100000001", struct.pack("<Q", 100_000_001) + b"{}")
write(REFUSED, "length-without-header", struct.pack("<Q", 60))
write(REFUSED, "length-beyond-file", struct.pack("<Q", 1000) + b"{}" + bytes(100))
write(REFUSED, "git-lfs-pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n")
refused("header-empty", "")
refused("utf8-invalid", b"\xff")
refused("utf8-invalid-in-name", b'{"a\xc3":' + entry().encode() + b"}", b"\1")
# --- refused: JSON ---
refused("json-unclosed", "{")
refused("json-nul-padding", b"{" + A.encode() + b"}\0\0", b"\1")
refused("json-byte-order-mark", "\ufeff{" + A + "}", b"\1")
refused("json-trailing-comma", "{" + A + ",}", b"\1")
refused("json-comment", "{/**/" + A + "}", b"\1")
refused("json-control-character", '{"a\n":' + entry() + "}", b"\1")
refused("json-lone-surrogate", '{"\\ud800":' + entry() + "}", b"\1")
refused("json-nested-129", '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":' + "[" * 127 + "]" * 127 + "}}", b"\1")
refused("root-array", "[]")
refused("root-null", "null")
refused("root-number", "1")
refused("name-twice", "{" + A + "," + A + "}", b"\1")
refused("name-twice-in-unicode-forms", '{"\\u00e9":' + entry() + ',"e\\u0301":' + entry(offsets="[1,2]") + "}", b"\1\2")
refused("metadata-twice", '{"__metadata__":{},"__metadata__":{},' + A + "}", b"\1")
refused("metadata-name-twice", '{"__metadata__":{"x":"1","x":"2"},' + A + "}", b"\1")
refused("metadata-name-twice-in-unicode-forms", '{"__metadata__":{"\\u00e9":"1","e\\u0301":"2"},' + A + "}", b"\1")
for value in ("1", "null", "[]", "{}", "true"):
    kind = {"1": "number", "null": "null", "[]": "array", "{}": "object", "true": "boolean"}[value]
    refused(f"metadata-value-{kind}", '{"__metadata__":{"x":' + value + "}," + A + "}", b"\1")
refused("metadata-array", '{"__metadata__":[],' + A + "}", b"\1")
# --- refused: entries ---
refused("entry-array", '{"a":["U8",[1],[0,1]]}', b"\1")
refused("entry-string", '{"a":"U8"}', b"\1")
FIELDS = {"dtype": '"dtype":"U8"', "shape": '"shape":[1]', "data_offsets": '"data_offsets":[0,1]'}
for field in FIELDS:
    refused(f"{field.replace('_', '-')}-missing",
            '{"a":{' + ",".join(text for name, text in FIELDS.items() if name != field) + "}}", b"\1")
    refused(f"{field.replace('_', '-')}-twice", '{"a":{' + ",".join([*FIELDS.values(), FIELDS[field]]) + "}}", b"\1")
for dtype in ("F8", "F6", "E8M0", "F4_E2M1", "C128", "I128", "f32", ""):
    name = {"f32": "lower-case", "": "empty"}.get(dtype, dtype)
    refused(f"dtype-{name}", '{"a":' + entry(dtype) + "}", b"\1")
refused("dtype-number", '{"a":{"dtype":8,"shape":[1],"data_offsets":[0,1]}}', b"\1")
refused("shape-null", '{"a":' + entry(shape="null") + "}", b"\1")
refused("shape-number", '{"a":' + entry(shape="1") + "}", b"\1")
refused("offsets-one", '{"a":' + entry(offsets="[0]") + "}", b"\1")
refused("offsets-three", '{"a":' + entry(offsets="[0,1,1]") + "}", b"\1")
refused("offsets-object", '{"a":' + entry(offsets="{}") + "}", b"\1")
NUMBERS = {"negative": "-1", "minus-zero": "-0", "fraction": "1.0", "exponent": "1e0", "string": '"1"', "leading-zero": "01",
           "plus": "+1", "2-to-64": str(2**64), "null": "null"}
for name, spelling in NUMBERS.items():
    refused(f"number-{name}", '{"a":' + entry(shape=f"[{spelling}]") + "}", b"\1")
    if name != "null":
        refused(f"offset-{name}", '{"a":' + entry(offsets=f"[0,{spelling}]") + "}", b"\1")
refused("number-2-to-63", '{"a":' + entry(shape=f"[0,{2**63}]", offsets="[0,0]") + "}")
# --- refused: places and sizes ---
refused("end-before-begin", "{" + A + ',"b":' + entry(offsets="[1,0]") + "}", b"\1")
refused("hole-at-start", '{"a":' + entry(offsets="[1,2]") + "}", b"\0\1")
refused("hole-in-middle", "{" + A + ',"b":' + entry(offsets="[2,3]") + "}", b"\1\0\2")
refused("overlap", '{"a":' + entry("U8", "[2]", "[0,2]") + ',"b":' + entry("U8", "[2]", "[1,3]") + "}", b"\1\2\3")
refused("aliases", "{" + ",".join(f'"t{i}":' + entry("I32", "[2,2]", "[0,16]") for i in range(10)) + "}", bytes(16))
refused("empty-tensor-in-a-hole", "{" + A + ',"e":' + entry("U8", "[0]", "[2,2]") + "}", b"\1\0")
refused("empty-tensor-within-another", '{"a":' + entry("U8", "[2]", "[0,2]") + ',"e":' + entry("U8", "[0]", "[1,1]") + "}",
        b"\1\2")
refused("product-overflow", '{"a":' + entry("U8", f"[2,{2**63 - 1}]") + "}", b"\1")
refused("product-overflow-before-zero", '{"a":' + entry("U8", "[4294967296,4294967296,0]", "[0,0]") + "}")
refused("product-2-to-63-before-zero", '{"a":' + entry("U8", f"[{2**62},2,0]", "[0,0]") + "}")
refused("bits-overflow", '{"a":' + entry("F64", f"[{2**61}]", "[0,8]") + "}", bytes(8))
refused("f4-half-a-byte", '{"a":' + entry("F4", "[1,3]", "[0,2]") + "}", bytes(2))
refused("f6-half-a-byte", '{"a":' + entry("F6_E2M3", "[2]", "[0,2]") + "}", bytes(2))
refused("size-too-small", '{"a":' + entry("I32", "[2,2]", "[0,4]") + "}", bytes(4))
refused("size-too-large", '{"a":' + entry("U8", "[1]", "[0,2]") + "}", bytes(2))
refused("size-beyond-file", '{"a":' + entry("U8", f"[{2**60 - 1}]", f"[0,{2**60 - 1}]") + "}", bytes(8))
refused("bytes-after-the-end", "{" + A + "}", b"\1\2\3")
refused("cut-short", '{"a":' + entry("U8", "[4]", "[0,4]") + "}", b"\1\2")
refused("cut-before-data", "{" + A + "}")
print(len(list(GOOD.iterdir())), "good,", len(list(REFUSED.iterdir())), "refused")
