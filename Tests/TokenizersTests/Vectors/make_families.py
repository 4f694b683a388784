"""Writes families.json: the pipelines of published model families over two small models, and the reference's answers.

Made with Python 3.11 and tokenizers 0.23.3:   python make_families.py FOLDER-OF-TEXTS [families.json]
FOLDER-OF-TEXTS has wikitext2-test.txt and sanguo-zh.txt; the two models are trained on their first 300 kB.
An answer is the FNV-1a hash (32 bits, over each id as four little-endian bytes) of a text's ids: a list would be too
large. `python make_families.py FOLDER - NAME INDEX` prints a text and its tokens.
"""
import json
import random
import sys

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
FOLDER = sys.argv[1]
OUT = sys.argv[2] if len(sys.argv) > 2 else "families.json"
random.seed(20250711)

CORPUS = []
for name, size in [("wikitext2-test.txt", 200_000), ("sanguo-zh.txt", 100_000)]:
    with open(f"{FOLDER}/{name}", "rb") as f:
        CORPUS += f.read(size).decode("utf-8", "ignore").splitlines(keepends=True)
CORPUS += ["def f(x):\n    return x ** 2  # IT'S\n\n\nclass HTTPServer:\n\tpass\r\n", "naïve Ünïcödé Привет, ελληνικά 한국어 ひらがな カタカナ हिन्दी"] * 40


def trained(tokenizer, size, **options):
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=size, show_progress=False, **options))
    return json.loads(tokenizer.to_str())["model"]


