"""ONNX Runtime's MatMulNBits: 4-bit weights, in one graph of as many products as read enough memory. See kernels.py.

Groups of 128 have zero points, as ours do; groups of 32 have none, which is how they are usually made for it. int8 is
accuracy_level 4, float is accuracy_level 1.
"""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from timing import CHECKED, arguments, copies, exact, fields, report

options = arguments()
rows, columns, group = options.out_features, options.in_features, options.group
groups = columns // group
zero_points = group == 128
weight_bytes = rows * columns // 2 + 4 * rows * groups + (rows * ((groups + 1) // 2) if zero_points else 0)
products = copies(options, weight_bytes)
random = np.random.default_rng(0)

nodes, tensors, outputs = [], [], []
for index in range(products):
    codes = random.integers(0, 256, (rows, groups, group // 2), dtype=np.uint8)
    scales = (random.random((rows, groups), dtype=np.float32) + 0.5) * 0.01
    zeros = random.integers(0, 256, (rows, (groups + 1) // 2), dtype=np.uint8)
    parts = {f"codes{index}": codes, f"scales{index}": scales.reshape(-1)}
    if zero_points:
        parts[f"zeros{index}"] = zeros.reshape(-1)
    tensors += [numpy_helper.from_array(values, name) for name, values in parts.items()]
    nodes.append(helper.make_node(
        "MatMulNBits", ["x", *parts], [f"y{index}"], domain="com.microsoft", K=columns, N=rows, bits=4,
        block_size=group, accuracy_level=4 if options.activations == "int8" else 1))
    outputs.append(helper.make_tensor_value_info(f"y{index}", TensorProto.FLOAT, [options.rows, rows]))
x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [options.rows, columns])
model = helper.make_model(
    helper.make_graph(nodes, "products", [x], outputs, tensors),
    opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)], ir_version=10)
settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads = options.threads
settings.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
del model, tensors

# Input and outputs stay where they are, so that a call copies nothing.
binding = session.io_binding()
values = random.standard_normal((options.rows, columns), dtype=np.float32)
binding.bind_cpu_input("x", values)
found = [np.empty((options.rows, rows), np.float32) for _ in range(products)]
for index, output in enumerate(found):
    binding.bind_output(f"y{index}", "cpu", 0, np.float32, output.shape, output.ctypes.data)
centres = fields(zeros[:CHECKED])[:, :groups, None] if zero_points else 8.0
expected = exact(values, fields(codes[:CHECKED]), centres, scales[:CHECKED, :, None])
report(lambda: session.run_with_iobinding(binding), lambda: found[-1], expected, products, weight_bytes,
       options.seconds, version=onnxruntime.__version__)
