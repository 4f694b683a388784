"""OpenVINO's CPU plugin: u4 weights with zero points, in one graph of as many products as read enough memory.

int8 is the plugin's own choice, which is dynamic quantization where the processor has the instructions it wants; float
switches that off. See kernels.py.
"""

import numpy as np
import openvino
from openvino import opset13

from timing import CHECKED, arguments, copies, exact, fields, report

options = arguments()
rows, columns, group = options.out_features, options.in_features, options.group
groups = columns // group
# The plugin keeps scales in 32 bits, whatever the graph has.
weight_bytes = rows * columns // 2 + 4 * rows * groups + rows * groups // 2
products = copies(options, weight_bytes)
random = np.random.default_rng(0)


def packed(codes, last):
    tensor = openvino.Tensor(openvino.Type.u4, openvino.Shape([rows, groups, last]))
    tensor.data.reshape(-1)[:] = codes
    return opset13.convert(opset13.constant(tensor), np.float16)


x = opset13.parameter([-1, columns], np.float32)
results = []
for _ in range(products):
    codes = random.integers(0, 256, rows * columns // 2, dtype=np.uint8)
    zeros = random.integers(0, 256, rows * groups // 2, dtype=np.uint8)
    scales = ((random.random((rows, groups, 1)) + 0.5) * 0.01).astype(np.float16)
    weight = opset13.multiply(
        opset13.subtract(packed(codes, group), packed(zeros, 1)), opset13.constant(scales))
    weight = opset13.reshape(weight, opset13.constant(np.array([rows, columns], np.int64)), False)
    results.append(opset13.result(opset13.matmul(x, opset13.convert(weight, np.float32), False, True)))
settings = {"INFERENCE_NUM_THREADS": options.threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
if options.activations == "float":
    settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "0"
compiled = openvino.Core().compile_model(openvino.Model(results, [x]), "CPU", settings)
request = compiled.create_infer_request()
values = random.standard_normal((options.rows, columns), dtype=np.float32)
request.set_input_tensor(openvino.Tensor(values))

used = fields(codes)[: CHECKED * columns].reshape(CHECKED, groups, group)
centres = fields(zeros)[: CHECKED * groups].reshape(CHECKED, groups, 1)
expected = exact(values, used, centres, scales[:CHECKED])
report(request.infer, lambda: request.get_output_tensor(products - 1).data, expected, products, weight_bytes,
       options.seconds, version=openvino.__version__.split("-")[0],
       precision=str(compiled.get_property("INFERENCE_PRECISION_HINT")),
       dynamic_quantization_group=int(compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")))
