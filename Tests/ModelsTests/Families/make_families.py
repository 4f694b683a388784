#!/usr/bin/env python3
"""Writes the golden folders beside this script: make_families.py [NAME…]

One tiny random model a family: config.json, model.safetensors (BF16), tokens.json, logits.safetensors (F32, computed by
transformers in float32 from the BF16 weights, eager attention). transformers 5.17.0, torch 2.13 (CPU); seeds in families.json.
"""
import json
import os
import sys

import torch
from transformers import (
    CohereConfig, Cohere2Config, DeepseekV2Config, DeepseekV3Config, Ernie4_5Config, Exaone4Config, Gemma2Config,
    Gemma3Config, Gemma3TextConfig, Glm4Config, Glm4MoeConfig, GlmConfig, GptOssConfig, GraniteConfig, GraniteMoeConfig,
    HunYuanDenseV1Config, Mistral3Config, MistralConfig, MixtralConfig, Olmo2Config, Olmo3Config, OlmoeConfig, Phi3Config,
    PixtralVisionConfig, Qwen2_5_VLConfig, Qwen2MoeConfig, Qwen3Config, Qwen3MoeConfig, Qwen3VLConfig,
    Qwen3VLMoeConfig, SeedOssConfig, SiglipVisionConfig, SmolLM3Config,
)
from family_models import write_family

HERE = os.path.dirname(os.path.abspath(__file__))
FULL, SLIDING = "full_attention", "sliding_attention"


def sizes(**other):
    """Every size, and an eps (far from any default) large enough that reading it or not shows."""
    return {**dict(
        vocab_size=96, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        rms_norm_eps=1e-3,
    ), **other}


def layer_norm_sizes(**other):
    """Cohere's key for the same."""
    return {("layer_norm_eps" if key == "rms_norm_eps" else key): value for key, value in sizes(**other).items()}


def rope(theta=10000.0, **other):
    return {"rope_type": "default", "rope_theta": theta, **other}


def yarn(theta=10000.0, factor=4.0, original=16, **other):
    return {"rope_type": "yarn", "rope_theta": theta, "factor": factor, "original_max_position_embeddings": original, **other}


def mla(**other):
    return {**dict(
        vocab_size=96, hidden_size=32, intermediate_size=24, moe_intermediate_size=16, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=20, q_lora_rank=24, qk_nope_head_dim=12,
        qk_rope_head_dim=8, v_head_dim=10, n_routed_experts=8, n_shared_experts=2, num_experts_per_tok=3,
        first_k_dense_replace=1, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0, rms_norm_eps=1e-3,
        rope_parameters=yarn(mscale=1.0, mscale_all_dim=0.7, beta_fast=32, beta_slow=1),
    ), **other}


def float32_router_bias(tensors):
    for name in tensors:
        if name.endswith("e_score_correction_bias"):
            # Values BF16 cannot hold, as released checkpoints have them.
            tensors[name] = tensors[name].float() + 0.0013


def released_vision_names(tensors):
    for name in [name for name in tensors if name.startswith("vision_tower.")]:
        tensors[name.replace("vision_tower.", "vision_tower.vision_model.")] = tensors.pop(name)


def released_expert_order(tensors):
    for name in tensors:
        if ".mlp.experts." in name:
            # [experts, in, out], as this family was released; transformers 5 saves [experts, out, in].
            tensors[name] = tensors[name].transpose(1, 2)


def named(config, architecture):
    config.architectures = [architecture]
    return config


def siglip():
    return SiglipVisionConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                              image_size=8, patch_size=4)


def gemma3_text(**other):
    return dict(
        **sizes(num_hidden_layers=3, head_dim=16, query_pre_attn_scalar=24, sliding_window=6,
                layer_types=[SLIDING, FULL, SLIDING]),
        rope_parameters={FULL: rope(1e6, rope_type="linear", factor=8.0), SLIDING: rope()}, **other)


