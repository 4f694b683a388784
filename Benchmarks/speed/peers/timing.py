"""How a peer's product is timed and checked, and what both peers are told: see kernels.py, which starts them."""

import argparse
import json
import math
import statistics
import time

import numpy as np

CYCLED = 120e6  # Bytes of weights that one row reads before it meets the same ones again: several times a large L3.
CHECKED = 8  # Output features that are computed once more to say how far the product is from exact.


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out-features", type=int, required=True)
    parser.add_argument("--in-features", type=int, required=True)
    parser.add_argument("--rows", type=int, required=True, help="rows of activations")
    parser.add_argument("--group", type=int, required=True)
    parser.add_argument("--activations", choices=["int8", "float"], required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    return parser.parse_args()


def copies(options, weight_bytes):
    """Matrices to multiply one after another, so that few rows read memory; many rows need one only."""
    return 1 if options.rows > 8 else max(2, math.ceil(CYCLED / weight_bytes))


def fields(packed):
    """The 4-bit fields of bytes, the lower first, along the last axis."""
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1).astype(np.float64)


def exact(x, codes, zeros, scales):
    """`x` [rows, in] times the first output features; codes [out, groups, group], zeros and scales [out, groups, 1]."""
    weight = (codes - zeros) * scales
    return x.astype(np.float64) @ weight.reshape(len(weight), -1).T


def report(run, output, expected, products, weight_bytes, seconds, **facts):
    """Prints the median time of one of the products that a call of `run` does, warmed up for a fifth of the time.

    `output` is called once for what the last product gave, [rows, out], of which `expected` is the beginning.
    """
    started = time.perf_counter()
    while True:
        run()
        if time.perf_counter() - started > seconds / 5:
            break
    found = output()[:, : expected.shape[1]]
    error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    times = []
    started = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
    print(json.dumps({
        "seconds": statistics.median(times) / products, "best": min(times) / products, "calls": len(times),
        "products": products, "bytes": weight_bytes, "error": error, **facts}))
