"""Writes the adapters of this folder with PEFT, and what PEFT's merge makes of them.

    OMP_NUM_THREADS=1 python make_adapters.py

Made with peft 0.21.2, transformers 5.17.0, torch 2.13.0 (CPU), safetensors; Python 3. Seeds: 1 for the bases, 7 for the
adapters. Every case is a folder: adapter_config.json, adapter_model.safetensors, and expected.safetensors with the tensors
that differ from the base after merge_and_unload(). base-KIND.safetensors are the bases.
"""

import json
import os
import shutil
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

warnings.filterwarnings("ignore")
here = os.path.dirname(os.path.abspath(__file__))
sizes = dict(
    hidden_size=8, num_attention_heads=2, num_key_value_heads=1, intermediate_size=12, num_hidden_layers=2, vocab_size=10
)
experts = dict(head_dim=4, num_experts_per_tok=2)


def make(kind):
    torch.manual_seed(1)
    if kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=False))
    elif kind == "tied":
        model = LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=True))
    elif kind == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**sizes, tie_word_embeddings=False))
    elif kind == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(n_embd=8, n_head=2, n_layer=1, vocab_size=10, n_positions=8))
    elif kind == "moe":
        model = Qwen3MoeForCausalLM(
            Qwen3MoeConfig(**sizes, **experts, moe_intermediate_size=6, num_experts=3, tie_word_embeddings=False)
        )
    else:
        # As wide inside as outside: only the two fused tensors together tell how they are stored.
        config = sizes | experts | dict(intermediate_size=8, num_local_experts=3, layer_types=["full_attention"] * 2)
        model = GptOssForCausalLM(GptOssConfig(**config))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    return model.eval()


def state(model):
    return {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}


def write(name, kind, dtype=None, **options):
    base = make(kind)
    before = state(base)
    stored = {key: tensor for key, tensor in before.items() if kind not in ("tied", "gpt2") or key != "lm_head.weight"}
    save_file(stored, f"{here}/base-{kind}.safetensors", metadata={"format": "pt"})
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options))
    generator = torch.Generator().manual_seed(7)
    for key, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator) * 0.2
        if "magnitude" in key or "modules_to_save" in key:
            parameter.data += noise
        elif "lora_" in key or "trainable_tokens_delta" in key:
            parameter.data = noise
        elif parameter.requires_grad:
            parameter.data += noise
    folder = f"{here}/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    if dtype:
        for key, parameter in model.named_parameters():
            if "lora_" in key:
                parameter.data = parameter.data.to(dtype).float()
    model.save_pretrained(folder)
    os.remove(f"{folder}/README.md")
    if dtype:
        from safetensors.torch import load_file

        tensors = {key: value.to(dtype) for key, value in load_file(f"{folder}/adapter_model.safetensors").items()}
        save_file(tensors, f"{folder}/adapter_model.safetensors", metadata={"format": "pt"})
    # Sets come in any order, which is not the adapter's.
    path = f"{folder}/adapter_config.json"
    config = json.load(open(path))
    config["base_model_name_or_path"] = f"base-{kind}"
    for key in ("target_modules", "modules_to_save", "target_parameters"):
        if isinstance(config[key], list):
            config[key] = sorted(config[key])
    json.dump(config, open(path, "w"), indent=2)
    after = state(PeftModel.from_pretrained(make(kind), folder).merge_and_unload())
    changed = {key: tensor for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    save_file(changed, f"{folder}/expected.safetensors")
    print(name, sorted(changed))


write("lora", "llama", r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"])
write("bf16", "llama", dtype=torch.bfloat16, r=3, lora_alpha=5, target_modules=["v_proj"])
write("rslora", "llama", r=4, lora_alpha=8, use_rslora=True, target_modules=["q_proj"])
write("dora", "llama", r=4, lora_alpha=8, use_dora=True, target_modules=["k_proj", "up_proj"])
write(
    "patterns", "llama", r=4, lora_alpha=8, target_modules="all-linear",
    rank_pattern={"q_proj": 2, r"layers\.1\.mlp\..*": 5, "^model.layers.0.mlp.up_proj": 3},
    alpha_pattern={"k_proj": 32, "proj": 1000},
)
write("expression", "llama", r=2, target_modules=r".*\.layers\.1\..*(q|o)_proj")
write("saved", "llama", r=2, target_modules=["q_proj"], modules_to_save=["lm_head", "embed_tokens", "input_layernorm"])
write("biases", "qwen2", r=2, target_modules=["q_proj"], bias="all")
write("adapted-biases", "qwen2", r=2, target_modules=["q_proj"], bias="lora_only")
write("lora-bias", "qwen2", r=2, target_modules=["q_proj"], lora_bias=True)
write("embedding", "llama", r=2, target_modules=["embed_tokens", "lm_head", "q_proj"])
write("embedding-dora", "llama", r=2, target_modules=["embed_tokens"], use_dora=True)
write("tokens", "llama", r=2, target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [3, 7]})
write("tied-tokens", "tied", r=2, target_modules=["q_proj"], trainable_token_indices=[7, 3])
write("tied-embedding", "tied", r=2, target_modules=["embed_tokens"])
write("tied-saved", "tied", r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens"])
write("tied-both-saved", "tied", r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
write("tied-kept", "tied", r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens"], ensure_weight_tying=True)
write("gpt2", "gpt2", r=2, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)
write("gpt2-dora", "gpt2", r=2, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True, use_dora=True)
fused = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
write("moe", "moe", r=2, target_modules=["q_proj"], target_parameters=fused, rank_pattern={"experts.down_proj": 3})
write("moe-down", "moe", r=2, target_modules=[], target_parameters=fused[1:])
write("oss", "oss", r=2, target_modules=["q_proj"], target_parameters=fused)
