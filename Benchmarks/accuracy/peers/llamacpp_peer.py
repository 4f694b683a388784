"""llama.cpp (ggml 0.25.3, in the source distribution of llama-cpp-python 0.3.36): convert, imatrix, quantize, decode.

usage: llamacpp_peer.py MODEL WINDOWS.json OUT TYPE --source LLAMA_CPP_SOURCE --build LLAMA_CPP_BUILD --work FOLDER

llama.cpp's own converter, llama-imatrix and llama-quantize do the work. Two things are arranged around them:

* The converter knows pre-tokenizers by a hash and refuses others; it is told `qwen2`, which the pocket models use. A
  Llama-style tokenizer without tokenizer.model gets the spelled-out vocabulary of the next point.
* llama-imatrix reads text, which would be cut into other windows than everybody else's. It gets a copy of the model
  whose token 17 is spelled `<|17|>`, a special token, and the windows spelled that way: so it sees the very ids.

OUT/model.gguf is the quantized file. OUT/model.safetensors holds its weights decoded to float32, with everything but
the linears of the blocks taken from MODEL (llama.cpp quantizes the embedding too); OUT-whole/ the same with all of its
weights decoded. OUT/sizes.json says what the linears and the file occupy.
"""

import argparse
import json
import os
import subprocess
import sys

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("windows")
parser.add_argument("out")
parser.add_argument("type")
parser.add_argument("--source", required=True)
parser.add_argument("--build", required=True)
parser.add_argument("--work", required=True)
options = parser.parse_args()
sys.path[:0] = [options.source, os.path.join(options.source, "gguf-py")]

import gguf
import torch
from conversion import ModelBase, ModelType, get_model_architecture, get_model_class
from pathlib import Path

from hf_folder import read_source, write_folder


def convert(out, spelled):
    """The model as GGUF, its tokens spelled by number if `spelled`."""
    folder = Path(options.model)
    settings = ModelBase.load_hparams(folder, False)
    family = get_model_class(get_model_architecture(settings, ModelType.TEXT))

    def numbered(self):
        count = self.hparams["vocab_size"]
        self.gguf_writer.add_tokenizer_model("gpt2")
        self.gguf_writer.add_tokenizer_pre("gpt-2")
        self.gguf_writer.add_token_list([f"<|{index}|>" for index in range(count)])
        self.gguf_writer.add_token_types([gguf.TokenType.CONTROL] * count)
        self.gguf_writer.add_token_merges(["a b"])
        self.gguf_writer.add_add_bos_token(False)

    class Arranged(family):
        model_arch = family.model_arch

        def get_vocab_base_pre(self, tokenizer):
            return "qwen2"

        def set_vocab(self):
            numbered(self) if spelled else self._set_vocab_gpt2()

    full = settings.get("torch_dtype", settings.get("dtype")) == "float32"
    kind = gguf.LlamaFileType.ALL_F32 if full else gguf.LlamaFileType.MOSTLY_BF16
    with torch.inference_mode():
        Arranged(folder, kind, Path(out)).write()


def importance(path):
    """The importance matrix of the windows, by llama-imatrix."""
    with open(options.windows) as file:
        windows = json.load(file)
    length = len(windows[0])
    if any(len(window) != length for window in windows):
        raise SystemExit("llama-imatrix takes windows of one length only")
    spelled = os.path.join(options.work, "spelled.gguf")
    convert(spelled, spelled=True)
    text = os.path.join(options.work, "spelled.txt")
    with open(text, "w") as file:
        file.write("".join(f"<|{token}|>" for window in windows for token in window))
    run("llama-imatrix", "-m", spelled, "-f", text, "-o", path, "-c", str(length), "-b", str(length),
        "-ub", str(length), "--parse-special", "--no-ppl", "-t", "1", "-ngl", "0")


def run(program, *arguments):
    subprocess.run([os.path.join(options.build, "bin", program), *arguments], check=True)


