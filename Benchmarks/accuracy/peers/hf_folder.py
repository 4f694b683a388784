"""Float32 Hugging Face folders made of a source model and some replaced weights, for `quantize verify` to read."""

import json
import os
import shutil

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def read_source(model):
    """All tensors of a folder with one safetensors file."""
    with safe_open(os.path.join(model, "model.safetensors"), "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def write_folder(model, out, source, weights):
    """Writes `source` with `weights` in the place of its own, float32; refuses names and shapes the source lacks."""
    for name, weight in weights.items():
        if name not in source or source[name].shape != weight.shape:
            found = tuple(source[name].shape) if name in source else "no such tensor"
            raise SystemExit(f"{name}: decoded {tuple(weight.shape)}, the source has {found}")
    os.makedirs(out, exist_ok=True)
    tensors = {name: weights.get(name, tensor).to(torch.float32).contiguous() for name, tensor in source.items()}
    save_file(tensors, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(model, "config.json")) as file:
        config = json.load(file)
    config["torch_dtype"] = "float32"
    config.pop("dtype", None)
    with open(os.path.join(out, "config.json"), "w") as file:
        json.dump(config, file, indent=1)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        if os.path.exists(os.path.join(model, name)):
            shutil.copy(os.path.join(model, name), out)
            os.chmod(os.path.join(out, name), 0o644)


def unpack(words, axis):
    """The eight 4-bit fields of each int32 along an axis, lowest first."""
    fields = torch.stack([(words >> shift) & 15 for shift in range(0, 32, 4)], dim=axis + 1)
    return fields.flatten(axis, axis + 1)


def decode_gptq(folder):
    """Weights of an AutoGPTQ folder of 4 bits, and the bytes of their codes, scales and zero points.

    AutoRound's symmetric scales are negative where the weight of the largest magnitude in a group is positive, so that
    it gets the code -8 that has no partner; they are multiplied as they are.
    """
    stored = read_source(folder)
    weights, bytes_ = {}, 0
    for name in [name[: -len(".qweight")] for name in stored if name.endswith(".qweight")]:
        codes, zeros = unpack(stored[name + ".qweight"], 0), unpack(stored[name + ".qzeros"], 1)
        scales = stored[name + ".scales"].to(torch.float32)
        columns, groups = codes.shape[0], scales.shape[0]
        group = stored[name + ".g_idx"].long() if name + ".g_idx" in stored else (
            torch.arange(columns) // (columns // groups))
        # The layout stores zero points less one.
        weights[name + ".weight"] = ((codes - (zeros[group] + 1)).to(torch.float32) * scales[group]).T.contiguous()
        bytes_ += 4 * (stored[name + ".qweight"].numel() + stored[name + ".qzeros"].numel()) + 2 * scales.numel()
    return weights, bytes_
