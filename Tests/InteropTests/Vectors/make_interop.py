"""Makes the files of this folder: an artifact, and what other programs see in it.

    python3 make_interop.py QUANTIZE GOLDEN_LLAMA

QUANTIZE is the built program; GOLDEN_LLAMA a small random Llama in BF16 with tokens.json (made by transformers, seed in
its README). Versions used: transformers 5.17.0, compressed-tensors 0.19.0, torch 2.13.0+cpu, safetensors 0.8.0,
zstd 1.5.4, tar 1.34. Activations stay float: the float8 artifact is opened with its activation scheme taken out, and a second
time with it (`fp8_dynamic.rounded.logits`: the library rounds activations as a runtime does). The library expands float4 to BF16, which rounds products with scales of float8; here
it is told to expand to F32.
"""
import json, pathlib, shutil, subprocess, sys, tempfile

import compressed_tensors.compressors.nvfp4.base as nvfp4
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

unpack = nvfp4.unpack_fp4_from_uint8
nvfp4.unpack_fp4_from_uint8 = lambda packed, rows, columns: unpack(packed, rows, columns, dtype=torch.float32)
linear = torch.nn.functional.linear
torch.nn.functional.linear = lambda x, weight, bias=None: linear(x, weight.to(x.dtype), bias)

quantize, source = sys.argv[1], pathlib.Path(sys.argv[2])
here = pathlib.Path(__file__).parent
ids = json.loads((source / "tokens.json").read_text())
ids = ids if isinstance(ids[0], int) else ids[0]
(here / "tokens.json").write_text(json.dumps(ids) + "\n")
seen = {}
for name, options in {
    "w4a16_asym": ["--scheme", "W4A16_ASYM", "--method", "rtn", "--group-size", "32", "--include", "lm_head"],
    "fp8_dynamic": ["--scheme", "FP8_DYNAMIC", "--method", "rtn", "--ignore", "re:.*down_proj"],
    "nvfp4a16": ["--scheme", "NVFP4A16", "--method", "rtn"],
    "mxfp4a16": ["--scheme", "MXFP4A16", "--method", "rtn"],
}.items():
    artifact = here / f"{name}.tar.zst"
    subprocess.run([quantize, source, "-o", artifact, "--no-verify", "--force", "-q", *options], check=True)
    test = subprocess.run(["zstd", "-t", artifact.name], cwd=here, capture_output=True, text=True, check=True)
    listing = subprocess.run(["tar", "-tf", artifact], capture_output=True, text=True, check=True).stdout.split()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["tar", "-xf", artifact, "-C", folder], check=True)
        with safe_open(f"{folder}/model.safetensors", "pt") as file:
            tensors = {key: [file.get_slice(key).get_dtype(), file.get_slice(key).get_shape()] for key in file.keys()}
        config = pathlib.Path(folder) / "config.json"
        content = json.loads(config.read_text())
        for suffix in [".rounded", ""] if name == "fp8_dynamic" else [""]:
            for group in content["quantization_config"]["config_groups"].values():
                group["input_activations"] = group["input_activations"] if suffix else None
            config.write_text(json.dumps(content))
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0].float().contiguous()
            save_file({"logits": logits}, here / f"{name}{suffix}.logits.safetensors")
    seen[name] = {"zstd -t": test.stderr.strip().split(":")[-1].strip(), "tar -tf": listing, "safetensors": tensors}
(here / "seen.json").write_text(json.dumps(seen, indent=1) + "\n")
