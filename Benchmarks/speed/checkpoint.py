#!/usr/bin/env python3
"""Writes a Llama checkpoint of random BF16 weights: what a timing needs, because values do not change the speed.

The same seed gives the same bytes. Some channels of the norms are large, as in trained models, so that activation-aware
scales have something to do; residual branches are scaled down with the depth, so that hidden states stay finite.
"""

import argparse
import json
import math
import os
import shutil
import struct
import sys

import numpy as np

TINYLLAMA = {"hidden": 2048, "intermediate": 5632, "heads": 32, "kv_heads": 4}
TOKENIZER_FILES = ["tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"]


def tensors(shape, layers, vocabulary):
    """Name, shape and standard deviation of every tensor; a norm has none."""
    hidden, intermediate = shape["hidden"], shape["intermediate"]
    keys = hidden // shape["heads"] * shape["kv_heads"]
    branch = 1 / math.sqrt(2 * layers)
    yield "model.embed_tokens.weight", [vocabulary, hidden], 0.02
    for layer in range(layers):
        name = f"model.layers.{layer}."
        yield name + "input_layernorm.weight", [hidden], None
        yield name + "self_attn.q_proj.weight", [hidden, hidden], 1 / math.sqrt(hidden)
        yield name + "self_attn.k_proj.weight", [keys, hidden], 1 / math.sqrt(hidden)
        yield name + "self_attn.v_proj.weight", [keys, hidden], 1 / math.sqrt(hidden)
        yield name + "self_attn.o_proj.weight", [hidden, hidden], branch / math.sqrt(hidden)
        yield name + "post_attention_layernorm.weight", [hidden], None
        yield name + "mlp.gate_proj.weight", [intermediate, hidden], 1 / math.sqrt(hidden)
        yield name + "mlp.up_proj.weight", [intermediate, hidden], 1 / math.sqrt(hidden)
        yield name + "mlp.down_proj.weight", [hidden, intermediate], branch / math.sqrt(intermediate)
    yield "model.norm.weight", [hidden], None
    yield "lm_head.weight", [vocabulary, hidden], 1 / math.sqrt(hidden)


def bfloat16(values):
    """The upper halves of float32 values, rounded to nearest even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def values(random, shape, deviation):
    if deviation is not None:
        return random.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
    norm = 0.5 + 0.1 * np.abs(random.standard_normal(shape, dtype=np.float32))
    norm[random.choice(shape[0], max(1, shape[0] // 256), replace=False)] *= 8
    return norm


def token_ids(tokenizer):
    """How many tokens tokenizer.json has, and those that begin and end a text, None where it names none."""
    with open(os.path.join(tokenizer, "tokenizer.json")) as file:
        found = json.load(file)
    ids = dict(found["model"]["vocab"])
    ids.update({token["content"]: token["id"] for token in found.get("added_tokens", [])})
    begin = next((ids[token] for token in ("<s>", "<|begin_of_text|>") if token in ids), None)
    end = next((ids[token] for token in ("</s>", "<|end_of_text|>", "<|endoftext|>") if token in ids), None)
    return max(ids.values()) + 1, begin, end


def write(folder, tokenizer, shape, layers, seed=0):
    """Writes the checkpoint unless it is there; `shape` has hidden, intermediate, heads and kv_heads."""
    if os.path.exists(os.path.join(folder, "config.json")):
        return folder
    os.makedirs(folder, exist_ok=True)
    vocabulary, begin, end = token_ids(tokenizer)
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, extents, _ in tensors(shape, layers, vocabulary):
        size = 2 * math.prod(extents)
        header[name] = {"dtype": "BF16", "shape": extents, "data_offsets": [offset, offset + size]}
        offset += size
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    random = np.random.Generator(np.random.SFC64(seed))
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for _, extents, deviation in tensors(shape, layers, vocabulary):
            file.write(bfloat16(values(random, extents, deviation)).tobytes())
    for name in TOKENIZER_FILES:
        if os.path.exists(os.path.join(tokenizer, name)):
            shutil.copyfile(os.path.join(tokenizer, name), os.path.join(folder, name))
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": shape["hidden"],
        "intermediate_size": shape["intermediate"], "num_hidden_layers": layers, "vocab_size": vocabulary,
        "num_attention_heads": shape["heads"], "num_key_value_heads": shape["kv_heads"],
        "head_dim": shape["hidden"] // shape["heads"], "hidden_act": "silu", "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "max_position_embeddings": 8192, "tie_word_embeddings": False, "attention_bias": False,
        "mlp_bias": False, "torch_dtype": "bfloat16", "bos_token_id": begin, "eos_token_id": end,
    }
    # Last, because it says that the checkpoint is whole.
    with open(os.path.join(folder, "config.json.partial"), "w") as file:
        json.dump(config, file, indent=1)
    os.replace(os.path.join(folder, "config.json.partial"), os.path.join(folder, "config.json"))
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="the checkpoint to write")
    parser.add_argument("--tokenizer", required=True, metavar="FOLDER", help="folder with tokenizer.json")
    parser.add_argument("--layers", type=int, default=22)
    parser.add_argument("--seed", type=int, default=0)
    for name, value in TINYLLAMA.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    options = parser.parse_args()
    if os.path.exists(os.path.join(options.folder, "config.json")):
        sys.exit(f"{options.folder} has a config.json already")
    shape = {name: getattr(options, name) for name in TINYLLAMA}
    write(options.folder, options.tokenizer, shape, options.layers, options.seed)


if __name__ == "__main__":
    main()
