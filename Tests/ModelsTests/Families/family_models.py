"""Tiny random models of a family, written as a Hugging Face folder with the logits transformers computes for it.

Used by make_families.py (the folders committed here) and by Benchmarks/fuzz_families.py (random variants).
transformers 5.17.0, torch 2.13 (CPU), numpy, safetensors.
"""
import json
import os
import re
import shutil

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
import transformers

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

PERTURBATION = 3e-7  # a few float32 roundings: what another order of sums may do
STEADY = 1e-5        # logits may not move further than this, in standard deviations, or the seed is not taken


def model_class(config):
    architecture = (config.architectures or [None])[0]
    return getattr(transformers, architecture) if architecture else AutoModelForCausalLM


def randomise(model, seed):
    """Fills every parameter so that leaving any of them out, or using it in the wrong place, shows in the logits."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda like: torch.randn(like.shape, generator=generator)
    uniform = lambda like, low, high: low + (high - low) * torch.rand(like.shape, generator=generator)
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    with torch.no_grad():
        entries = list(model.named_parameters())
        entries += [(n, b) for n, b in model.named_buffers() if n.endswith("e_score_correction_bias")]
        for name, tensor in sorted(entries, key=lambda entry: entry[0]):
            owner, leaf = name.rsplit(".", 1)
            kind = kinds[owner]
            if leaf == "e_score_correction_bias":
                value = 0.25 * normal(tensor)
            elif leaf == "sinks":
                value = 1.5 * normal(tensor)
            elif "bias" in leaf:
                value = 0.3 * normal(tensor)
            elif "Norm" in kind and leaf == "weight":
                # Gemma multiplies by 1 + weight.
                low, high = (-0.6, 0.6) if kind.startswith("Gemma") else (0.4, 1.6)
                value = uniform(tensor, low, high)
            elif "embed_tokens" in name:
                value = normal(tensor)
            elif tensor.dim() == 3:
                # Fused experts: [experts, out, in], gpt-oss [experts, in, out].
                inputs = tensor.shape[1] if kind.startswith("GptOss") else tensor.shape[2]
                value = 1.0 * inputs**-0.5 * normal(tensor)
            elif tensor.dim() >= 2:
                gain = 1.3 if re.search(r"\.(q|k|qkv|q_b)_proj", name) else 1.0
                if re.search(r"(\.gate|\.router|shared_expert_gate)\.weight$", name):
                    gain = 1.5
                value = gain * tensor[0].numel() ** -0.5 * normal(tensor)
            else:
                value = 0.5 * normal(tensor)
            tensor.copy_(value)


def tokens_for(seed, count, vocabulary):
    generator = torch.Generator().manual_seed(seed + 7919)
    return torch.randint(3, vocabulary, (count,), generator=generator).tolist()


def load(folder):
    config = AutoConfig.from_pretrained(folder)
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    model = model_class(config).from_pretrained(folder, **options).eval()
    for part in model.modules():
        if hasattr(part, "config") and hasattr(part.config, "_experts_implementation"):
            part.config._experts_implementation = "eager"
    return model


def logits_of(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float().contiguous()


def deviation(found, expected):
    """Largest difference over the standard deviation of the expected values."""
    return ((found - expected).abs().max() / expected.std()).item()


def old_spelling(config):
    """The configuration as transformers 4 and the repositories of its time spell it."""
    config = json.loads(json.dumps(config))
    for part in (config, config.get("text_config", {})):
        if "dtype" in part:
            part["torch_dtype"] = part.pop("dtype")
        rope = part.pop("rope_parameters", None)
        if rope is None:
            continue
        nested = "full_attention" in rope
        if nested:
            if "sliding_attention" in rope and part["model_type"].startswith("gemma3"):
                part["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
            rope = rope["full_attention"]
        rope = {key: value for key, value in rope.items() if value is not None}
        part["rope_theta"] = rope.pop("rope_theta")
        if "partial_rotary_factor" in rope:
            part["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
        kind = rope.pop("rope_type", "default")
        if kind == "longrope":
            # Phi-3 keeps the length beside the block and calls the block "su" in its first releases.
            part["original_max_position_embeddings"] = rope.pop("original_max_position_embeddings")
            rope.pop("factor", None)
        part["rope_scaling"] = None if kind == "default" else {"rope_type" if nested else "type": kind, **rope}
        if "mrope_interleaved" in rope:
            part["rope_scaling"] = {"rope_type": "default", **rope}
        elif "mrope_section" in rope:
            part["rope_scaling"] = {"type": "mrope", **rope}
    if config["model_type"] == "qwen2_5_vl":
        # Released files hold the keys of the text model at the top.
        text = config.pop("text_config")
        config = {**text, **config}
    released = {
        "deepseek_v2": dict(scoring_func="softmax", moe_layer_freq=1, aux_loss_alpha=0.001, seq_aux=True, ep_size=1),
        "deepseek_v3": dict(scoring_func="sigmoid", topk_method="noaux_tc", moe_layer_freq=1, aux_loss_alpha=0.001, seq_aux=True, ep_size=1),
    }
    config.update(released.get(config["model_type"], {}))
    config["transformers_version"] = "4.51.0"
    return config


def write_family(folder, config, seed, length=24, short=None, old=False, quirks=None, drop_from_old=(), tries=100):
    """Writes one folder; tries the next seed while the logits are too sensitive to rounding (near ties of a router).

    old: the configuration in the older spelling as `config_old.json`, whose logits are checked to be the same.
    short: tokens of a second, shorter text (`tokens-short.json`, `logits-short.safetensors`).
    quirks: edits the saved tensors (a dict) in place, e.g. data types as released checkpoints have them.
    Returns what families.json says of it.
    """
    text = config.get_text_config()
    for attempt in range(tries):
        trial = seed + 1000 * attempt
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        torch.manual_seed(trial)
        model = model_class(config)(config) if config.architectures else AutoModelForCausalLM.from_config(config)
        randomise(model, trial)
        model.to(torch.bfloat16).save_pretrained(folder)
        for name in os.listdir(folder):
            if name not in ("config.json", "model.safetensors"):
                os.remove(f"{folder}/{name}")
        path = f"{folder}/model.safetensors"
        tensors = load_file(path)
        if quirks:
            quirks(tensors)
        tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
        save_file(dict(sorted(tensors.items())), path, metadata={"format": "pt"})
        saved = json.load(open(f"{folder}/config.json"))
        json.dump(saved, open(f"{folder}/config.json", "w"), indent=1, sort_keys=True)

        ids = tokens_for(trial, length, text.vocab_size)
        model = load(folder)
        logits = logits_of(model, ids)
        state = {name: value.clone() for name, value in model.named_parameters()}
        moved = 0.0
        for turn in range(3):
            generator = torch.Generator().manual_seed(turn)
            with torch.no_grad():
                for name, value in model.named_parameters():
                    value.copy_(state[name] * (1 + PERTURBATION * torch.randn(value.shape, generator=generator)))
            moved = max(moved, deviation(logits_of(model, ids), logits))
        if not (moved <= STEADY and torch.isfinite(logits).all()):
            continue
        with torch.no_grad():
            for name, value in model.named_parameters():
                value.copy_(state[name])
        json.dump(ids, open(f"{folder}/tokens.json", "w"))
        save_file({"logits": logits}, f"{folder}/logits.safetensors")
        if short:
            json.dump(ids[:short], open(f"{folder}/tokens-short.json", "w"))
            save_file({"logits": logits_of(load(folder), ids[:short])}, f"{folder}/logits-short.safetensors")
        if old:
            spelled = old_spelling(saved)
            for key in drop_from_old:
                spelled.pop(key, None)
                spelled.get("text_config", {}).pop(key, None)
            json.dump(spelled, open(f"{folder}/config_old.json", "w"), indent=1, sort_keys=True)
            check_old(folder, ids, logits)
        largest = logits.abs().max().item()
        return {
            "model_type": saved["model_type"], "seed": trial, "tokens": len(ids),
            "logits_std": round(logits.std().item(), 4), "logits_max": round(largest, 3),
            "moved_by_rounding": float(f"{moved:.1e}"),
            "bytes": sum(os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder)),
        }
    raise RuntimeError(f"{folder}: no seed gives logits that rounding leaves alone")


def check_old(folder, ids, logits):
    copy = folder + ".old"
    shutil.rmtree(copy, ignore_errors=True)
    os.makedirs(copy)
    shutil.copy(f"{folder}/config_old.json", f"{copy}/config.json")
    shutil.copy(f"{folder}/model.safetensors", copy)
    apart = deviation(logits_of(load(copy), ids), logits)
    shutil.rmtree(copy)
    if apart > 1e-6:
        raise RuntimeError(f"{folder}: the older spelling gives other logits ({apart})")
