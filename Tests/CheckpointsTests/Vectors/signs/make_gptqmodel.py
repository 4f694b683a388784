"""Makes gptq4_gptqmodel.safetensors: a linear with groups of very small weights as GPTQModel packs it.

    OMP_NUM_THREADS=1 python3 make_gptqmodel.py

Versions used: gptqmodel 7.6.0, torch 2.13.0+cpu, safetensors 0.8.0; seed 12. The scale of a group of zeros is 2/15; that of a
group whose weights are all below 2.2e-7 becomes 0 in F16.
"""
import json
import pathlib

import torch
from gptqmodel.nn_modules.qlinear.torch import TorchLinear
from gptqmodel.quantization import QuantizeConfig
from gptqmodel.quantization.quantizer import Quantizer
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
ROWS, COLUMNS, GROUP = 32, 64, 32

torch.manual_seed(12)
weight = torch.randn(ROWS, COLUMNS) * 0.02
weight[0, :GROUP] = 0
weight[1, :GROUP] *= 1e-7
weight[2] *= 1e-9
linear = torch.nn.Linear(COLUMNS, ROWS, bias=False)
linear.weight.data = weight.clone()
scales, zeros = [], []
for start in range(0, COLUMNS, GROUP):
    quantizer = Quantizer(QuantizeConfig(bits=4, group_size=GROUP, sym=True))
    quantizer.configure(perchannel=True)
    quantizer.find_params(weight[:, start : start + GROUP].clone(), weight=True)
    scales.append(quantizer.scale)
    zeros.append(quantizer.zero)
groups = torch.arange(COLUMNS, dtype=torch.int32) // GROUP
module = TorchLinear(
    bits=4, group_size=GROUP, sym=True, desc_act=False, in_features=COLUMNS, out_features=ROWS, bias=False,
    pack_dtype=torch.int32, register_buffers=True)
module.pack(linear, torch.cat(scales, 1), torch.cat(zeros, 1), groups)
parts = {name: tensor.clone() for name, tensor in module.state_dict().items()}
codes = torch.stack([(parts["qweight"] >> shift) & 15 for shift in range(0, 32, 4)], 1).flatten(0, 1)
expected = ((codes - 8).float() * parts["scales"].float()[groups.long()]).T
# In memory GPTQModel keeps zero points as the second version of the format does.
assert (parts["qzeros"] & 0xFFFFFFFF == 0x88888888).all()
module.post_init()
assert torch.equal(expected.half(), module.dequantize_weight().T.half())
print({name: (t.dtype, tuple(t.shape)) for name, t in parts.items()}, "zero", (parts["scales"] == 0).sum().item())
tensors = {"compressed." + part: tensor.contiguous() for part, tensor in parts.items()}
save_file(tensors | {"expected_dequant": expected.contiguous()}, HERE / "gptq4_gptqmodel.safetensors")
path = HERE / "configurations.json"
kept = json.loads(path.read_text()) if path.exists() else {}
kept["gptq4_gptqmodel"] = {
    "quant_method": "gptq", "bits": 4, "group_size": GROUP, "sym": True, "desc_act": False, "checkpoint_format": "gptq_v2"}
path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
