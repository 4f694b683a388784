"""Makes gptq4_autoround and ct_w4_autoround.safetensors: a linear as AutoRound writes it in two layouts.

    OMP_NUM_THREADS=1 python3 make_autoround.py

Versions used: auto-round 0.15.1, compressed-tensors 0.19.0, torch 2.13.0+cpu, transformers 5.17.0, safetensors 0.8.0; the
model's seed is 11, AutoRound's 42. Where the weight of the largest magnitude in a group is positive, AutoRound makes the
scale negative, so that this weight gets the code -8, which has no partner.
"""
import json
import pathlib
import tempfile

import torch
from auto_round import AutoRound
from auto_round_extension.torch.qlinear_torch_zp import QuantLinear
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationScheme
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
LINEAR = "model.layers.0.mlp.up_proj"
ROWS, COLUMNS, GROUP = 32, 64, 32


def source():
    """A model of one layer, with groups of zeros and of very small weights."""
    torch.manual_seed(11)
    config = LlamaConfig(
        vocab_size=64, hidden_size=COLUMNS, intermediate_size=ROWS, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64)
    model = LlamaForCausalLM(config).float().eval()
    with torch.no_grad():
        weight = model.get_submodule(LINEAR).weight
        weight[0, :GROUP] = 0
        weight[1] = 0
        weight[2, GROUP:] *= 1e-9
    return model


def export(layout):
    """The tensors of the linear and the configuration that AutoRound writes."""
    vocabulary = models.WordLevel({f"t{i}": i for i in range(64)}, unk_token="t0")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(vocabulary), unk_token="t0", pad_token="t0", eos_token="t0")
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(0, 64, (1, 32), generator=generator) for _ in range(8)]
    rounder = AutoRound(
        source(), tokenizer, scheme="W4A16", sym=True, group_size=GROUP, iters=2, dataset=texts, nsamples=8, seqlen=32,
        batch_size=4, device_map="cpu", amp=False, seed=42)
    with tempfile.TemporaryDirectory() as folder:
        rounder.quantize_and_save(folder, format=layout)
        config = next(pathlib.Path(folder).rglob("config.json"))
        tensors = load_file(next(pathlib.Path(folder).rglob("model.safetensors")))
        configuration = json.loads(config.read_text())["quantization_config"]
    prefix = LINEAR + "."
    return {name[len(prefix):]: t for name, t in tensors.items() if name.startswith(prefix)}, configuration


def fields(words, axis):
    """The eight 4-bit fields of each int32 along an axis, lowest first."""
    return torch.stack([(words >> shift) & 15 for shift in range(0, 32, 4)], dim=axis + 1).flatten(axis, axis + 1)


def gptq(parts):
    """(code - zero) * scale, and what AutoRound's own linear takes for its weights."""
    codes, zeros = fields(parts["qweight"], 0), fields(parts["qzeros"], 1) + 1
    groups = torch.arange(COLUMNS) // GROUP
    linear = QuantLinear(4, GROUP, COLUMNS, ROWS, False, g_idx="g_idx" in parts)
    linear.load_state_dict(parts, strict=False)
    linear.post_init()
    own = linear(torch.eye(COLUMNS, dtype=torch.float16)).T
    return ((codes - zeros[groups]).float() * parts["scales"].float()[groups]).T, own


def packed(parts, configuration):
    """The same of compressed-tensors."""
    codes = fields(parts["weight_packed"], 1) - 8
    scales = parts["weight_scale"].float().repeat_interleave(GROUP, 1)
    scheme = QuantizationScheme.model_validate(next(iter(configuration["config_groups"].values())))
    return codes.float() * scales, PackedQuantizationCompressor.decompress(dict(parts), scheme)["weight"]


def main():
    configurations = {}
    for name, layout in {"gptq4_autoround": "auto_gptq", "ct_w4_autoround": "llm_compressor"}.items():
        parts, configuration = export(layout)
        expected, own = gptq(parts) if layout == "auto_gptq" else packed(parts, configuration)
        # The libraries give F16.
        assert own.dtype == torch.float16 and torch.equal(expected.half(), own), name
        scales = parts["scales" if layout == "auto_gptq" else "weight_scale"]
        print(name, {part: (t.dtype, tuple(t.shape)) for part, t in parts.items()}, "negative", (scales < 0).sum().item())
        tensors = {"compressed." + part: tensor.contiguous() for part, tensor in parts.items()}
        tensors["expected_dequant"] = expected.contiguous()
        save_file(tensors, HERE / f"{name}.safetensors")
        configurations[name] = configuration
    path = HERE / "configurations.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(kept | configurations, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":  # It may start processes, which import this file again.
    main()
