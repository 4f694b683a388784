"""What a candidate occupies: its linears, and its files.

The same linears count for everybody: every matrix in the blocks of the source model but the routers of experts.
"""

import json
import os
import struct
import subprocess

LEFT_OUT = ("weight_shape", "g_idx", "bias", "input_scale")
"""Tensors of a linear that are no codes, scales or zero points: shapes, orders that follow from the rest, biases."""


def header(path):
    """The header of a safetensors file."""
    with open(path, "rb") as file:
        return json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))


def linear_modules(model):
    """Names of the linears of a folder and the number of weights of each."""
    modules = {}
    for name, entry in header(os.path.join(model, "model.safetensors")).items():
        if name.startswith("model.layers.") and name.endswith(".weight") and len(entry["shape"]) == 2:
            if not name.endswith(".mlp.gate.weight"):
                modules[name[: -len(".weight")]] = entry["shape"][0] * entry["shape"][1]
    return modules


def stored(quantize, candidate, modules, halve_floats):
    """Bytes of the linears as packed and as they lie on disk, and of all tensors, of a folder or an artifact.

    `halve_floats`: count float32 as 16 bits. The peers calibrate in float32 here, which on this kind of machine is
    faster and no worse, and so write float32 scales and embeddings, which nobody would ship.
    """
    command = [quantize, "inspect", candidate, "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    packed = on_disk = everything = 0
    seen = set()
    for tensor in found["tensors"]:
        share = 0.5 if halve_floats and tensor["dtype"] == "F32" else 1
        kept = tensor.get("storedBytes", tensor["bytes"])
        everything += kept * share
        module, _, part = tensor["name"].rpartition(".")
        if module in modules and part not in LEFT_OUT:
            packed += tensor["bytes"] * share
            on_disk += kept * share
            seen.add(module)
    if len(seen) != len(modules):
        missing = sorted(set(modules) - seen)
        raise ValueError(f"{candidate} lacks {len(missing)} linears, the first {missing[0]}")
    return packed, on_disk, everything


def embedding(quantize, candidate):
    """How the embedding is stored: an element type, or a scheme."""
    command = [quantize, "inspect", candidate, "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    own = [tensor for tensor in found["tensors"] if tensor["name"].startswith("model.embed_tokens.")]
    schemes = {tensor["scheme"] for tensor in own if tensor["scheme"]}
    # Peers that calibrated in float32 wrote it so; it is counted as what it was, 16 bits.
    return schemes.pop() if schemes else {"F32": "BF16"}.get(own[0]["dtype"], own[0]["dtype"])
