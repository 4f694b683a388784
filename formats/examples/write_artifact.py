"""A second writer of the artifact format, made from formats/artifact.md alone: tarfile, zstandard, struct.

Made with Python 3.11, zstandard 0.25.0:
    python write_artifact.py python.tar.zst
It takes the freedom that the page gives: short frames, other compression levels, a name that needs a pax header.
"""
import hashlib
import io
import json
import struct
import sys
import tarfile

import zstandard

EMPTY_XXH64 = 0x51D8E999


def safetensors(tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def sha256(content):
    return hashlib.sha256(content).hexdigest()


tensors = {
    "a.weight": ("U8", [300, 1], bytes(i % 251 for i in range(300))),
    "b.weight": ("F32", [10, 100], struct.pack("<1000f", *range(1000))),
}
members = {
    "config.json": b"{}",
    "gr\u00f6\u00dfe.txt": b"a name that needs a pax header",
    "recipe.yaml": b"scheme: none\n",
    "model.safetensors": safetensors(tensors),
}
members["digests.json"] = json.dumps({
    "version": 1,
    "algorithm": "sha256",
    "members": {name: sha256(content) for name, content in members.items()},
    "tensors": {name: sha256(content) for name, (_, _, content) in tensors.items()},
}).encode()

archive = b""
for name, content in members.items():
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    archive += info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % 512)
archive += bytes(1024)

compressor = zstandard.ZstdCompressor(level=5, write_checksum=True, write_content_size=True, write_dict_id=False)
file, table = b"", b""
for start in range(0, len(archive), 3000):
    content = archive[start:start + 3000]
    frame = compressor.compress(content)
    file += frame
    table += struct.pack("<II", len(frame), len(content)) + frame[-4:]
file += struct.pack("<II", 0x184D2A5D, 32) + hashlib.sha256(file).digest()
table += struct.pack("<III", 40, 0, EMPTY_XXH64)
count = len(table) // 12
file += struct.pack("<II", 0x184D2A5E, len(table) + 9) + table + struct.pack("<IBI", count, 0x80, 0x8F92EAB1)
with open(sys.argv[1], "wb") as out:
    out.write(file)
