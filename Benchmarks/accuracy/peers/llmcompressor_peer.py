"""llm-compressor 0.14.0.1: RTN, AWQ, GPTQ and FP8, on the CPU, saved as compressed-tensors.

usage: llmcompressor_peer.py MODEL WINDOWS.json OUT METHOD SCHEME [--dtype bfloat16|float32]
METHOD is rtn, awq, gptq or awq+gptq; SCHEME a preset of compressed-tensors, such as W4A16_ASYM.
"""

import argparse
import json

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.pipelines.cache import IntermediatesCache

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("windows")
parser.add_argument("out")
parser.add_argument("method")
parser.add_argument("scheme")
parser.add_argument("--dtype", default="float32")
options = parser.parse_args()

if not torch.accelerator.is_available():
    # AWQ of this version pins what it caches, which a machine without an accelerator refuses.
    IntermediatesCache.pin_memory = lambda self, *rest, **named: None

with open(options.windows) as file:
    windows = json.load(file)
length = max(map(len, windows))
model = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
common = dict(targets=["Linear"], scheme=options.scheme, ignore=["lm_head"])
recipe = {
    "rtn": lambda: [QuantizationModifier(**common)],
    "awq": lambda: [AWQModifier(), QuantizationModifier(**common)],
    "awq+gptq": lambda: [AWQModifier(), GPTQModifier(**common)],
    "gptq": lambda: [GPTQModifier(**common)],
}[options.method]()
if options.method == "rtn":
    oneshot(model=model, recipe=recipe)
else:
    rows = {"input_ids": windows, "attention_mask": [[1] * len(window) for window in windows]}
    oneshot(
        model=model,
        recipe=recipe,
        dataset=Dataset.from_dict(rows),
        max_seq_length=length,
        num_calibration_samples=len(windows),
        shuffle_calibration_samples=False,
    )
model.save_pretrained(options.out, save_compressed=True)
AutoTokenizer.from_pretrained(options.model).save_pretrained(options.out)
