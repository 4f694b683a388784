#!/usr/bin/env python3
"""Copies the files of this folder from shared/facts/fixtures/quant, without the weights they were made from: see README.md.

Plain Python 3; the output is the same every time:

    python3 copy_sources.py FOLDER
"""
import json
import struct
import sys
from pathlib import Path

HERE = Path(__file__).parent
FIXTURES = Path(sys.argv[1])
COPIED = [
    "awq_gemm_g32", "ct_mxfp4", "ct_mxfp8", "ct_nvfp4", "ct_w8a8_int", "gptoss_mxfp4", "gptq3_sym", "gptq4_actorder",
    "gptq4_asym", "gptq4_sym", "gptq8_sym",
]

index = json.loads((FIXTURES / "index.json").read_text())
for name in COPIED:
    data = (FIXTURES / f"{name}.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    entries = json.loads(data[8 : 8 + size])
    kept, content = {}, b""
    for tensor, entry in entries.items():
        if tensor in ("source", "__metadata__"):
            continue
        begin, end = entry["data_offsets"]
        kept[tensor] = entry | {"data_offsets": [len(content), len(content) + end - begin]}
        content += data[8 + size + begin : 8 + size + end]
    header = json.dumps(kept, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    (HERE / f"{name}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + content)
text = json.dumps({name: index[name]["config"] for name in COPIED}, indent=1, sort_keys=True)
(HERE / "configurations.json").write_text(text + "\n")
