"""Calibration windows: the very token ids that `quantize` calibrates with, so that every peer sees the same ones.

The rule is that of Sources/Pipeline/TokenWindows.swift: documents follow a separator token, the whole is cut into
windows without overlap, and the windows used are taken evenly over the text.
"""

import json
import os
import subprocess


def special_tokens(model):
    """The separator, and the token to put before every window or None, as ModelInputs.swift chooses them."""
    with open(os.path.join(model, "config.json")) as file:
        config = json.load(file)
    begin, end = config.get("bos_token_id"), config.get("eos_token_id")
    ends = end if isinstance(end, list) else [end]
    separator = begin if begin is not None else ends[0]
    return separator, None if begin in ends else begin


def calibration_windows(quantize, model, text, samples, length):
    """A list of `samples` lists of `length` token ids."""
    command = [quantize, "tokenize", model, "--text", text]
    ids = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    separator, begin = special_tokens(model)
    if separator is not None and ids[:1] != [separator]:
        ids.insert(0, separator)
    step = length if begin is None else length - 1
    windows = []
    for start in range(0, len(ids), step):
        part = ids[start : start + step]
        windows.append(part if begin is None or part[0] == begin else [begin] + part)
    if len(windows) > 1 and len(windows[-1]) < (length + 1) // 2:
        windows.pop()
    if len(windows) > samples:
        windows = [windows[index * len(windows) // samples] for index in range(samples)]
    return windows
