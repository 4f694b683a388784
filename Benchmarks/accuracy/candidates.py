"""Who is compared: our own candidates and the peers, each in one line.

`kind` says with whom a candidate is compared: only what stores the same kind of thing is held against each other in
the list of goals. Everything goes into the table and the plot.
"""

from typing import NamedTuple


class Candidate(NamedTuple):
    """One way to make a model small."""

    name: str
    """Names its folder in the work folder."""
    tool: str
    label: str
    kind: str
    arguments: tuple
    """Ours: options of `quantize run`. Peers: what follows MODEL WINDOWS OUT for the tool's script."""


OURS = "quantize"


def ours(name, label, kind, options):
    return Candidate("ours-" + name, OURS, label, kind, tuple(options.split()))


OUR_CANDIDATES = [
    *(
        ours(
            f"w4-g{group}-{method.replace('+', '-')}", f"W4 g{group} {name}", f"W4 g{group}",
            f"--scheme W4A16_ASYM --method {method} --group-size {group}")
        for group in (128, 32)
        for method, name in (("rtn", "RTN"), ("awq", "AWQ"), ("gptq", "GPTQ"), ("awq+gptq", "AWQ+GPTQ"))
    ),
    ours("w8", "W8 per channel", "W8", "--scheme W8A16 --method rtn"),
    ours("fp8-dynamic", "FP8_DYNAMIC GPTQ", "FP8_DYNAMIC", "--scheme FP8_DYNAMIC --method gptq"),
    ours("fp8-block", "FP8_BLOCK GPTQ", "FP8_BLOCK", "--scheme FP8_BLOCK --method gptq"),
    *(ours(f"ec-{bits}", f"EC {bits}", "EC", f"--scheme EC --bits {bits}") for bits in (2.5, 3, 3.5, 4, 5, 6)),
]

LLM_COMPRESSOR, AUTOROUND, GPTQMODEL, NNCF, LLAMA_CPP = "llm-compressor", "AutoRound", "GPTQModel", "NNCF", "llama.cpp"

VERSIONS = {
    LLM_COMPRESSOR: "0.14.0.1",
    AUTOROUND: "0.15.1",
    GPTQMODEL: "7.6.0",
    NNCF: "3.4.0, OpenVINO 2026.4.1",
    LLAMA_CPP: "ggml 0.25.3, as in llama-cpp-python 0.3.36",
}

SCRIPTS = {
    LLM_COMPRESSOR: "llmcompressor_peer.py",
    AUTOROUND: "autoround_peer.py",
    GPTQMODEL: "gptqmodel_peer.py",
    NNCF: "nncf_peer.py",
    LLAMA_CPP: "llamacpp_peer.py",
}

PEERS = [
    Candidate("lc-rtn", LLM_COMPRESSOR, "RTN asym", "W4 g128", ("rtn", "W4A16_ASYM")),
    Candidate("lc-gptq-sym", LLM_COMPRESSOR, "GPTQ sym", "W4 g128", ("gptq", "W4A16")),
    Candidate("lc-gptq", LLM_COMPRESSOR, "GPTQ asym", "W4 g128", ("gptq", "W4A16_ASYM")),
    Candidate("lc-awq", LLM_COMPRESSOR, "AWQ asym", "W4 g128", ("awq", "W4A16_ASYM")),
    Candidate("lc-awq-gptq", LLM_COMPRESSOR, "AWQ+GPTQ asym", "W4 g128", ("awq+gptq", "W4A16_ASYM")),
    Candidate("lc-fp8-dynamic", LLM_COMPRESSOR, "FP8_DYNAMIC", "FP8_DYNAMIC", ("rtn", "FP8_DYNAMIC")),
    Candidate("lc-fp8-block", LLM_COMPRESSOR, "FP8_BLOCK", "FP8_BLOCK", ("rtn", "FP8_BLOCK")),
    Candidate("autoround-sym", AUTOROUND, "SignRound sym", "W4 g128", ("sym", "200")),
    Candidate("autoround-asym", AUTOROUND, "SignRound asym", "W4 g128", ("asym", "200")),
    Candidate("gptqmodel-sym", GPTQMODEL, "GPTQ sym", "W4 g128", ("sym",)),
    Candidate("nncf-awq-se", NNCF, "AWQ+SE asym", "W4 g128", ("awq+se", "asym")),
    Candidate("nncf-gptq", NNCF, "GPTQ asym", "W4 g128", ("gptq", "asym")),
    *(
        Candidate("llamacpp-" + type_.lower(), LLAMA_CPP, type_, "GGUF", (type_,))
        for type_ in ("Q2_K", "Q3_K_M", "IQ4_XS", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0")
    ),
]

SKIPPED = {
    ("pocket-deepseek", NNCF): "NNCF: the experts of transformers cannot be traced into an OpenVINO graph as they are",
    ("stories260K", "W4 g128"): "widths 64 and 172: no group of 128 divides them",
    ("stories260K", "GGUF"): "widths 64 and 172: the blocks of 256 divide neither, and 32 not the second",
    ("stories260K", "FP8_BLOCK"): "widths 64 and 172 are not made of blocks of 128",
    ("babyllama-tok361", "W4 g128"): "width 352: no group of 128 divides it",
    ("babyllama-tok361", "GGUF"): "widths 128 and 352: the blocks of 256 divide neither",
    ("babyllama-tok361", "FP8_BLOCK"): "width 352 is not made of blocks of 128",
}
"""Why a peer, or the peers of a kind, have no row for a model; ours take a smaller group there and say so."""