def qwen3_vl_moe(**other):
    return named(Qwen3VLMoeConfig(
        text_config={**sizes(head_dim=12), **dict(
            moe_intermediate_size=20, num_experts=6, num_experts_per_tok=2, mlp_only_layers=[1],
            rope_parameters=rope(5e6, mrope_section=[2, 2, 2], mrope_interleaved=True)), **other},
        vision_config=dict(depth=1, hidden_size=16, intermediate_size=24, num_heads=2, out_hidden_size=32, patch_size=4,
                           num_position_embeddings=16, deepstack_visual_indexes=[0]),
        image_token_id=90, video_token_id=91, vision_start_token_id=92, vision_end_token_id=93),
        "Qwen3VLMoeForConditionalGeneration")


# name: (configuration, options of write_family)
FAMILIES = {
    # What the lead's extra families need.
    "granite": lambda: (GraniteConfig(
        **sizes(), rope_parameters=rope(), attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
        embedding_multiplier=0.6, logits_scaling=4.0, residual_multiplier=0.7, attention_multiplier=0.2), dict(old=True)),
    "granite-untied": lambda: (GraniteConfig(
        **sizes(num_key_value_heads=4), rope_parameters=rope(), embedding_multiplier=1.5, logits_scaling=2.0,
        residual_multiplier=0.4, attention_multiplier=0.0625), {}),
    "smollm3": lambda: (SmolLM3Config(
        **sizes(num_hidden_layers=4), rope_parameters=rope(2e6), no_rope_layer_interval=2), dict(old=True, drop_from_old=["layer_types"])),
    "cohere": lambda: (CohereConfig(
        **layer_norm_sizes(), rope_parameters=rope(), logit_scale=0.0625, use_qk_norm=False), dict(old=True)),
    "cohere-qk-norm": lambda: (CohereConfig(
        **layer_norm_sizes(), rope_parameters=rope(75e5), logit_scale=0.25, use_qk_norm=True, attention_bias=True), dict(old=True)),
    "cohere2": lambda: (Cohere2Config(
        **layer_norm_sizes(num_hidden_layers=4), rope_parameters=rope(5e4), logit_scale=0.25, sliding_window=6,
        layer_types=[SLIDING, SLIDING, SLIDING, FULL]), dict(old=True, drop_from_old=["layer_types"])),
    "glm4": lambda: (Glm4Config(
        **sizes(head_dim=12), rope_parameters=rope(partial_rotary_factor=0.5), attention_bias=True), dict(old=True)),
    "glm": lambda: (GlmConfig(
        **sizes(head_dim=12), rope_parameters=rope(partial_rotary_factor=0.5), attention_bias=True), dict(old=True)),
    "qwen2_moe": lambda: (Qwen2MoeConfig(
        **sizes(num_hidden_layers=3), rope_parameters=rope(1e6), moe_intermediate_size=16,
        shared_expert_intermediate_size=24, num_experts=6, num_experts_per_tok=2, norm_topk_prob=False,
        mlp_only_layers=[1]), dict(old=True)),
    "seed_oss": lambda: (SeedOssConfig(
        **sizes(head_dim=12), rope_parameters=rope(1e7), attention_bias=True, attention_out_bias=False), dict(old=True)),
    "olmo3": lambda: (Olmo3Config(
        **sizes(num_hidden_layers=4), sliding_window=6, rope_parameters={FULL: yarn(5e5), SLIDING: rope(5e5)},
        layer_types=[SLIDING, SLIDING, SLIDING, FULL]), dict(old=True, drop_from_old=["layer_types"])),
    "gemma3-multimodal": lambda: (named(Gemma3Config(
        text_config=Gemma3TextConfig(**gemma3_text()), vision_config=siglip(), mm_tokens_per_image=4, image_token_index=90,
        boi_token_index=91, eoi_token_index=92), "Gemma3ForConditionalGeneration"), dict(old=True, quirks=released_vision_names)),
    # The families of facts/architectures.md.
    "mistral": lambda: (MistralConfig(**sizes(head_dim=12), sliding_window=6, rope_parameters=rope()), dict(old=True)),
    "qwen3": lambda: (Qwen3Config(
        **sizes(head_dim=12), rope_parameters=rope(1e6), attention_bias=True, tie_word_embeddings=True), dict(old=True)),
    "qwen3_moe": lambda: (Qwen3MoeConfig(
        **sizes(num_hidden_layers=3, head_dim=12), rope_parameters=rope(1e6), moe_intermediate_size=16, num_experts=6,
        num_experts_per_tok=2, norm_topk_prob=True, decoder_sparse_step=2), dict(old=True)),
    "mixtral": lambda: (MixtralConfig(
        **sizes(head_dim=12, intermediate_size=24), rope_parameters=rope(1e6), num_local_experts=4, num_experts_per_tok=2,
        sliding_window=9), dict(old=True)),
    "gemma2": lambda: (Gemma2Config(
        **sizes(num_hidden_layers=3, head_dim=12), rope_parameters=rope(), sliding_window=6, query_pre_attn_scalar=20,
        attn_logit_softcapping=5.0, final_logit_softcapping=8.0), dict(old=True, drop_from_old=["layer_types"])),
    "gemma3_text": lambda: (Gemma3TextConfig(**gemma3_text()), dict(old=True)),
    "phi3": lambda: (Phi3Config(**sizes(sliding_window=9), rope_parameters=rope()), dict(old=True)),
    "phi3-longrope": lambda: (Phi3Config(
        **sizes(num_attention_heads=2, num_key_value_heads=1), original_max_position_embeddings=16, tie_word_embeddings=True,
        rope_parameters=rope(
            rope_type="longrope", partial_rotary_factor=0.75, short_factor=[1.0, 1.1, 1.25, 1.3, 1.5, 1.9],
            long_factor=[1.2, 2.0, 3.5, 6.0, 9.0, 17.5])), dict(old=True, short=14)),
    "deepseek_v2": lambda: (DeepseekV2Config(**mla(
        num_hidden_layers=2, topk_method="group_limited_greedy", n_group=4, topk_group=2, routed_scaling_factor=4.0)), dict(old=True)),
    "deepseek_v2-lite": lambda: (DeepseekV2Config(**mla(
        q_lora_rank=None, num_hidden_layers=2, topk_method="greedy", routed_scaling_factor=1.0,
        rope_parameters=yarn(factor=40.0, mscale=0.707, mscale_all_dim=0.707, beta_fast=32, beta_slow=1))), dict(old=True)),
    "deepseek_v3": lambda: (DeepseekV3Config(**mla(
        n_shared_experts=1, n_group=4, topk_group=2, routed_scaling_factor=2.5, norm_topk_prob=True,
        num_nextn_predict_layers=0)),
        dict(old=True, quirks=float32_router_bias)),
    "gpt_oss": lambda: (GptOssConfig(
        **sizes(head_dim=12, intermediate_size=24), num_local_experts=4, num_experts_per_tok=2, sliding_window=6,
        rope_parameters=yarn(150000.0, truncate=False, beta_fast=32.0, beta_slow=1.0)), dict(old=True, drop_from_old=["layer_types"])),
    "olmo2": lambda: (Olmo2Config(**sizes(), rope_parameters=rope(5e5)), dict(old=True)),
    # More.
    "exaone4": lambda: (Exaone4Config(
        **sizes(num_hidden_layers=4), sliding_window=6, rope_parameters=rope(1e6), layer_types=[SLIDING, SLIDING, SLIDING, FULL]),
        dict(old=True)),
    "exaone4-full": lambda: (Exaone4Config(
        **sizes(), sliding_window=None, rope_parameters=rope(1e6), layer_types=[FULL, FULL], tie_word_embeddings=True), {}),
    "ernie4_5": lambda: (Ernie4_5Config(**sizes(head_dim=12), rope_parameters=rope(5e5), use_bias=True), dict(old=True)),
    "hunyuan_v1_dense": lambda: (HunYuanDenseV1Config(
        **sizes(head_dim=12), tie_word_embeddings=True,
        rope_parameters=rope(rope_type="dynamic", alpha=50.0, factor=1.0)), dict(old=True)),
    "olmoe": lambda: (OlmoeConfig(
        **sizes(intermediate_size=16), num_experts=6, num_experts_per_tok=2, norm_topk_prob=False, clip_qkv=1.5,
        rope_parameters=rope()), dict(old=True)),
    "granitemoe": lambda: (GraniteMoeConfig(
        **sizes(intermediate_size=16), num_local_experts=6, num_experts_per_tok=2, rope_parameters=rope(),
        tie_word_embeddings=True, embedding_multiplier=0.6, logits_scaling=4.0, residual_multiplier=0.7,
        attention_multiplier=0.2), dict(old=True)),
    "glm4_moe": lambda: (Glm4MoeConfig(
        **sizes(num_hidden_layers=2, head_dim=12), rope_parameters=rope(1e6, partial_rotary_factor=0.5), attention_bias=True,
        use_qk_norm=True, moe_intermediate_size=16, n_routed_experts=6, n_shared_experts=1, num_experts_per_tok=2,
        n_group=1, topk_group=1, first_k_dense_replace=1, routed_scaling_factor=1.5, norm_topk_prob=True,
        num_nextn_predict_layers=0),
        dict(old=True, quirks=float32_router_bias)),
    "mistral3": lambda: (named(Mistral3Config(
        text_config=MistralConfig(**sizes(head_dim=12), sliding_window=None, rope_parameters=rope(1e9)),
        vision_config=PixtralVisionConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                                          image_size=8, patch_size=4, head_dim=8),
        tie_word_embeddings=False, image_token_index=90), "Mistral3ForConditionalGeneration"), dict(old=True)),
    "qwen2_5_vl": lambda: (named(Qwen2_5_VLConfig(
        text_config=dict(**sizes(), rope_parameters=rope(1e6, mrope_section=[2, 1, 1])),
        vision_config=dict(depth=1, hidden_size=16, intermediate_size=24, num_heads=2, out_hidden_size=32,
                           fullatt_block_indexes=[0], patch_size=4),
        image_token_id=90, video_token_id=91, vision_start_token_id=92, vision_end_token_id=93),
        "Qwen2_5_VLForConditionalGeneration"), dict(old=True)),
    "qwen3_vl": lambda: (named(Qwen3VLConfig(
        text_config=dict(**sizes(head_dim=12), rope_parameters=rope(5e6, mrope_section=[2, 2, 2], mrope_interleaved=True)),
        vision_config=dict(depth=1, hidden_size=16, intermediate_size=24, num_heads=2, out_hidden_size=32, patch_size=4,
                           num_position_embeddings=16, deepstack_visual_indexes=[0]),
        image_token_id=90, video_token_id=91, vision_start_token_id=92, vision_end_token_id=93),
        "Qwen3VLForConditionalGeneration"), dict(old=True)),
    "qwen3_vl_moe": lambda: (qwen3_vl_moe(), dict(old=True, quirks=released_expert_order)),
    "qwen3_vl_moe-saved": lambda: (qwen3_vl_moe(mlp_only_layers=[]), {}),
}


def main():
    path = os.path.join(HERE, "families.json")
    known = json.load(open(path)) if os.path.exists(path) else {}
    failed = []
    for index, (name, make) in enumerate(FAMILIES.items()):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        try:
            config, options = make()
            known[name] = write_family(os.path.join(HERE, name), config, seed=100 + index, **options)
        except Exception as problem:
            failed.append(name)
            print(name, "FAILED", type(problem).__name__, str(problem)[:300], flush=True)
            continue
        print(name, known[name], flush=True)
        json.dump({name: known[name] for name in FAMILIES if name in known}, open(path, "w"), indent=1)
    if failed:
        sys.exit("not written: " + ", ".join(failed))


if __name__ == "__main__":
    main()
