"""Writes components.json: small tokenizers for every component we read, with what the reference library does.

Made with Python 3.11 and tokenizers 0.23.3:   python make_vectors.py [components.json] [number of random texts]
The models are trained here on fixed texts; every case overlays one of them with components.
"""
import json
import random
import sys

import tokenizers
from tokenizers import Tokenizer, models, trainers, pre_tokenizers

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
OUT = sys.argv[1] if len(sys.argv) > 1 else "components.json"
EXTRA = int(sys.argv[2]) if len(sys.argv) > 2 else 0
random.seed(20240607)

CORPUS = [
    "The quick brown fox jumps over the lazy dog. It's what they'll say: don't, we've, I'm, he'd!",
    "Hello world, hello there. 12345 67 890 1,000.50  two  spaces   three\n\nlines\r\nand\ttabs",
    "def f(x):\n    return x ** 2 # comment\n\nclass A:\n        pass", "naïve café Ünïcödé Straße Ωμέγα привет мир",
    "日本語のテキスト 中文字符 한국어 텍스트", "abababab aaaaaaaa bcbcbc abcabc",
] * 3
TEXTS = [
    "", " ", "Hello world", "  the  quick", "I'LL don't  x we'\u017f", "abc12345 67½Ⅷ²", "foo()\r\n\r\n bar \n",
    "e\u0301 \u00e9 cafe\u0301 \uac00\u11a8 \u1112\u1161\u11ab \u212b\u0344", "日本語のテキスト 中文、한국어!", "🦙👨‍👩‍👧\u200d x🏽",
    "a\u00a0b\u2028c\u3000d\u0085e\u1680f\ufeffg\u200bh", "<s>hi</s> <x> <x><y>lo  <mask>  word<w> <w> a<w>b _<w>",
    "▁x ▁▁y <0x0A> x\n\n", "ÀÉ İ ẞ ΑΣ Ǆ DŽ ﬁ №", "$100 + (a_b)=[c]; \u2014 «q» ~`^|", "が か\u3099 aaaaa abababab bcbcbc aaaaaaaaa",
    "\t\tx \u0000\u0007 \u0301start", "ab<pad>", "x\u07fbz \U0001f999\U00013000 \ue000 \u0378 \u11938 \u32ff",
]
POOL = list("abcdeABC 12'stx  \n\r\t.,!?<>_-") + ["'ll", "'S", "é", "e\u0301", "\u0301", "日", "の", "한", "\u11a8", "\uac00", "½", "▁", "🦙",
    "\u200d", "\u00a0", "\u3000", "\u0085", "\u2028", "<s>", "</s>", "<x>", "<x><y>", "<w>", "<mask>", "ſ", "İ", "ﬁ", "\u0000", "\u1e9b\u0323", "^", "$", "«"]
for _ in range(EXTRA):
    TEXTS.append("".join(random.choice(POOL) for _ in range(random.randint(1, 24))))

def trained(tokenizer, size, **options):
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=size, show_progress=False, **options))
    return json.loads(tokenizer.to_str())["model"]

byte_level = Tokenizer(models.BPE())
byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
BYTES = trained(byte_level, 420, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))

