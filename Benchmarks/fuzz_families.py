#!/usr/bin/env python3
"""Random variants of every family with reference logits: fuzz_families.py OUT_DIR [--seed N] [--count K] [--families A,B]

K folders in the layout of Tests/ModelsTests/Families, families in turn: sizes, heads, kv heads, head widths, windows, tying,
biases, kinds of rope scaling, orders of layer types, groups, old and new spelling, keys left out that equal the default.
Folder NAME depends only on the seed and its number. Check them with check_families.py.
transformers 5.17.0, torch 2.13 (CPU); about 4 variants a second.
"""
import argparse
import json
import os
import random
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../Tests/ModelsTests/Families"))
import torch  # noqa: E402
from transformers import (  # noqa: E402
    AutoConfig, CohereConfig, Cohere2Config, DeepseekV2Config, DeepseekV3Config, Ernie4_5Config, Exaone4Config, Gemma2Config,
    Gemma3TextConfig, Glm4Config, Glm4MoeConfig, GlmConfig, GptOssConfig, GraniteConfig, GraniteMoeConfig,
    HunYuanDenseV1Config, LlamaConfig, MistralConfig, MixtralConfig, Olmo2Config, Olmo3Config, OlmoeConfig, Phi3Config,
    Qwen2Config, Qwen2MoeConfig, Qwen3Config, Qwen3MoeConfig, SeedOssConfig, SmolLM3Config,
)
from family_models import deviation, load, logits_of, old_spelling, write_family  # noqa: E402
from make_families import float32_router_bias  # noqa: E402

FULL, SLIDING = "full_attention", "sliding_attention"


class Draw:
    """One variant's choices."""

    def __init__(self, key):
        self.random = random.Random(key)

    def one(self, *of):
        return self.random.choice(of)

    def maybe(self, chance=0.5):
        return self.random.random() < chance

    def between(self, low, high, digits=3):
        return round(self.random.uniform(low, high), digits)

    def whole(self, low, high):
        return self.random.randint(low, high)

    def base(self, free_head=True, tie=True):
        """Sizes. free_head: whether the family has a head_dim key."""
        heads = self.one(1, 2, 3, 4, 6)
        kv = self.one(*[k for k in range(1, heads + 1) if heads % k == 0])
        per_head = self.one(4, 6, 8, 10, 16)
        hidden = heads * per_head if heads * per_head >= 16 else heads * 16
        self.head = hidden // heads
        options = dict(
            vocab_size=self.whole(40, 130), hidden_size=hidden, intermediate_size=self.whole(9, 60),
            num_hidden_layers=self.whole(1, 4), num_attention_heads=heads, num_key_value_heads=kv,
            max_position_embeddings=self.one(64, 96, 128), bos_token_id=1, eos_token_id=self.one(2, [2, 3]), pad_token_id=0,
            rms_norm_eps=self.one(1e-6, 1e-5, 1e-3),
        )
        if free_head and self.maybe(0.7):
            self.head = options["head_dim"] = self.one(4, 6, 8, 12, 14, 20)
        elif free_head:
            options["head_dim"] = self.head
        if tie:
            options["tie_word_embeddings"] = self.maybe()
        self.layers, self.maximum = options["num_hidden_layers"], options["max_position_embeddings"]
        return options

    def kinds(self, allow_full_only=True):
        return [self.one(FULL, SLIDING) for _ in range(self.layers)]

    def window(self):
        return self.one(1, 2, 3, 5, 8, 13, 31)

    def rope(self, kinds=("default", "default", "linear", "dynamic", "llama3", "yarn"), width=None):
        width = width or self.head
        theta = self.one(10000.0, 100000.0, 500000.0, 1e6, 123.0)
        kind = self.one(*kinds)
        rope = {"rope_type": kind, "rope_theta": theta}
        if kind != "default":
            rope["factor"] = self.one(2.0, 4.0, 8.0, 40.0, 1.5)
        if kind == "llama3":
            rope.update(original_max_position_embeddings=self.one(8, 16, 32), low_freq_factor=self.one(1.0, 2.0), high_freq_factor=self.one(4.0, 8.0))
        if kind == "yarn":
            rope.update(original_max_position_embeddings=self.one(8, 16, 32))
            if self.maybe():
                rope.update(beta_fast=self.one(32.0, 8.0, 1.0, 2.5), beta_slow=self.one(1.0, 0.5))
            if self.maybe(0.3):
                rope["truncate"] = self.maybe()
            shape = self.one("plain", "factor", "both", "both")
            if shape == "factor":
                rope["attention_factor"] = self.between(0.8, 1.5)
            if shape == "both":
                rope.update(mscale=self.one(1.0, 0.707, 0.5), mscale_all_dim=self.one(1.0, 0.707, 0.3))
        return rope

    def experts(self, name, most=9):
        count = self.whole(2, most)
        return {name: count, "num_experts_per_tok": self.whole(1, count)}


