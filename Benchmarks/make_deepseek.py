#!/usr/bin/env python3
"""A synthetic DeepSeek-V3 checkpoint of true widths, native FP8 blocks: make_deepseek.py OUT [--layers-dense 1 --layers-moe 1 …]

Linears are E4M3 with one F32 `weight_scale_inv` for every 128 × 128 block; norms, router, embedding and head BF16;
`e_score_correction_bias` F32. Shards of at most 2 GB with an index. Defaults: 15.8 GB (3.7 of them embedding and head,
which --vocab 4096 shrinks to 0.1).

Written as a stream: codes come from one pool of random E4M3 values at shuffled offsets, so memory stays near 150 MB and the disk is the
limit. Weights are heavy-tailed (Student-t, 6 degrees), block scales vary by a log-normal factor; a few residual channels, the same in
every layer, are outliers as in trained models: their norm weights are 8 to 30 times larger and the matching columns smaller.
Same arguments, same bytes. numpy only.
"""
import argparse
import hashlib
import json
import math
import os
import resource
import shutil
import sys
import time

import numpy as np

BLOCK = 128
POOL = 1 << 25           # codes
CHUNK = 1 << 22          # bytes written at a time, at most (at least one row)
CODE_STD = 64.0          # standard deviation of the decoded codes; 448 is the largest
TOKENIZER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../calibration/pocket-qwen2")


def generator(seed, *key):
    digest = hashlib.blake2b(repr((seed,) + key).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest, "little")))