marked = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
marked.pre_tokenizer = pre_tokenizers.Metaspace()
MARKED = trained(marked, 600, special_tokens=["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)])

plain = Tokenizer(models.BPE(unk_token="<unk>"))
plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
PLAIN = trained(plain, 200, special_tokens=["<unk>"], limit_alphabet=60)

suffixed = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
suffixed.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
SUFFIXED = trained(suffixed, 200, special_tokens=["<unk>"], end_of_word_suffix="</w>")

prefixed = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"))
prefixed.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
PREFIXED = trained(prefixed, 260, special_tokens=["<unk>"], continuing_subword_prefix="##")

MODELS = {
    "bytes": BYTES, "marked": MARKED, "plain": PLAIN, "suffixed": SUFFIXED, "prefixed": PREFIXED,
}
def spaced(model):
    return dict(model, merges=[" ".join(m) for m in model["merges"]])
DERIVED = {  # the test builds these from their base: smaller file
    "bytes-ignoring-merges": ("bytes", dict(ignore_merges=True)),
    "plain-fused": ("plain", dict(fuse_unk=True)), "plain-silent": ("plain", dict(unk_token=None)),
    "bytes-old": ("bytes", dict(merges="spaced")),
}

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
HEAD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
DEEP = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}
def regex(text, *rest): return split({"Regex": text}, *rest)
def string(text, *rest): return split({"String": text}, *rest)
def level(prefix=False, use_regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}
def seq(kind, *items):
    key = {"n": "normalizers", "p": "pretokenizers", "d": "decoders", "o": "processors"}[kind]
    return {"type": "Sequence", key: list(items)}
def token(id, content, **flags):
    base = dict(id=id, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return dict(base, **flags)
def meta(scheme, split, **more):
    return dict({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}, **more)
def replace(a, b): return {"type": "Replace", "pattern": {"String": a}, "content": b}
DB = level(True, True)
PREPEND = {"type": "Prepend", "prepend": "▁"}
LEGACY = seq("n", PREPEND, replace(" ", "▁"))
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
SPM = seq("d", replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}, STRIP)
def template(*single, **ids):
    return {"type": "TemplateProcessing", "single": [
        {"Sequence": {"id": "A", "type_id": 0}} if s == "A" else {"SpecialToken": {"id": s, "type_id": 0}} for s in single],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {k: {"id": k, "ids": v, "tokens": [k] * len(v)} for k, v in ids.items()}}

N, M, P = len(BYTES["vocab"]), len(MARKED["vocab"]), len(PLAIN["vocab"])
SP = [token(0, "<unk>"), token(1, "<s>"), token(2, "</s>")]
CASES = []
def case(name, model, **parts): CASES.append(dict(name=name, model=model, **parts))

case("gpt2", "bytes", pre_tokenizer=level(False, True), decoder=DB, added_tokens=[token(N, "<s>"), token(N + 1, "</s>", special=False)])
case("gpt2 with a prefix space", "bytes", pre_tokenizer=level(True, True), decoder=DB, added_tokens=[token(N, "<s>")])
case("gpt2 as a split", "bytes-old", pre_tokenizer=seq("p", regex(GPT2), level()), decoder=DB)
case("llama3", "bytes-ignoring-merges", pre_tokenizer=seq("p", regex(HEAD + r"\p{N}{1,3}" + TAIL), level()), decoder=DB,
     added_tokens=[token(N, "<s>"), token(N + 1, "<x>")], post_processor=seq("o", DB, template("<s>", "A", **{"<s>": [N]})))
case("qwen2", "bytes", normalizer={"type": "NFC"}, pre_tokenizer=seq("p", regex(HEAD + r"\p{N}" + TAIL), level()), decoder=DB)
for name, deep in [("deepseek", DEEP), ("deepseek, escaped", DEEP.replace('"', '\\"'))]:
    case(name, "bytes", pre_tokenizer=seq("p", regex(r"\p{N}{1,3}"), regex("[一-龥぀-ゟ゠-ヿ]+"), regex(deep), level()), decoder=DB)
case("o200k", "bytes", pre_tokenizer=seq("p", regex(O200K), level()), decoder=DB)
for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
    for invert in [False, True]:
        case(f"split string {behavior} {invert}", "bytes", pre_tokenizer=seq("p", string(" ", behavior, invert), level()), decoder=DB)
    case(f"split regex {behavior}", "bytes", pre_tokenizer=seq("p", regex(r"[a-e]|\s", behavior), level()), decoder=DB)
    case(f"punctuation {behavior}", "plain", pre_tokenizer={"type": "Punctuation", "behavior": behavior}, decoder=None)
    case(f"known pattern {behavior}", "bytes", pre_tokenizer=seq("p", regex(r"\p{N}{1,3}", behavior, True), level()), decoder=DB)
case("foreign words", "plain", pre_tokenizer=regex(r"\w+|[^\w\s]+"), decoder=None)
case("foreign non-words", "plain", pre_tokenizer=regex(r"\W+"), decoder=None)
case("foreign lines", "plain", pre_tokenizer=regex(r"^.+$"), decoder=None)
case("foreign lookbehind", "plain", pre_tokenizer=regex(r"(?<=[a-z])\d+|(?i:straße|hello)|\d(?=\d)"), decoder=None)
case("foreign empty matches", "plain", pre_tokenizer=regex(r"x*"), decoder=None)
case("whitespace", "plain", pre_tokenizer={"type": "Whitespace"}, decoder=None)
case("whitespace split", "plain-fused", pre_tokenizer={"type": "WhitespaceSplit"}, decoder=None)
case("digits", "plain", pre_tokenizer=seq("p", {"type": "WhitespaceSplit"}, {"type": "Digits", "individual_digits": True}), decoder=None)
case("digits together", "plain-silent", pre_tokenizer=seq("p", {"type": "Digits", "individual_digits": False}, {"type": "WhitespaceSplit"}), decoder={"type": "Fuse"})
case("suffix", "suffixed", pre_tokenizer={"type": "WhitespaceSplit"}, decoder=None)
case("prefix", "prefixed", pre_tokenizer={"type": "WhitespaceSplit"}, decoder=None)
case("llama2", "marked", normalizer=LEGACY, decoder=SPM, added_tokens=SP, post_processor=template("<s>", "A", "</s>", **{"<s>": [1], "</s>": [2]}))
case("llama2, normalized added tokens", "marked", normalizer=LEGACY, decoder=SPM, added_tokens=[dict(t, normalized=True) for t in SP])
case("gemma", "marked", normalizer=replace(" ", "▁"), pre_tokenizer=string(" ", "MergedWithPrevious"), added_tokens=SP,
     decoder=seq("d", replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}))