def llama(d):
    b = d.base()
    return LlamaConfig(**b, rope_parameters=d.rope(), attention_bias=d.maybe(), mlp_bias=d.maybe(0.3)), {}


def mistral(d):
    b = d.base()
    return MistralConfig(**b, rope_parameters=d.rope(), sliding_window=d.one(None, d.window())), {}


def qwen_windows(d):
    slides = d.maybe()
    options = dict(use_sliding_window=slides, sliding_window=d.window(), max_window_layers=d.whole(0, d.layers))
    if slides and d.maybe():
        options["layer_types"] = d.kinds()
    return options


def qwen2(d):
    b = d.base(free_head=False)
    return Qwen2Config(**b, rope_parameters=d.rope(), **qwen_windows(d)), {}


def qwen3(d):
    b = d.base()
    return Qwen3Config(**b, rope_parameters=d.rope(), attention_bias=d.maybe(0.3), **qwen_windows(d)), {}


def qwen3_moe(d):
    b = d.base()
    sparse = dict(decoder_sparse_step=d.one(1, 1, 2), mlp_only_layers=[i for i in range(d.layers) if d.maybe(0.2)])
    return Qwen3MoeConfig(**b, rope_parameters=d.rope(), attention_bias=d.maybe(0.2), moe_intermediate_size=d.whole(5, 20),
                          norm_topk_prob=d.maybe(), **sparse, **d.experts("num_experts")), {}


def qwen2_moe(d):
    b = d.base(free_head=False)
    sparse = dict(decoder_sparse_step=d.one(1, 1, 2), mlp_only_layers=[i for i in range(d.layers) if d.maybe(0.2)])
    return Qwen2MoeConfig(**b, rope_parameters=d.rope(), qkv_bias=d.maybe(0.8), moe_intermediate_size=d.whole(5, 20),
                          shared_expert_intermediate_size=d.whole(5, 30), norm_topk_prob=d.maybe(), **sparse,
                          **d.experts("num_experts")), {}


def mixtral(d):
    b = d.base()
    return MixtralConfig(**b, rope_parameters=d.rope(), sliding_window=d.one(None, d.window()), **d.experts("num_local_experts")), {}


def gemma2(d):
    b = d.base()
    return Gemma2Config(**b, rope_parameters=d.rope(), sliding_window=d.window(), query_pre_attn_scalar=d.one(8, 20, 144, b["head_dim"]),
                        attn_logit_softcapping=d.one(None, 50.0, 2.0), final_logit_softcapping=d.one(None, 30.0, 5.0),
                        hidden_activation="gelu_pytorch_tanh", attention_bias=d.maybe(0.2),
                        **({"layer_types": d.kinds()} if d.maybe() else {})), {}


def gemma3_text(d):
    b = d.base()
    full = d.rope(("default", "linear", "linear", "yarn", "llama3"))
    return Gemma3TextConfig(**b, rope_parameters={FULL: full, SLIDING: {"rope_type": "default", "rope_theta": d.one(1e4, 333.0)}},
                            sliding_window=d.window(), query_pre_attn_scalar=d.one(8, 20, b["head_dim"]),
                            final_logit_softcapping=d.one(None, None, 6.0),
                            layer_types=d.kinds()), {}


