#!/usr/bin/env python3
"""Writes the files of this folder with the real compressed_tensors library: see README.md.

Run with Python compressed-tensors 0.19.0, safetensors 0.8.0 and torch 2.13 (CPU); the output is the same every time:

    python3 make_layouts.py FOLDER

FOLDER is shared/facts/fixtures/quant, whose compressed_tensors 0.20.0 files are copied here without their source weights.
"""
import json
import sys
from pathlib import Path

import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig
from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize
from compressed_tensors.quantization.quant_scheme import PRESET_SCHEMES
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
FIXTURES = Path(sys.argv[1])
COPIED = ["ct_w4_sym_g32", "ct_w4_asym_g32", "ct_w4_channel", "ct_w8_sym_g32", "ct_fp8", "ct_fp8_dynamic"]


def save(tensors, name):
    save_file({key: value.contiguous() for key, value in tensors.items()}, HERE / f"{name}.safetensors")


def copies():
    index = json.loads((FIXTURES / "index.json").read_text())
    configurations = {}
    for name in COPIED:
        tensors = load_file(FIXTURES / f"{name}.safetensors")
        save({key: value for key, value in tensors.items() if key != "source"}, name)
        configurations[name] = index[name]["config"]
    return configurations


def block():
    """FP8 with blocks that the matrix has no whole number of."""
    torch.manual_seed(3)
    weight = torch.randn(40, 80)
    rows, columns = 16, 32
    args = QuantizationArgs(num_bits=8, type="float", strategy="block", block_structure=[rows, columns])
    tiles = [
        [weight[r : r + rows, c : c + columns] for c in range(0, weight.shape[1], columns)]
        for r in range(0, weight.shape[0], rows)
    ]
    low = torch.tensor([[tile.min() for tile in line] for line in tiles])
    high = torch.tensor([[tile.max() for tile in line] for line in tiles])
    scale, zero = calculate_qparams(low, high, args)
    codes = quantize(weight, scale, zero, args, dtype=torch.float8_e4m3fn)
    expected = dequantize(codes, scale, zero, args)
    save({"compressed.weight": codes, "compressed.weight_scale": scale, "expected_dequant": expected}, "ct_fp8_block")
    config = {
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": json.loads(args.model_dump_json())}},
        "quant_method": "compressed-tensors", "format": "float-quantized", "quantization_status": "compressed",
    }
    return json.loads(QuantizationConfig.model_validate(config).model_dump_json())


def packing():
    """Codes and zero points of every width, and what the library packs them to."""
    torch.manual_seed(4)
    tensors = {}
    for bits in range(2, 9):
        for rows, columns, groups in [(1, 1, 1), (9, 16, 2), (17, 43, 3)]:
            low, high = -(2 ** (bits - 1)), 2 ** (bits - 1)
            codes = torch.randint(low, high, (rows, columns), dtype=torch.int8)
            zeros = torch.randint(low, high, (rows, groups), dtype=torch.int8)
            name = f"w{bits}.{rows}x{columns}."
            tensors[name + "codes"] = codes
            tensors[name + "zeros"] = zeros
            tensors[name + "weight_packed"] = pack_to_int32(codes, bits)
            tensors[name + "weight_zero_point"] = pack_to_int32(zeros, bits, packed_dim=0)
    save(tensors, "packing")


def parameters():
    """Scales and zero points by the library's formulas, in float32."""
    torch.manual_seed(5)
    weight = torch.randn(24, 32)
    weight[0] = weight[0].abs() + 2
    weight[1] = -weight[1].abs() - 2
    weight[2] *= 1e-3
    weight[3, 5] = 40
    weight[4, 5] = -40
    tensors = {"weight": weight}
    low, high = weight.min(dim=1, keepdim=True).values, weight.max(dim=1, keepdim=True).values
    for bits in (2, 3, 4, 5, 8):
        for symmetric in (True, False):
            args = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, strategy="channel")
            scale, zero = calculate_qparams(low, high, args)
            codes = quantize(weight, scale, None if symmetric else zero, args, dtype=torch.int8)
            name = f"w{bits}.{'sym' if symmetric else 'asym'}."
            tensors |= {name + "scale": scale, name + "zero": zero.to(torch.int8), name + "codes": codes}
    save(tensors, "parameters")


def presets():
    """The library's own presets as `config.json` holds them."""
    result = {}
    formats = {"W": "pack-quantized", "F": "float-quantized", "MXFP4": "mxfp4-pack-quantized",
               "MXFP8": "mxfp8-quantized", "NVFP4": "nvfp4-pack-quantized", "W8A8": "int-quantized"}
    for name in ("W4A16", "W4A16_ASYM", "W8A16", "FP8", "FP8_DYNAMIC", "FP8_BLOCK", "W8A8", "MXFP8A16", "MXFP8", "NVFP4A16",
                 "NVFP4", "MXFP4A16", "MXFP4"):
        args = {key: value.model_dump() for key, value in PRESET_SCHEMES[name].items()}
        config = QuantizationConfig(
            config_groups={"group_0": {"targets": ["Linear"], **args}}, quantization_status="compressed",
            format=formats.get(name[:5], formats.get(name[0])), ignore=["lm_head"])
        result[name] = json.loads(config.model_dump_json())
    return result


configurations = copies() | {"ct_fp8_block": block()}
packing()
parameters()
text = json.dumps({"files": configurations, "presets": presets()}, indent=1, sort_keys=True)
(HERE / "configurations.json").write_text(text + "\n")