for scheme in ["first", "always", "never"]:
    for s in [False, True]:
        case(f"metaspace {scheme} {s}", "marked", pre_tokenizer=meta(scheme, s), decoder=meta(scheme, s), added_tokens=SP)
case("metaspace, old", "marked", pre_tokenizer={"type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True},
     decoder={"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}, added_tokens=SP)
case("metaspace after a split", "marked", pre_tokenizer=seq("p", string("x", "Removed"), meta("first", True)), decoder=meta("first", True))
case("metaspace between words", "marked", normalizer={"type": "Strip", "strip_left": True, "strip_right": False},
     pre_tokenizer=seq("p", {"type": "WhitespaceSplit"}, meta("first", False)), decoder=SPM)
case("added tokens", "bytes", pre_tokenizer=level(False, True), decoder=DB, added_tokens=[
    token(N, "<s>"), token(N + 1, "</s>", special=False), token(N + 2, "<x>"), token(N + 3, "<x><y>"), token(N + 4, "<mask>", lstrip=True),
    token(N + 5, "<pad>", rstrip=True), token(N + 6, "<w>", single_word=True), token(N + 7, "  "), token(N + 8, "\n", rstrip=True, lstrip=True)])
case("added tokens in normalized text", "bytes", normalizer=seq("n", {"type": "Lowercase"}, replace("ll", "L")), pre_tokenizer=level(False, True), decoder=DB,
     added_tokens=[token(N, "HELLO", normalized=True), token(N + 1, "QUICK", normalized=False), token(N + 2, "<W>", normalized=True, single_word=True),
                   token(N + 3, "THE", normalized=True, lstrip=True, rstrip=True, special=False)])
case("added tokens of two kinds", "bytes", pre_tokenizer=level(False, True), decoder=DB,
     added_tokens=[token(N, "<x>", normalized=True), token(N + 1, "<x><y>", normalized=True, rstrip=True), token(N + 2, "<s>hi"), token(N + 3, "が")])
for form in ["NFC", "NFD", "NFKC", "NFKD"]:
    case(form, "bytes", normalizer={"type": form}, pre_tokenizer=level(False, True), decoder=DB)
case("lowercase", "bytes", normalizer={"type": "Lowercase"}, pre_tokenizer=level(False, True), decoder=DB)
case("strip", "bytes", normalizer={"type": "Strip", "strip_left": False, "strip_right": True}, pre_tokenizer=level(False, True), decoder=DB)
case("replace by regex", "bytes", normalizer={"type": "Replace", "pattern": {"Regex": r" {2,}|\s"}, "content": "_-"}, pre_tokenizer=level(False, True), decoder=DB)
case("prepend each", "marked", normalizer=seq("n", PREPEND, {"type": "NFKC"}, PREPEND), pre_tokenizer=meta("never", True), decoder=SPM, added_tokens=SP)
case("no pre-tokenizer", "bytes", decoder=DB)
case("decoder of steps", "marked", normalizer=LEGACY, added_tokens=SP,
     decoder=seq("d", {"type": "Strip", "content": "▁", "start": 2, "stop": 1}, {"type": "ByteFallback"}, replace("l", "L"), {"type": "Fuse"}, {"type": "Strip", "content": "o", "start": 0, "stop": 1}))
case("template of several ids", "bytes", pre_tokenizer=level(False, True), decoder=DB, added_tokens=[token(N, "<s>"), token(N + 1, "</s>")],
     post_processor=template("</s>", "A", "<s>", "</s>", **{"<s>": [N, 7], "</s>": [N + 1]}))

def build(c):
    name = c["model"]
    base, changes = DERIVED.get(name, (name, {}))
    model = dict(MODELS[base], **{k: v for k, v in changes.items() if v != "spaced"})
    if changes.get("merges") == "spaced":
        model = spaced(model)
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": c.get("added_tokens", []),
            "normalizer": c.get("normalizer"), "pre_tokenizer": c.get("pre_tokenizer"), "post_processor": c.get("post_processor"),
            "decoder": c.get("decoder"), "model": model}

# Special tokens with normalized=True are not known for special when this version decodes: we filter them ourselves.
# Strip with a stop crashes the reference where nothing is left; such answers are left out.
def without_panic(action):
    try:
        return action()
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return None

for c in CASES:
    t = Tokenizer.from_str(json.dumps(build(c)))
    rows = []
    special = {i for i, a in t.get_added_tokens_decoder().items() if a.special}
    for i, text in enumerate(TEXTS):
        ids = t.encode(text, add_special_tokens=False).ids
        full = t.encode(text, add_special_tokens=True).ids
        noise = [(7 * k * k + i) % (max(t.get_vocab().values()) + 1) for k in range(6)]
        row = {"ids": ids}
        for key, given, skip in [("decoded", ids, False), ("skipped", [i for i in full if i not in special], False), ("noise", noise, False)]:
            decoded = without_panic(lambda: t.decode(given, skip_special_tokens=skip))
            usual = {"decoded": text, "skipped": row.get("decoded", text), "noise": None}[key]
            if decoded is None or decoded != usual:  # null: it crashed; missing: as usual
                row[key] = decoded
        if full != ids:
            row["full"] = full
        if t.pre_tokenizer is not None:
            row["pieces"] = [p for p, _ in t.pre_tokenizer.pre_tokenize_str(t.normalizer.normalize_str(text) if t.normalizer else text)]
        rows.append(row)
    c["rows"] = rows

document = {"tokenizers": tokenizers.__version__, "texts": TEXTS, "models": MODELS,
            "derived": {k: {"base": b, "changes": c} for k, (b, c) in DERIVED.items()}, "cases": CASES}
with open(OUT, "w", encoding="utf-8") as f:
    json.dump(document, f, ensure_ascii=False, separators=(",", ":"))
    f.write("\n")