byte_level = Tokenizer(models.BPE())
byte_level.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Split(tokenizers.Regex(r"\p{N}{1,3}| ?\p{L}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
BYTES = trained(byte_level, 256 + 700, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
marked = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
marked.pre_tokenizer = pre_tokenizers.Metaspace()
# A few runs that cross words, as Gemma's line ends do, come with the added tokens.
MARKED = trained(marked, 1100, limit_alphabet=400, special_tokens=["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)])

POOL = ["the ", " The", "and", " in", "HTTPServer", "iPhone", "XMLHttp", "McDonald", "ÉCOLE", "Straße", "ǅur", "ʰa", "ªb", "'s", "'S", "'ll", "'LL", "’s", "don't", "IT'S", "we'ſ",
        " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u0085", "\u2028", "1", "12", "1234567", "3.14", "½", "Ⅷ", "٣", "²", "1,000", ".", ",", "!", "?!", "...", "—", "“q”", "(x)",
        "[y]", "{z}", "<", ">", "$", "€", "+", "=", "_", "/", "//", "\\", "#", "@", "日本", "の", "カタ", "中文", "。", "，", "！", "한국", "हिन्दी", "e\u0301", "é", "\u0301", "क\u094d", "ไทย",
        "🦙", "👨\u200d👩", "🏽", "\u200d", "\u200b", "\ufeff", "\u0000", "\x1f", "▁", "▁▁", "ﬁ", "\u212b", "\u11a8", "<s>", "</s>", "<unk>", "<0x0A>", "<|user|>", "<|im_start|>", "<|im_end|>", "[INST]",
        "[/INST]", "<start_of_turn>", "<think>", "<｜User｜>", "µ", "Ꭰ", "ꭰ", "ⴀ", "𐐀", "𝒳", "ᏸ", "〇", "龥", "鿿", "㐀", "가", "힣", "ㄅ", "ㄱ", "～", "‘", "　", "！", "／"]
TEXTS = ["", " ", "\n", "Hello world", " Hello", "  Hello", "a" * 60, " " * 40 + "x", "1" * 20, "\n" * 9 + " \n x"]
TEXTS += ["".join(random.choice(POOL) for _ in range(random.randint(1, 14))) for _ in range(290)]
lines = [line.strip() for line in CORPUS if 20 < len(line.strip()) < 160]
TEXTS += random.sample(lines, 20)


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def regex(text, *rest): return split({"Regex": text}, *rest)


def level(use_regex=False):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def pre(*items): return {"type": "Sequence", "pretokenizers": list(items)}


def token(content, **flags):
    base = dict(content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return dict(base, **flags)


CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CL100K = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL
QWEN35 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def cased(contractions, digits):
    lead = r"[^\r\n\p{L}\p{N}]?"
    return "|".join([lead + UPPER + "*" + LOWER + "+" + contractions, lead + UPPER + "+" + LOWER + "*" + contractions,
                     digits, r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])


O200K = cased(CONTRACTIONS + "?", r"\p{N}{1,3}")
TEKKEN = cased("", r"\p{N}")
# Of each case, with sets that leave out the Han characters.
KIMI = "|".join([r"[\p{Han}]+", O200K.replace(UPPER, UPPER[:-1] + r"&&[^\p{Han}]]").replace(LOWER, LOWER[:-1] + r"&&[^\p{Han}]]")])
# The cased letters, in Unicode's order; some of them would be lost if this file were normalized.
LATIN = ("A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c"
         "\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a"
         "\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3"
         "\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149"
         "\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17"
         "\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943")
IDEOGRAPHS = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
DEEPSEEK_LLM = [regex("[\r\n]"), regex(rf"\s?[{LATIN}]+"), regex("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"), regex(r"\s+$"), regex(IDEOGRAPHS)]
DEEPSEEK_V3 = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""


def digits(each): return {"type": "Digits", "individual_digits": each}


def replace(a, b): return {"type": "Replace", "pattern": {"String": a}, "content": b}


NFC = {"type": "NFC"}
DB = dict(level(True), add_prefix_space=True)
LEGACY = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")]}
FALLBACK = [replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
SPM = {"type": "Sequence", "decoders": FALLBACK + [STRIP]}
BOS = [token("<unk>"), token("<s>"), token("</s>")]
CHATML = [token("<|im_start|>"), token("<|im_end|>"), token("<think>", special=False)]


def family(name, model, added, normalizer, pre_tokenizer, decoder=None, **changes):
    return dict(name=name, model=model, added_tokens=added, normalizer=normalizer, pre_tokenizer=pre_tokenizer,
                decoder=decoder or (DB if model == "bytes" else SPM), changes=changes)


FAMILIES = [
    family("llama2, mistral 7B 0.1, yi", "marked", BOS, LEGACY, None),
    family("mistral 7B 0.3", "marked", BOS + [token("[INST]"), token("[/INST]")], None,
           {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}),
    family("mistral nemo and small (tekken)", "bytes", BOS + [token("[INST]"), token("[/INST]")], None, pre(regex(TEKKEN), level()), ignore_merges=True),
    family("llama3, smollm3, glm4, exaone4", "bytes", CHATML, None, pre(regex(CL100K), level()), ignore_merges=True),
    family("llama4, gpt-oss (o200k)", "bytes", CHATML, None, pre(regex(O200K), level())),
    family("qwen2, qwen3", "bytes", CHATML, NFC, pre(regex(QWEN2), level())),
    family("qwen3.5", "bytes", CHATML, NFC, pre(regex(QWEN35), level())),
    family("gemma", "marked", BOS + [token("<start_of_turn>"), token("\n\n", special=False), token("▁▁", special=False), token("<0x0A>", special=False)],
           replace(" ", "▁"), split({"String": " "}, "MergedWithPrevious"), {"type": "Sequence", "decoders": FALLBACK}),
    family("phi3", "marked", [token("<unk>"), token("<s>"), token("</s>", rstrip=True), token("<|user|>", rstrip=True), token("<|im_end|>", rstrip=True)], LEGACY, None),
    family("phi4, olmo2", "bytes", [token("<|im_start|>", lstrip=True, rstrip=True), token("<|im_end|>", lstrip=True, rstrip=True)], None,
           pre(regex(CL100K, "Removed", True), level())),
    family("olmo, falcon-mamba (gpt-2 with NFC)", "bytes", [token("<|user|>", normalized=True, special=False)], NFC, level(True)),
    family("deepseek llm", "bytes", [token("<｜User｜>", normalized=True, special=False)], None, pre(*DEEPSEEK_LLM, regex(r"\p{N}+"), level())),
    family("deepseek v2", "bytes", [token("<｜User｜>", normalized=True, special=False)], None, pre(*DEEPSEEK_LLM, digits(True), level())),
    family("deepseek coder", "bytes", [], {"type": "Sequence", "normalizers": []},
           pre(regex("[\r\n]"), regex(r"\s?\p{L}+"), regex(r"\s?\p{P}+"), regex(IDEOGRAPHS), digits(True), level())),
    family("deepseek v3, r1, hunyuan", "bytes", [token("<｜User｜>"), token("<think>", special=False)], {"type": "Sequence", "normalizers": []},
           pre(regex(r"\p{N}{1,3}"), regex("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), regex(DEEPSEEK_V3), level())),
    family("granite, starcoder, smollm, exaone", "bytes", CHATML, None, pre(digits(True), level(True))),
    family("cohere", "bytes", CHATML, NFC, pre(digits(True), level(True))),
    family("falcon", "bytes", [], None, pre({"type": "Punctuation", "behavior": "Contiguous"}, level(True), digits(False), regex("[0-9][0-9][0-9]"))),
    family("seed", "bytes", [], None, pre(regex(CONTRACTIONS + "|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"), level())),
    family("ling (cl100k as tiktoken spells it)", "bytes", [], None,
           pre(regex(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"), level())),
    family("exaone moe", "bytes", [], None,
           pre(regex(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"), level())),
    family("kimi k2", "bytes", [], None, pre(regex(KIMI), level())),
    family("aya", "bytes", [], NFC, pre(regex(r"\d{1,3}(?=(?:\d{3})*\b)"), regex(O200K), level())),
    family("bloom", "bytes", [], None, pre(regex(r" ?[^(\s|.,!?…。，、।۔،)]+"), level())),
]

for f in FAMILIES:
    vocabulary = (BYTES if f["model"] == "bytes" else MARKED)["vocab"]
    next_id = max(vocabulary.values()) + 1
    f["added_tokens"] = [dict(entry) for entry in f["added_tokens"]]
    for entry in f["added_tokens"]:
        if entry["content"] in vocabulary:
            entry["id"] = vocabulary[entry["content"]]
        else:
            entry["id"] = next_id
            next_id += 1


def build(f):
    model = dict(BYTES if f["model"] == "bytes" else MARKED, **f["changes"])
    return Tokenizer.from_str(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": f["added_tokens"], "normalizer": f["normalizer"],
        "pre_tokenizer": f["pre_tokenizer"], "post_processor": None, "decoder": f["decoder"], "model": model}))


def fnv(data):
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


if len(sys.argv) > 4:
    chosen = next(f for f in FAMILIES if f["name"].startswith(sys.argv[3]))
    text = TEXTS[int(sys.argv[4])]
    encoding = build(chosen).encode(text, add_special_tokens=False)
    print(repr(text), encoding.ids, encoding.tokens)
    sys.exit()

for f in FAMILIES:
    tokenizer = build(f)
    rows = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    f["ids"] = "".join("%08x" % fnv(b"".join(i.to_bytes(4, "little") for i in row)) for row in rows)
    texts = [tokenizer.decode(row, skip_special_tokens=False) for row in rows]
    f["decoded"] = "".join("%08x" % fnv(text.encode()) for text in texts)
    f["first"] = rows[3]

document = {"tokenizers": tokenizers.__version__, "texts": TEXTS, "models": {"bytes": BYTES, "marked": MARKED}, "families": FAMILIES}
with open(OUT, "w", encoding="utf-8") as f:
    json.dump(document, f, ensure_ascii=False, separators=(",", ":"))
    f.write("\n")
