"""Writes chats.json: what Jinja makes of chat templates, for the dialogues below.

Made with Python 3.11 and Jinja2 3.1.6, set up as transformers 5.17 does:   python make_chats.py [FOLDER ...]
The templates of chat-templates.json are in the file; of those of a FOLDER (the shared folder's), only the name is, and
`null` stands where a template raised. `python make_chats.py --check OUT FOLDER` writes everything for any folder of
.jinja files: so real templates that cannot be in the repository are compared by hand.
"""
import datetime
import json
import sys

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

assert jinja2.__version__ == "3.1.6", jinja2.__version__


class Refusal(Exception):
    pass


def refuse(message):
    raise Refusal(message)


def environment():
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    made.filters["tojson"] = lambda x, indent=None, **_: json.dumps(x, ensure_ascii=False, indent=indent)
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = datetime.datetime(2024, 7, 26).strftime
    return made


def turns(*pairs):
    return [{"role": {"s": "system", "u": "user", "a": "assistant"}[role], "content": content} for role, content in pairs]


DIALOGUES = [
    turns(("u", "Hi")),
    turns(("u", "Hi"), ("a", "Hello! How can I help?")),
    turns(("s", "Be brief."), ("u", "Hi"), ("a", "Yes?")),
    turns(("s", "  Be brief. \n"), ("u", "  leading and trailing  "), ("a", "\n\n answer \n"), ("u", "And?\n"), ("a", " So.")),
    turns(("u", "one"), ("a", "two"), ("u", "one"), ("a", "four"), ("u", "five")),
    turns(("s", "S"), ("u", "one"), ("a", "two"), ("u", "one"), ("a", "four"), ("u", "one")),
    turns(("u", "why?"), ("a", "<think>\nbecause\n</think>\n\nSo."), ("u", "and?"), ("a", "<think>hm</think>\nThen."), ("u", "ok"), ("a", "<think>\n\nA</think>B</think>\n\nC\n")),
    turns(("u", "a"), ("u", "b")),
    turns(("a", "first"), ("u", "second")),
    turns(("u", "a"), ("a", "b"), ("s", "late"), ("u", "c")),
    turns(("s", "A"), ("s", "B"), ("u", "c")),
    turns(("s", ""), ("u", ""), ("a", "")),
    turns(("s", "only")),
    turns(("s", "You may /no_think here.  "), ("u", "日本語 e\u0301 🦙\r\n\u3000"), ("a", "\n\x1fcode:\n```\nx < 1\n```\u00a0")),
    turns(("s", "Plain /system_override text "), ("u", "<tool_response>x</tool_response>"), ("a", "<think>t</think>y")),
]


def rendered(template, bos, eos):
    compiled = environment().from_string(template)
    tokens = {k: v for k, v in [("bos_token", bos), ("eos_token", eos)] if v is not None}
    rows = []
    for dialogue in DIALOGUES:
        for prompt in [False, True]:
            try:
                rows.append(compiled.render(messages=dialogue, tools=None, documents=None, add_generation_prompt=prompt, **tokens))
            except (Refusal, TypeError, jinja2.exceptions.TemplateError):
                rows.append(None)
    return rows


def of_folder(folder, with_text):
    import pathlib
    entries = []
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        text = path.read_text("utf-8")
        entries.append(dict(name=path.name, bos="<BOS>", eos="<EOS>", rows=rendered(text, "<BOS>", "<EOS>"), **({"template": text} if with_text else {})))
    return entries


arguments = sys.argv[1:]
check = arguments[:1] == ["--check"]
if check:
    out, entries = arguments[1], of_folder(arguments[2], True)
else:
    out, entries = "chats.json", []
    with open("chat-templates.json", encoding="utf-8") as f:
        for entry in json.load(f):
            text = "".join(entry["template"])
            entries.append(dict(name=entry["name"], form=entry["form"], template=text, bos=entry.get("bos"), eos=entry.get("eos"),
                                rows=rendered(text, entry.get("bos"), entry.get("eos"))))
    for folder in arguments:
        entries += of_folder(folder, False)
# Most rows of most templates are alike: each text once.
texts = []
places = {}
for entry in entries:
    for index, row in enumerate(entry["rows"]):
        if row is not None:
            entry["rows"][index] = places.setdefault(row, len(places))
document = {"jinja2": jinja2.__version__, "dialogues": [[[m["role"], m["content"]] for m in d] for d in DIALOGUES], "texts": list(places), "templates": entries}
with open(out, "w", encoding="utf-8") as f:
    json.dump(document, f, ensure_ascii=False, separators=(",", ":"))
    f.write("\n")
