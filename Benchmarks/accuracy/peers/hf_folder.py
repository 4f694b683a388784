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
