"""Makes floats.safetensors: weights, and what compressed-tensors makes of them in its narrow float formats.

    python3 make_floats.py

Versions used: compressed-tensors 0.19.0, torch 2.13.0+cpu, safetensors 0.8.0; seed 4. Scales are those of the library's
min-max observer: no search. `SCHEME.tensor` is the stored tensor, `SCHEME.decoded` what the library reads it as.
"""
import pathlib

import torch
from compressed_tensors.compressors.mxfp4.base import MXFP4PackedCompressor
from compressed_tensors.compressors.mxfp8.base import MXFP8QuantizationCompressor
from compressed_tensors.compressors.nvfp4.base import NVFP4PackedCompressor
from compressed_tensors.quantization import QuantizationScheme, preset_name_to_scheme
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from safetensors.torch import save_file

torch.manual_seed(4)
rows, columns = 24, 64
# Rows of many sizes; one of small numbers, whose scales are subnormal beside those of the rest.
weight = torch.randn(rows, columns) * torch.logspace(-3, 2, rows)[:, None]
weight[3] *= 1e-3
weight[5, :16] = 0
result = {"weight": weight}
for name, compressor in {
    "MXFP4A16": MXFP4PackedCompressor, "NVFP4A16": NVFP4PackedCompressor, "MXFP8A16": MXFP8QuantizationCompressor,
}.items():
    scheme: QuantizationScheme = preset_name_to_scheme(name, ["Linear"])
    args = scheme.weights
    groups = weight.reshape(rows, -1, args.group_size)
    low, high = groups.amin(-1), groups.amax(-1)
    state = {"weight": weight}
    if name.startswith("NV"):
        state["weight_global_scale"] = generate_gparam(weight.min(), weight.max())
    scale, _ = calculate_qparams(low, high, args, global_scale=state.get("weight_global_scale"))
    state["weight_scale"] = scale
    packed = compressor.compress(state, scheme)
    for part, tensor in packed.items():
        if part == "weight_scale" and tensor.dtype == torch.float8_e4m3fn:
            tensor = tensor.view(torch.uint8)
        if part == "weight" and tensor.dtype == torch.float8_e4m3fn:
            tensor = tensor.view(torch.uint8)
        result[f"{name}.{part}"] = tensor.contiguous()
    decoded = compressor.decompress(packed, scheme)["weight"]
    result[f"{name}.decoded"] = decoded.float().contiguous()
save_file(result, pathlib.Path(__file__).parent / "floats.safetensors")
for key, value in result.items():
    print(key, value.dtype, tuple(value.shape))
