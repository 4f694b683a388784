"""Writes shared.json: what the reference decodes from the ids of ../shared/tokenizers/golden.json, and the ids of
the small models' tokenizers for the shorter of its texts.

Made with Python 3.11 and tokenizers 0.23.3:   python make_shared_vectors.py /path/to/shared
"""
import json
import sys

import tokenizers

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
SHARED = sys.argv[1]
golden = json.load(open(SHARED + "/tokenizers/golden.json", encoding="utf-8"))
texts = golden["texts"]
document = {"tokenizers": tokenizers.__version__, "decoded": {}, "models": {}}
for name, rows in golden["ids"].items():
    t = tokenizers.Tokenizer.from_file(f"{SHARED}/tokenizers/{name}/tokenizer.json")
    decoded = {}
    special = {i for i, a in t.get_added_tokens_decoder().items() if a.special}
    for index, (text, ids) in enumerate(zip(texts, rows)):
        assert t.encode(text, add_special_tokens=False).ids == ids
        # This version fails to skip special tokens with normalized=True (Llama 2), so they are filtered here.
        for key, given in [("", ids), ("skipped", [i for i in ids if i not in special])]:
            result = t.decode(given, skip_special_tokens=False)
            if result != text:
                decoded[f"{index}{key}"] = result
    document["decoded"][name] = decoded
for name in ["pocket-qwen2", "pocket-deepseek", "stories260K", "babyllama-tok361"]:
    t = tokenizers.Tokenizer.from_file(f"{SHARED}/models/{name}/tokenizer.json")
    rows = {}
    for index, text in enumerate(texts):
        if len(text) <= 60:
            ids = t.encode(text, add_special_tokens=True).ids
            rows[str(index)] = {"ids": ids, "decoded": t.decode(ids, skip_special_tokens=True)}
    document["models"][name] = rows
with open("shared.json", "w", encoding="utf-8") as f:
    json.dump(document, f, ensure_ascii=False, separators=(",", ":"))
    f.write("\n")