def linears(reader):
    """Decoded weights of the blocks' linears under their names in MODEL, and the bytes they occupy."""
    with open(os.path.join(options.model, "config.json")) as file:
        config = json.load(file)
    names = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj", "attn_q_a": "self_attn.q_a_proj", "attn_q_b": "self_attn.q_b_proj",
        "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa", "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
        "ffn_up_shexp": "mlp.shared_experts.up_proj", "ffn_down_shexp": "mlp.shared_experts.down_proj",
    }
    experts = {"ffn_gate_exps": "gate_proj", "ffn_up_exps": "up_proj", "ffn_down_exps": "down_proj"}
    weights, split, bytes_, types = {}, {}, 0, {}
    for tensor in reader.tensors:
        parts = tensor.name.split(".")
        if parts[0] != "blk" or parts[-1] != "weight" or parts[2] not in {
            **names, **experts, "attn_k_b": "", "attn_v_b": ""
        }:
            continue
        bytes_ += int(tensor.n_bytes)
        types[tensor.tensor_type.name] = types.get(tensor.tensor_type.name, 0) + 1
        decoded = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).astype("float32").copy())
        decoded = decoded.reshape([int(extent) for extent in reversed(tensor.shape)])
        layer = f"model.layers.{parts[1]}."
        kind = parts[2]
        if kind in experts:
            for index, expert in enumerate(decoded):
                weights[f"{layer}mlp.experts.{index}.{experts[kind]}.weight"] = expert.contiguous()
        elif kind in ("attn_k_b", "attn_v_b"):
            split[layer, kind] = decoded
        else:
            if kind in ("attn_q", "attn_k") and config["model_type"] == "llama":
                # The converter interleaves the two halves of each head for its rotary embedding.
                heads = config["num_attention_heads" if kind == "attn_q" else "num_key_value_heads"]
                rows = decoded.shape[0] // heads
                decoded = decoded.reshape(heads, rows // 2, 2, -1).transpose(1, 2).reshape(decoded.shape)
            weights[f"{layer}{names[kind]}.weight"] = decoded.contiguous()
    for layer in {layer for layer, _ in split}:
        # Keys were transposed to be absorbed into the query; values stand as they were.
        keys = split[layer, "attn_k_b"].transpose(1, 2)
        both = torch.cat([keys, split[layer, "attn_v_b"]], dim=1)
        weights[f"{layer}self_attn.kv_b_proj.weight"] = both.reshape(-1, both.shape[-1]).contiguous()
    return weights, bytes_, types


def main():
    os.makedirs(options.work, exist_ok=True)
    os.makedirs(options.out, exist_ok=True)
    base = os.path.join(options.work, "base.gguf")
    matrix = os.path.join(options.work, "imatrix.gguf")
    if not os.path.exists(base):
        try:
            convert(base + ".partial", spelled=False)
        except (FileNotFoundError, TypeError, NotImplementedError, AttributeError, KeyError) as error:
            print(f"the tokenizer is spelled out by number: {error}", file=sys.stderr)
            convert(base + ".partial", spelled=True)
        os.rename(base + ".partial", base)
    if not os.path.exists(matrix):
        importance(os.path.join(options.work, "partial.gguf"))
        os.rename(os.path.join(options.work, "partial.gguf"), matrix)
    out = os.path.join(options.out, "model.gguf")
    run("llama-quantize", "--imatrix", matrix, base, out, options.type, "1")
    reader = gguf.GGUFReader(out)
    weights, linear_bytes, types = linears(reader)
    source = read_source(options.model)
    write_folder(options.model, options.out, source, weights)
    embedding = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight")
    decoded = gguf.dequantize(embedding.data, embedding.tensor_type).astype("float32").copy()
    weights["model.embed_tokens.weight"] = torch.from_numpy(decoded).reshape(source["model.embed_tokens.weight"].shape)
    write_folder(options.model, options.out + "-whole", source, weights)
    sizes = {
        "linear_bytes": linear_bytes,
        "file_bytes": os.path.getsize(out),
        "embedding": embedding.tensor_type.name,
        "types": types,
    }
    for folder in (options.out, options.out + "-whole"):
        with open(os.path.join(folder, "sizes.json"), "w") as file:
            json.dump(sizes, file)


main()
