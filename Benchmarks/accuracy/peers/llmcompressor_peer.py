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
from llmcompressor.modifiers.transform.awq import AWQMapping, AWQModifier
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



def awq(config):
    """AWQ with the pairs this version lists for the architecture, but for those it cannot match.

    For DeepSeek-V3 it wants a router in every layer, which the leading dense layers lack; so they get their own pair.
    """
    dense = getattr(config, "first_k_dense_replace", 0)
    if config.model_type != "deepseek_v3" or dense == 0:
        return AWQModifier()
    first = "|".join(str(index) for index in range(dense))
    rest = "|".join(str(index) for index in range(dense, config.num_hidden_layers))
    dense, sparse = rf"re:.*layers\.({first})\.", rf"re:.*layers\.({rest})\."
    return AWQModifier(mappings=[
        AWQMapping("re:.*input_layernorm$", ["re:.*(q|q_a)_proj$", "re:.*kv_a_proj_with_mqa$"]),
        AWQMapping("re:.*q_a_layernorm$", ["re:.*q_b_proj$"]),
        AWQMapping("re:.*kv_a_layernorm$", ["re:.*kv_b_proj$"]),
        AWQMapping(dense + "post_attention_layernorm$", [dense + r"mlp\.gate_proj$", dense + r"mlp\.up_proj$"]),
        AWQMapping(
            sparse + "post_attention_layernorm$",
            [sparse + r"mlp\.gate$", sparse + "mlp.*gate_proj$", sparse + "mlp.*up_proj$"]),
        AWQMapping("re:.*up_proj$", ["re:.*down_proj$"]),
    ])


with open(options.windows) as file:
    windows = json.load(file)
length = max(map(len, windows))
model = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
common = dict(targets=["Linear"], scheme=options.scheme, ignore=["lm_head"])
recipe = {
    "rtn": lambda: [QuantizationModifier(**common)],
    "awq": lambda: [awq(model.config), QuantizationModifier(**common)],
    "awq+gptq": lambda: [awq(model.config), GPTQModifier(**common)],
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
