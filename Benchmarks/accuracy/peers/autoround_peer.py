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
    rounder.quantize_and_save(out, format="auto_gptq" if symmetry == "sym" else "auto_awq")
    # Some versions write a folder inside the one they are given.
    for nested in glob.glob(os.path.join(out, "*", "config.json")):
        for name in os.listdir(os.path.dirname(nested)):
            shutil.move(os.path.join(os.path.dirname(nested), name), os.path.join(out, name))


if __name__ == "__main__":  # It may start processes, which import this file again.
    main()
