"""What Python's own tarfile, zstandard and safetensors find in tiny.tar.zst, as tiny.python.json.

Made with Python 3.11, zstandard 0.25.0, safetensors 0.8.0:
    python read_artifact.py tiny.tar.zst > tiny.python.json
"""
import hashlib
import io
import json
import sys
import tarfile

import safetensors
import zstandard

with open(sys.argv[1], "rb") as file:
    # Without read_across_frames, zstandard stops after the first frame.
    stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    archive = tarfile.open(fileobj=io.BytesIO(stream.read()))
members = {info.name: archive.extractfile(info).read() for info in archive}

tensors = {}
for name, entry in safetensors.deserialize(members["model.safetensors"]):
    tensors[name] = {"dtype": entry["dtype"], "shape": entry["shape"], "bytes": bytes(entry["data"]).hex()}
print(json.dumps({
    "members": {name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
    "tensors": tensors,
}, indent=2))
