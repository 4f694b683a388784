"""GPTQModel 7.6.0: GPTQ, 4 bits in groups of 128, its defaults otherwise, on the CPU.

usage: gptqmodel_peer.py MODEL WINDOWS.json OUT [sym|asym]
"""

import json
import os
import sys

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")

import torch
from gptqmodel import GPTQModel, QuantizeConfig

source, windows, out = sys.argv[1:4]
symmetric = sys.argv[4] != "asym" if len(sys.argv) > 4 else True
with open(windows) as file:
    windows = json.load(file)
settings = QuantizeConfig(bits=4, group_size=128, sym=symmetric, device="cpu")
model = GPTQModel.load(source, settings, dtype=torch.float32)
rows = [{"input_ids": window, "attention_mask": [1] * len(window)} for window in windows]
model.quantize(rows, batch_size=1)
model.save(out)
