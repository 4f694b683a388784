"""NNCF 3.4.0 with OpenVINO 2026.4.1: INT4 in groups of 128, AWQ with scale estimation, or GPTQ with scale estimation.

usage: nncf_peer.py MODEL WINDOWS.json OUT awq+se|gptq|gptq+se|awq+gptq|rtn [asym|sym]

The model is traced in float32 and compressed with its embedding left alone. What every MatMul multiplies with is then
evaluated by OpenVINO itself, scales that AWQ put on an activation are multiplied back into the columns, and the result
is written as a float32 folder; one window through both must agree, or nothing is written.
"""

import json
import os
import sys

import nncf
import numpy as np
import openvino as ov
import torch
from transformers import AutoModelForCausalLM

from hf_folder import read_source, write_folder

source, windows, out, method = sys.argv[1:5]
symmetry = sys.argv[5] if len(sys.argv) > 5 else "asym"
with open(windows) as file:
    windows = [np.array([window]) for window in json.load(file)]


class Logits(torch.nn.Module):
    """Token ids to logits, nothing else; the causal mask is given, for the one transformers makes cannot be traced."""

    def __init__(self, model, length):
        super().__init__()
        self.model = model
        mask = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)
        self.register_buffer("mask", mask[None, None], persistent=False)
        self.register_buffer("positions", torch.arange(length)[None], persistent=False)

    def forward(self, input_ids):
        return self.model(
            input_ids=input_ids, attention_mask=self.mask, position_ids=self.positions, use_cache=False
        ).logits


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def constants_below(node, found):
    """Constants that a weight is computed from."""
    if node.get_type_name() == "Constant":
        found[node.get_friendly_name()] = node
    for value in node.input_values():
        constants_below(value.get_node(), found)
    return found


def is_constant(node):
    return node.get_type_name() == "Constant" or (
        node.get_type_name() != "Parameter"
        and len(node.input_values()) > 0
        and all(is_constant(value.get_node()) for value in node.input_values())
    )


def evaluate(core, values):
    results = [ov.opset13.result(value) for value in values]
    compiled = core.compile_model(ov.Model(results, [], "constants"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    infer = compiled.create_infer_request()
    infer.infer({})
    return [infer.get_output_tensor(index).data.astype(np.float32).copy() for index in range(len(values))]


def main():
    with torch.no_grad():
        ids = torch.from_numpy(windows[0])
        graph = ov.convert_model(Logits(load(source), ids.shape[1]), example_input={"input_ids": ids})
    dataset = nncf.Dataset(windows, lambda ids: {graph.inputs[0].get_any_name(): ids})
    parts = method.split("+")
    data = {} if method == "rtn" else dict(dataset=dataset, subset_size=len(windows))
    graph = nncf.compress_weights(
        graph,
        mode=nncf.CompressWeightsMode.INT4_ASYM if symmetry == "asym" else nncf.CompressWeightsMode.INT4_SYM,
        ratio=1.0,
        group_size=128,
        backup_mode=nncf.BackupMode.NONE,
        awq="awq" in parts or None,
        scale_estimation="se" in parts or None,
        gptq="gptq" in parts or None,
        **data,
    )
    core = ov.Core()
    tensors = read_source(source)
    names = {name[: -len(".weight")] for name in tensors if name.endswith(".weight")}
    weights, linear_bytes, kinds = {}, 0, {}
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        path = node.get_friendly_name().split("/")[0].removeprefix("__module.").removeprefix("model.")
        name = next((name for name in names if name == path or name.endswith("." + path)), None)
        if name is None or not name.startswith("model.layers."):
            continue
        weight = node.input_value(1)
        constants = constants_below(weight.get_node(), {})
        for constant in constants.values():
            kind = constant.get_element_type()
            if constant.get_byte_size() > 64:
                linear_bytes += constant.get_byte_size()
                kinds[kind.get_type_name()] = kinds.get(kind.get_type_name(), 0) + 1
        decoded = evaluate(core, [weight])[0]
        if not node.get_attributes()["transpose_b"]:
            decoded = decoded.T
        producer = node.input_value(0).get_node()
        if producer.get_type_name() == "Multiply" and "awq" in producer.get_friendly_name():
            factor = next(value for value in producer.input_values() if is_constant(value.get_node()))
            decoded = decoded * evaluate(core, [factor])[0].reshape(1, -1)
            linear_bytes += 4 * decoded.shape[1]
        weights[name + ".weight"] = torch.from_numpy(np.ascontiguousarray(decoded))
    write_folder(source, out + ".partial", tensors, weights)
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"})
    expected = compiled(windows[1])[0]
    with torch.no_grad():
        found = load(out + ".partial")(input_ids=torch.from_numpy(windows[1])).logits.numpy()
    error = float(np.abs(found - expected).max() / expected.std())
    print("linears", len(weights), "constants", kinds, "largest difference of logits", error)
    if error > 0.02:
        raise SystemExit("the decoded weights do not compute what the compressed graph computes")
    rest = sum(tensor.numel() * 2 for name, tensor in tensors.items() if name not in weights)
    sizes = {
        "linear_bytes": linear_bytes,
        "file_bytes": linear_bytes + rest,
        "embedding": "F16",
        "types": kinds,
    }
    with open(os.path.join(out + ".partial", "sizes.json"), "w") as file:
        json.dump(sizes, file)
    os.rename(out + ".partial", out)


main()
