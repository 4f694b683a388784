"""AutoRound 0.15.1 on the CPU, 200 iterations a block, exported as AutoGPTQ (symmetric) or AutoAWQ (asymmetric).

usage: autoround_peer.py MODEL WINDOWS.json OUT sym|asym [ITERATIONS]
"""

import glob
import json
import os
import shutil
import sys

import torch
from auto_round import AutoRound
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_folder import decode_gptq, read_source, write_folder


def main():
    source, windows, out, symmetry = sys.argv[1:5]
    iterations = int(sys.argv[5]) if len(sys.argv) > 5 else 200
    with open(windows) as file:
        windows = [torch.tensor([window]) for window in json.load(file)]
    torch.manual_seed(0)
    rounder = AutoRound(
        AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32),
        AutoTokenizer.from_pretrained(source),
        amp=False,
        scheme="W4A16",
        sym=symmetry == "sym",
        iters=iterations,
        dataset=windows,
        nsamples=len(windows),
        seqlen=min(window.shape[1] for window in windows),
        batch_size=8,
        device_map="cpu",
        seed=42,
    )
    if symmetry == "asym":
        rounder.quantize_and_save(out, format="auto_awq")
        lift(out)
        return
    exported = out + "-exported"
    rounder.quantize_and_save(exported, format="auto_gptq")
    lift(exported)
    decode(source, exported, out)


def lift(folder):
    """Moves the export up where this version made a folder of its own inside the one it was given."""
    for nested in glob.glob(os.path.join(folder, "*", "config.json")):
        for name in os.listdir(os.path.dirname(nested)):
            shutil.move(os.path.join(os.path.dirname(nested), name), os.path.join(folder, name))
        os.rmdir(os.path.dirname(nested))


def decode(source, exported, out):
    """Writes the float32 folder that is judged; AutoRound's own quantization_config is one that `quantize` does not read."""
    weights, linear_bytes = decode_gptq(exported)
    tensors = read_source(source)
    write_folder(source, out, tensors, weights)
    rest = sum(tensor.numel() * 2 for name, tensor in tensors.items() if name not in weights)
    sizes = {"linear_bytes": linear_bytes, "file_bytes": linear_bytes + rest, "embedding": "BF16"}
    with open(os.path.join(out, "sizes.json"), "w") as file:
        json.dump(sizes, file)


if __name__ == "__main__":  # It may start processes, which import this file again.
    main()
