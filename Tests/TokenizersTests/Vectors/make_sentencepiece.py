"""Writes small SentencePiece models and sentencepiece.json: what the reference library makes of awkward texts.

Made with Python 3.11 and sentencepiece 0.2.3:   python make_sentencepiece.py FOLDER-OF-TEXTS
FOLDER-OF-TEXTS has wikitext2-test.txt and sanguo-zh.txt. Training is deterministic; the texts are seeded.
"""
import base64
import io
import json
import random
import sys

import sentencepiece as spm

assert spm.__version__ == "0.2.3", spm.__version__
random.seed(20250712)
LINES = []
for name, size in [("wikitext2-test.txt", 120_000), ("sanguo-zh.txt", 12_000)]:
    with open(f"{sys.argv[1]}/{name}", "rb") as f:
        LINES += [line for line in f.read(size).decode("utf-8", "ignore").splitlines() if line.strip()]

POOL = ["the ", " The", "and", " in", "ing", "ation", "McDonald", "don't", " ", "  ", "    ", "\n", "\n\n", "\t", "1", "12", "1234", ".", ",", "!", "▁", "▁▁", "日", "之", "曹操", "é", "e\u0301", "🦙", "\u200b",
        "<s>", "</s>", "<unk>", "<0x0A>", "<turn>", "<turn><end>", "<tu", "\u00a0", "\u3000", "\u0000", "aaaaaaaaa", "abab", "ſ", "ﬁ", "한"]
TEXTS = ["", " ", "  the  quick ", "hello world", "a" * 50, "the quick" * 9] + ["".join(random.choice(POOL) for _ in range(random.randint(1, 14))) for _ in range(190)]

MODELS = {
    "llama": dict(model_type="bpe", vocab_size=620, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True),
    "gemma": dict(model_type="bpe", vocab_size=620, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=False, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
                  user_defined_symbols=["<turn>", "<turn><end>", "\n\n", "▁▁", "▁▁▁▁"]),
    "plain": dict(model_type="bpe", vocab_size=420, normalization_rule_name="identity"),
    "unigram": dict(model_type="unigram", vocab_size=300, normalization_rule_name="identity"),
}
document = {"sentencepiece": spm.__version__, "texts": TEXTS, "models": {}}
for name, options in MODELS.items():
    out = io.BytesIO()
    corpus = LINES if name in ("llama", "gemma") else [line[:80] for line in LINES if line.isascii()][:300]
    spm.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=out, num_threads=1, minloglevel=2, character_coverage=0.98, **options)
    entry = {"file": base64.b64encode(out.getvalue()).decode()}
    if name != "unigram":
        processor = spm.SentencePieceProcessor(model_proto=out.getvalue())
        rows = [processor.encode(text) for text in TEXTS]
        entry["ids"] = rows
        entry["decoded"] = [processor.decode(row) for row in rows]
    document["models"][name] = entry
with open("sentencepiece.json", "w", encoding="utf-8") as f:
    json.dump(document, f, ensure_ascii=False, separators=(",", ":"))
    f.write("\n")