def bfloat16(values):
    """Round to nearest even; finite input."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def e4m3_values():
    """The 127 values from 0 to 448 by code."""
    code = np.arange(127)
    exponent, mantissa = code >> 3, code & 7
    return np.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7))


def e4m3(values):
    """Nearest codes."""
    table = e4m3_values()
    code = np.searchsorted((table[1:] + table[:-1]) / 2, np.abs(values)).astype(np.uint8)
    return code | (np.signbit(values).astype(np.uint8) << 7)


class Weights:
    """Bytes of every tensor, from its name, kind and shape."""

    def __init__(self, a):
        self.a = a
        g = generator(a.seed, "pool")
        # 65536 quantiles of a unit Student-t: one table look-up a weight.
        sample = np.sort(g.standard_t(6, 1 << 20)) / math.sqrt(6 / 4)
        quantiles = sample[8::16]
        self.codes = e4m3(quantiles * CODE_STD)[g.integers(0, 1 << 16, POOL, dtype=np.uint16)]
        self.halves = bfloat16(quantiles.astype(np.float32))[g.integers(0, 1 << 16, POOL >> 2, dtype=np.uint16)]
        g = generator(a.seed, "outliers")
        count = max(2, round(a.outliers * a.hidden))
        self.channels = np.sort(g.choice(a.hidden, count, replace=False))
        self.factors = np.exp(g.uniform(math.log(8), math.log(30), count))
        # Columns that read an outlier channel are 4 times smaller: two steps of the exponent.
        values = e4m3_values()
        signs = np.where(np.arange(256) >= 128, 128, 0)
        self.damped = (e4m3(values[np.minimum(np.arange(256) & 127, 126)] / 4) | signs).astype(np.uint8)

    def norm(self, name, width, residual):
        g = generator(self.a.seed, name)
        weight = 0.5 * np.exp(0.2 * g.standard_normal(width))
        if residual:
            weight[self.channels] *= self.factors * np.exp(0.1 * g.standard_normal(len(self.channels)))
        return weight

    def gain(self):
        """Root mean square of a damped, normed row: what a column sees, in units of a weight."""
        weight = np.full(self.a.hidden, 0.5)
        weight[self.channels] *= self.factors / 4
        return math.sqrt((weight**2).mean())

    def pieces(self, name, kind, shape, source):
        a = self.a
        g = generator(a.seed, source)
        if kind in ("norm", "inner-norm"):
            yield bfloat16(self.norm(source, shape[0], kind == "norm"))
        elif kind == "correction":
            yield g.normal(0, 0.02, shape[0]).astype("<f4")
        elif kind == "scale":
            yield self.scales(name, shape, g)
        elif kind == "codes":
            yield from self.code_rows(shape, g, reads_residual(name))
        else:
            yield from self.half_rows(name, kind, shape, g)

    def scales(self, name, shape, g):
        a = self.a
        inputs, std = fan_in(a, name), 1.0
        if reads_residual(name):
            std /= self.gain()
        if name.endswith(("o_proj.weight_scale_inv", "down_proj.weight_scale_inv")):
            std /= math.sqrt(2 * (a.layers_dense + a.layers_moe))
        return (std / math.sqrt(inputs) / CODE_STD * np.exp(0.2 * g.standard_normal(shape))).astype("<f4")

    def code_rows(self, shape, g, damp):
        rows, columns = shape
        step = max(1, CHUNK // columns)
        for row in range(0, rows, step):
            count = min(step, rows - row)
            begin = int(g.integers(0, POOL - count * columns))
            piece = self.codes[begin : begin + count * columns]
            if damp:
                piece = piece.reshape(count, columns).copy()
                piece[:, self.channels] = self.damped[piece[:, self.channels]]
            yield piece

    def half_rows(self, name, kind, shape, g):
        rows, columns = shape
        step = max(1, CHUNK // 2 // columns)
        std = {"embedding": 1.0, "head": 1 / math.sqrt(columns) / self.gain(), "router": self.a.router / math.sqrt(columns) / self.gain(),
               "projection": 1 / math.sqrt(columns)}[kind]
        # A power of two moves the exponent only, and keeps the pool's mantissas.
        shift = round(math.log2(std)) << 7
        for row in range(0, rows, step):
            count = min(step, rows - row)
            begin = int(g.integers(0, len(self.halves) - count * columns))
            # A zero or a value too small to shift would wrap around; the table has none.
            piece = (self.halves[begin : begin + count * columns].astype(np.int32) + shift).astype(np.uint16).reshape(count, columns)
            if kind == "embedding":
                piece[:, self.channels] += 1 << 7  # twice as large
            elif kind in ("head", "router"):
                piece[:, self.channels] -= 2 << 7  # four times smaller
            yield piece


def reads_residual(name):
    return any(part in name for part in ("q_a_proj", "q_proj", "kv_a_proj", "gate_proj", "up_proj"))


def fan_in(a, name):
    if "q_b_proj" in name:
        return a.q_lora
    if "kv_b_proj" in name:
        return a.kv_lora
    if "o_proj" in name:
        return a.heads * a.v
    if "down_proj" in name:
        if "shared_experts" in name:
            return a.shared * a.moe_intermediate
        return a.moe_intermediate if "experts" in name else a.intermediate
    return a.hidden


def linear(name, rows, columns):
    yield name + ".weight", "codes", (rows, columns)
    yield name + ".weight_scale_inv", "scale", (-(-rows // BLOCK), -(-columns // BLOCK))


def layer(a, i, mixture):
    p = f"model.layers.{i}."
    yield p + "input_layernorm.weight", "norm", (a.hidden,)
    query = a.heads * (a.nope + a.rope)
    if a.q_lora:
        yield from linear(p + "self_attn.q_a_proj", a.q_lora, a.hidden)
        yield p + "self_attn.q_a_layernorm.weight", "inner-norm", (a.q_lora,)
        yield from linear(p + "self_attn.q_b_proj", query, a.q_lora)
    else:
        yield from linear(p + "self_attn.q_proj", query, a.hidden)
    yield from linear(p + "self_attn.kv_a_proj_with_mqa", a.kv_lora + a.rope, a.hidden)
    yield p + "self_attn.kv_a_layernorm.weight", "inner-norm", (a.kv_lora,)
    yield from linear(p + "self_attn.kv_b_proj", a.heads * (a.nope + a.v), a.kv_lora)
    yield from linear(p + "self_attn.o_proj", a.hidden, a.heads * a.v)
    yield p + "post_attention_layernorm.weight", "norm", (a.hidden,)
    if not mixture:
        yield from gated(p + "mlp.", a.hidden, a.intermediate)
        return
    yield p + "mlp.gate.weight", "router", (a.experts, a.hidden)
    yield p + "mlp.gate.e_score_correction_bias", "correction", (a.experts,)
    yield from gated(p + "mlp.shared_experts.", a.hidden, a.shared * a.moe_intermediate)
    for e in range(a.experts):
        yield from gated(f"{p}mlp.experts.{e}.", a.hidden, a.moe_intermediate)


def gated(p, hidden, inner):
    yield from linear(p + "gate_proj", inner, hidden)
    yield from linear(p + "up_proj", inner, hidden)
    yield from linear(p + "down_proj", hidden, inner)


def tensors(a):
    """Name, kind, shape, and the name whose bytes it has (its own, except for the copies in the MTP layer)."""
    count = a.layers_dense + a.layers_moe
    main = [("model.embed_tokens.weight", "embedding", (a.vocab, a.hidden))]
    for i in range(count):
        main += layer(a, i, i >= a.layers_dense)
    main += [("model.norm.weight", "norm", (a.hidden,)), ("lm_head.weight", "head", (a.vocab, a.hidden))]
    for name, kind, shape in main:
        yield name, kind, shape, name
    if a.mtp:
        p = f"model.layers.{count}."
        yield p + "embed_tokens.weight", "embedding", (a.vocab, a.hidden), "model.embed_tokens.weight"
        yield p + "enorm.weight", "inner-norm", (a.hidden,), p + "enorm.weight"
        yield p + "hnorm.weight", "inner-norm", (a.hidden,), p + "hnorm.weight"
        yield p + "eh_proj.weight", "projection", (a.hidden, 2 * a.hidden), p + "eh_proj.weight"
        for name, kind, shape in layer(a, count, True):
            yield name, kind, shape, name
        yield p + "shared_head.norm.weight", "norm", (a.hidden,), p + "shared_head.norm.weight"
        yield p + "shared_head.head.weight", "head", (a.vocab, a.hidden), "lm_head.weight"


TYPES = {"codes": ("F8_E4M3", 1), "scale": ("F32", 4), "correction": ("F32", 4)}


def shards(a):
    limit, current, size = int(a.shard_gb * 1e9), [], 0
    for name, kind, shape, source in tensors(a):
        dtype, width = TYPES.get(kind, ("BF16", 2))
        nbytes = width * math.prod(shape)
        # The header of a shard full of experts is a few 100 kB.
        if current and size + nbytes + 200 * len(current) > limit:
            yield current
            current, size = [], 0
        current.append((name, kind, shape, source, dtype, nbytes))
        size += nbytes
    yield current


def configuration(a):
    return {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "attention_bias": False, "attention_dropout": 0.0,
        "aux_loss_alpha": 0.001, "bos_token_id": 0, "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": a.layers_dense,
        "hidden_act": "silu", "hidden_size": a.hidden, "initializer_range": 0.02, "intermediate_size": a.intermediate,
        "kv_lora_rank": a.kv_lora, "max_position_embeddings": 163840, "moe_intermediate_size": a.moe_intermediate, "moe_layer_freq": 1,
        "n_group": a.groups, "n_routed_experts": a.experts, "n_shared_experts": a.shared, "norm_topk_prob": True,
        "num_attention_heads": a.heads, "num_experts_per_tok": a.top_k, "num_hidden_layers": a.layers_dense + a.layers_moe,
        "num_key_value_heads": a.heads, "num_nextn_predict_layers": int(a.mtp), "pretraining_tp": 1, "q_lora_rank": a.q_lora or None,
        "qk_nope_head_dim": a.nope, "qk_rope_head_dim": a.rope, "rms_norm_eps": 1e-06,
        "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
                         "original_max_position_embeddings": 4096, "type": "yarn"},
        "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "seq_aux": True, "tie_word_embeddings": False,
        "topk_group": a.topk_groups, "topk_method": "noaux_tc", "torch_dtype": "bfloat16", "transformers_version": "4.33.1",
        "use_cache": True, "v_head_dim": a.v, "vocab_size": a.vocab,
        "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]},
    }


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    for name, default in (("layers-dense", 1), ("layers-moe", 1), ("experts", 256), ("hidden", 7168), ("intermediate", 18432),
                          ("moe-intermediate", 2048), ("heads", 128), ("q-lora", 1536), ("kv-lora", 512), ("nope", 128), ("rope", 64),
                          ("v", 128), ("shared", 1), ("groups", 8), ("topk-groups", 4), ("top-k", 8), ("vocab", 129280), ("seed", 1)):
        p.add_argument("--" + name, type=int, default=default, help=f"default {default}")
    p.add_argument("--mtp", action="store_true", help="add the multi-token prediction layer (num_nextn_predict_layers 1)")
    p.add_argument("--shard-gb", type=float, default=2.0, help="10^9 bytes a shard at most, default 2")
    p.add_argument("--outliers", type=float, default=0.002, help="fraction of residual channels that are outliers, default 0.002")
    p.add_argument("--router", type=float, default=1.0, help="spread of the router's logits, default 1")
    p.add_argument("--tokenizer", default=TOKENIZER, help="folder whose tokenizer.json and tokenizer_config.json are copied")
    a = p.parse_args()
    if a.experts % a.groups or a.experts // a.groups < 2 or a.topk_groups > a.groups or a.top_k > a.topk_groups * (a.experts // a.groups):
        p.error("experts must divide into groups of at least 2, topk-groups of which must hold top-k experts")
    if max(a.hidden, a.intermediate, a.heads * a.v) > CHUNK // 2:
        p.error("a row may have at most 2097152 weights")
    return a


def main():
    a = arguments()
    os.makedirs(a.out, exist_ok=True)
    parts = list(shards(a))
    total = sum(entry[5] for part in parts for entry in part)
    free = shutil.disk_usage(a.out).free
    print(f"{total / 1e9:.2f} GB in {len(parts)} shards", file=sys.stderr)
    if total > free:
        sys.exit(f"{a.out}: {total / 1e9:.1f} GB do not fit into {free / 1e9:.1f} GB")
    for name in os.listdir(a.out):
        if name.endswith(".safetensors") or name == "model.safetensors.index.json":
            os.remove(os.path.join(a.out, name))
    begun, done, weights, places = time.time(), 0, Weights(a), {}
    for number, part in enumerate(parts, 1):
        file_name = "model.safetensors" if len(parts) == 1 else f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        header, offset = {"__metadata__": {"format": "pt"}}, 0
        for name, kind, shape, source, dtype, nbytes in part:
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + nbytes]}
            offset += nbytes
            places[name] = file_name
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(os.path.join(a.out, file_name), "wb", buffering=0) as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name, kind, shape, source, dtype, nbytes in part:
                written = 0
                for piece in weights.pieces(name, kind, shape, source):
                    data = memoryview(np.ascontiguousarray(piece)).cast("B")
                    written += len(data)
                    while len(data):
                        data = data[file.write(data):]
                assert written == nbytes, name
        done += offset
        print(f"{file_name}  {done / 1e9:.2f} GB  {done / 1e6 / (time.time() - begun):.0f} MB/s", file=sys.stderr)
    if len(parts) > 1:
        with open(os.path.join(a.out, "model.safetensors.index.json"), "w") as file:
            json.dump({"metadata": {"total_size": total}, "weight_map": places}, file, indent=1)
    with open(os.path.join(a.out, "config.json"), "w") as file:
        json.dump(configuration(a), file, indent=2)
    with open(os.path.join(a.out, "generation_config.json"), "w") as file:
        json.dump({"bos_token_id": 0, "eos_token_id": 1}, file)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(a.tokenizer, name), os.path.join(a.out, name))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{total / 1e9:.2f} GB in {time.time() - begun:.1f} s, peak memory {peak:.2f} GB", file=sys.stderr)


if __name__ == "__main__":
    main()