def phi3(d):
    b = d.base(free_head=False)
    factor = d.one(1.0, 1.0, 0.75, 0.5)
    rotary = int(d.head * factor)
    if rotary % 2 or rotary < 2:
        factor, rotary = 1.0, d.head
    if rotary % 2:
        return None
    rope, options = {"rope_type": "default", "rope_theta": d.one(1e4, 1e5), "partial_rotary_factor": factor}, {}
    if d.maybe(0.7):
        rope.update(rope_type="longrope", short_factor=[d.between(1, 2) for _ in range(rotary // 2)],
                    long_factor=[d.between(1, 20) for _ in range(rotary // 2)])
        options["original_max_position_embeddings"] = d.one(8, 20, 40, d.maximum)
    return Phi3Config(**b, **options, rope_parameters=rope, sliding_window=d.one(None, None, d.window())), {}


def mla(d):
    b = d.base(free_head=False)
    b["num_key_value_heads"] = b["num_attention_heads"]
    groups = d.one(1, 2, 3, 4)
    per_group = d.whole(2, 4)
    kept = d.whole(1, groups)
    return dict(
        # transformers' V2 views pairs as complex numbers, which needs even strides.
        **b, kv_lora_rank=2 * d.whole(2, 12), q_lora_rank=d.one(None, d.whole(5, 24)), qk_nope_head_dim=2 * d.whole(1, 6),
        qk_rope_head_dim=d.one(2, 4, 6, 8), v_head_dim=d.whole(2, 12), moe_intermediate_size=d.whole(4, 16),
        n_routed_experts=groups * per_group, n_group=groups, topk_group=kept, num_experts_per_tok=d.whole(1, kept * per_group),
        n_shared_experts=d.whole(1, 3), first_k_dense_replace=d.whole(0, d.layers), routed_scaling_factor=d.one(1.0, 2.5, 0.7),
        rope_parameters=d.rope(("default", "yarn", "yarn", "yarn")), attention_bias=d.maybe(0.15))


def deepseek_v2(d):
    b = mla(d)
    b["topk_method"] = d.one("greedy", "group_limited_greedy")
    if b["topk_method"] == "greedy" and d.maybe():
        b.update(n_group=1, topk_group=1)
    return DeepseekV2Config(**b), {}


def deepseek_v3(d):
    b = mla(d)
    return DeepseekV3Config(**b, norm_topk_prob=d.maybe(0.7), rope_interleave=d.maybe(0.8), num_nextn_predict_layers=0), dict(
        quirks=float32_router_bias if d.maybe() else None)


def gpt_oss(d):
    b = d.base(tie=False)
    return GptOssConfig(**b, rope_parameters=d.rope(("default", "yarn", "yarn")), sliding_window=d.window(), attention_bias=d.maybe(0.9),
                        **({"layer_types": d.kinds()} if d.maybe() else {}), **d.experts("num_local_experts", 6)), {}


def olmo2(d):
    b = d.base(free_head=False)
    return Olmo2Config(**b, rope_parameters=d.rope(), attention_bias=d.maybe(0.2)), {}


def olmo3(d):
    b = d.base(free_head=False)
    full = d.rope(("default", "yarn", "yarn", "linear"))
    # The old spelling has one theta; see README.md beside the goldens for what transformers does with another.
    full["rope_theta"] = 5e5
    return Olmo3Config(**b, rope_parameters={FULL: full, SLIDING: {"rope_type": "default", "rope_theta": 5e5}},
                       attention_bias=d.maybe(0.2), sliding_window=d.window(),
                       **({"layer_types": d.kinds()} if d.maybe() else {})), {}


def granite(d):
    b = d.base(free_head=False)
    return GraniteConfig(**b, rope_parameters=d.rope(), attention_bias=d.maybe(0.3), mlp_bias=d.maybe(0.3), **multipliers(d)), {}


def multipliers(d):
    return dict(embedding_multiplier=d.one(1.0, 12.0, d.between(0.5, 4)), logits_scaling=d.one(1.0, 8, d.between(0.5, 4)),
                residual_multiplier=d.one(1.0, d.between(0.2, 1)), attention_multiplier=d.one(0.0078125, d.between(0.1, 0.5)))


def granitemoe(d):
    b = d.base(free_head=False)
    return GraniteMoeConfig(**b, rope_parameters=d.rope(), attention_bias=d.maybe(0.3), **multipliers(d), **d.experts("num_local_experts")), {}


def smollm3(d):
    b = d.base(free_head=False)
    options = dict(no_rope_layer_interval=d.whole(1, 4))
    if d.maybe():
        options["no_rope_layers"] = [d.whole(0, 1) for _ in range(d.layers)]
    if d.maybe(0.4):
        options.update(use_sliding_window=True, sliding_window=d.window())
    return SmolLM3Config(**b, rope_parameters=d.rope(), attention_bias=d.maybe(0.3), mlp_bias=d.maybe(0.3), **options), {}


def layer_norm(b):
    b["layer_norm_eps"] = b.pop("rms_norm_eps")
    return b


def cohere(d):
    b = layer_norm(d.base(free_head=False))
    return CohereConfig(**b, rope_parameters=d.rope(), logit_scale=d.one(0.0625, 1.0, 0.8), use_qk_norm=d.maybe(), attention_bias=d.maybe(0.3)), {}


def cohere2(d):
    b = layer_norm(d.base(free_head=False))
    return Cohere2Config(**b, rope_parameters=d.rope(), logit_scale=d.one(0.0625, 1.0), attention_bias=d.maybe(0.3), sliding_window=d.window(),
                         **({"layer_types": d.kinds()} if d.maybe() else {})), {}


def partial(d, kinds=("default", "default", "linear")):
    rope = d.rope(kinds)
    choices = [f for f in (0.5, 0.25, 0.75, 1.0) if int(d.head * f) >= 2 and int(d.head * f) % 2 == 0]
    rope["partial_rotary_factor"] = d.one(*choices)
    return rope


def glm(d, kind=GlmConfig):
    b = d.base()
    return kind(**b, rope_parameters=partial(d), attention_bias=d.maybe(0.7)), {}


def glm4(d):
    return glm(d, Glm4Config)


def glm4_moe(d):
    b = d.base()
    m = mla(Draw(d.whole(0, 1 << 30)))
    mixture = {key: m[key] for key in ("n_routed_experts", "n_group", "topk_group", "num_experts_per_tok", "n_shared_experts",
                                       "moe_intermediate_size", "routed_scaling_factor")}
    return Glm4MoeConfig(**b, **mixture, rope_parameters=partial(d), attention_bias=d.maybe(), use_qk_norm=d.maybe(),
                         first_k_dense_replace=d.whole(0, d.layers), norm_topk_prob=d.maybe(0.7), num_nextn_predict_layers=0), dict(
        quirks=float32_router_bias)


def seed_oss(d):
    b = d.base()
    return SeedOssConfig(**b, rope_parameters=d.rope(), attention_bias=d.maybe(), attention_out_bias=d.maybe(0.3), mlp_bias=d.maybe(0.2)), {}


def exaone4(d):
    b = d.base()
    window = d.one(None, d.window(), d.window())
    kinds = [FULL] * d.layers if window is None else d.kinds()
    return Exaone4Config(**b, rope_parameters=d.rope(), sliding_window=window, layer_types=kinds), {}


def ernie4_5(d):
    b = d.base()
    return Ernie4_5Config(**b, rope_parameters=d.rope(), use_bias=d.maybe()), {}


def hunyuan_v1_dense(d):
    b = d.base()
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "alpha": d.one(10.0, 1000.0), "factor": 1.0}
    return HunYuanDenseV1Config(**b, rope_parameters=rope if b["head_dim"] > 2 and d.maybe(0.7) else d.rope(("default", "linear")),
                                attention_bias=d.maybe(0.2)), {}


def olmoe(d):
    b = d.base(free_head=False)
    return OlmoeConfig(**b, rope_parameters=d.rope(), clip_qkv=d.one(None, d.between(0.5, 2)), norm_topk_prob=d.maybe(),
                       attention_bias=d.maybe(0.2), **d.experts("num_experts")), {}


FAMILIES = [
    llama, mistral, qwen2, qwen3, qwen3_moe, mixtral, gemma2, gemma3_text, phi3, deepseek_v2, deepseek_v3, gpt_oss, olmo2,
    granite, smollm3, cohere, cohere2, glm4, glm, qwen2_moe, seed_oss, olmo3, exaone4, ernie4_5, hunyuan_v1_dense, olmoe,
    granitemoe, glm4_moe,
]

# Nothing a forward pass depends on, or what names the file.
KEPT = {"architectures", "model_type", "transformers_version", "dtype", "torch_dtype", "vocab_size", "hidden_size", "num_hidden_layers"}


def meaning(folder):
    config = AutoConfig.from_pretrained(folder).to_dict()
    return {key: value for key, value in config.items() if key not in ("transformers_version", "_name_or_path")}


def respell(folder, d, ids, logits):
    """The old spelling half of the time; leaves out keys that equal the default. The reference logits must stay."""
    path = f"{folder}/config.json"
    saved = open(path).read()
    config = json.loads(saved)
    spelling = "new"
    if d.maybe():
        config, spelling = old_spelling(config), "old"
        scaling = config.get("rope_scaling")
        # Half of the old files use the newer key, many both.
        if scaling and "type" in scaling and d.maybe():
            scaling["rope_type"] = scaling["type"]
            if d.maybe():
                del scaling["type"]
    json.dump(config, open(path, "w"), indent=1, sort_keys=True)
    expected = meaning(folder)
    dropped = []
    for key in sorted(set(config) - KEPT):
        if not d.maybe(0.4):
            continue
        value = config.pop(key)
        json.dump(config, open(path, "w"), indent=1, sort_keys=True)
        try:
            same = meaning(folder) == expected
        except Exception:
            same = False
        if same:
            dropped.append(key)
        else:
            config[key] = value
    json.dump(config, open(path, "w"), indent=1, sort_keys=True)
    apart = deviation(logits_of(load(folder), ids), logits)
    if not apart <= 1e-6:
        open(path, "w").write(saved)
        return "new", []
    return spelling, dropped


def variant(out, seed, number, families):
    family = families[number % len(families)]
    for attempt in range(50):
        d = Draw(f"{seed} {number} {attempt}")
        made = family(d)
        if made is None:
            continue
        config, options = made
        folder = os.path.join(out, f"{number:04d}-{family.__name__}")
        length = min(d.one(1, 7, 24, 40, 40), d.maximum)
        try:
            summary = write_family(folder, config, seed=d.whole(0, 1 << 20), length=length, tries=6, **options)
        except RuntimeError as problem:
            if "no seed" in str(problem):
                continue
            raise
        from safetensors.torch import load_file
        ids = json.load(open(f"{folder}/tokens.json"))
        spelling, dropped = respell(folder, d, ids, load_file(f"{folder}/logits.safetensors")["logits"])
        return folder, summary, spelling, dropped
    shutil.rmtree(folder, ignore_errors=True)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2 * len(FAMILIES))
    parser.add_argument("--families", default="", help="comma-separated: only these")
    parser.add_argument("--verbose", action="store_true")
    a = parser.parse_args()
    wanted = [name for name in a.families.split(",") if name]
    families = [f for f in FAMILIES if not wanted or f.__name__ in wanted]
    unknown = set(wanted) - {f.__name__ for f in FAMILIES}
    if unknown:
        sys.exit("unknown families: " + ", ".join(sorted(unknown)))
    os.makedirs(a.out, exist_ok=True)
    written, failed = 0, 0
    for number in range(a.count):
        try:
            made = variant(a.out, a.seed, number, families)
        except Exception as problem:
            failed += 1
            print(f"{number:04d}-{families[number % len(families)].__name__}: not made, {type(problem).__name__}: {str(problem)[:200]}", flush=True)
            continue
        if made is None:
            failed += 1
            print(f"{number:04d}-{families[number % len(families)].__name__}: no steady variant found", flush=True)
            continue
        written += 1
        if a.verbose:
            folder, summary, spelling, dropped = made
            print(os.path.basename(folder), spelling, summary["tokens"], "tokens, left out:", " ".join(dropped), flush=True)
    print(f"{written} folders in {a.out}" + (f", {failed} not made" if failed else ""))


if __name__ == "__main__":
    main()
