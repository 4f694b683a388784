"""The plot of one model: KL over bits per weight of the linears, as an SVG that follows light and dark."""

import math
from xml.sax.saxutils import escape

import candidates as listed

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 66, 22, 84, 52

STYLE = """
svg{--page:#ffffff;--ink:#1c2026;--muted:#5d6570;--line:#e6e4dc;--s0:#0065a8;--s1:#b87f00;--s2:#00875f;--s3:#b8528f;\
--s4:#c84e00;--s5:#5b4bb5;font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
@media (prefers-color-scheme:dark){svg{--page:#1a1e24;--ink:#e7e9ec;--muted:#a0a8b3;--line:#333a44;--s0:#58a9ec;\
--s1:#e6b13a;--s2:#2fc79a;--s3:#e38fc4;--s4:#ff8a4c;--s5:#a99cf5}}
.page{fill:var(--page)}text{fill:var(--muted)}.title{fill:var(--ink);font-size:16px;font-weight:600}
.grid{stroke:var(--line);stroke-width:1}.curve{fill:none;stroke:var(--s0);stroke-width:2}
.bound{stroke-width:1.2;opacity:.55}.name{font-size:11px}.own{fill:var(--ink);font-weight:600}
.lead{stroke:var(--line);stroke-width:1}.before{stroke:var(--s0);stroke-width:1.2;opacity:.45}
"""

HUES = {
    listed.OURS: 0, listed.LLM_COMPRESSOR: 1, listed.AUTOROUND: 2, listed.GPTQMODEL: 3, listed.LLAMA_CPP: 4,
    listed.NNCF: 5,
}


class Scale:
    """Maps values to pixels, straight or in their logarithm."""

    def __init__(self, low, high, start, end, logarithmic=False):
        self.map = math.log if logarithmic else float
        self.low, self.high, self.start, self.end = self.map(low), self.map(high), start, end

    def __call__(self, value):
        return self.start + (self.map(value) - self.low) / (self.high - self.low) * (self.end - self.start)


def write(rows, model, path):
    rows = sorted(rows, key=lambda row: row["linear_bits"])
    bits = [row["linear_bits"] for row in rows]
    low = min(row["kl"]["low"] for row in rows) * 0.8
    high = max(row["kl"]["high"] for row in rows) * 1.25
    x = Scale(min(bits) - 0.3, max(bits) + 0.6, LEFT, WIDTH - RIGHT)
    y = Scale(max(low, 1e-6), high, HEIGHT - BOTTOM, TOP, logarithmic=True)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="KL divergence over bits per weight, {escape(model)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="10"/>',
        text(LEFT - 44, 26, f"{model}: KL divergence over bits per weight", "title"),
    ]
    parts += axes(x, y, min(bits), max(bits), max(low, 1e-6), high)
    curve = [(x(row["linear_bits"]), y(row["kl"]["value"])) for row in rows if row["kind"] == "EC"]
    if len(curve) > 1:
        parts.append('<path class="curve" d="M' + " L".join(f"{a:.1f} {b:.1f}" for a, b in curve) + '"/>')
    marks = []
    for row in rows:
        a, b = x(row["linear_bits"]), y(row["kl"]["value"])
        marks.append((a, b, row))
        if row["packed_bits"] > row["linear_bits"] * 1.01 and row["kind"] != "EC":
            before = x(min(row["packed_bits"], max(bits) + 0.5))
            parts.append(f'<line class="before" x1="{a:.1f}" x2="{before:.1f}" y1="{b:.1f}" y2="{b:.1f}"/>')
            parts.append(f'<line class="before" x1="{before:.1f}" x2="{before:.1f}" y1="{b - 4:.1f}" y2="{b + 4:.1f}"/>')
        colour = f"var(--s{HUES[row['tool']]})"
        bound = f'<line class="bound" stroke="{colour}" x1="{a:.1f}" x2="{a:.1f}" '
        parts.append(bound + f'y1="{y(row["kl"]["low"]):.1f}" y2="{y(row["kl"]["high"]):.1f}"/>')
        parts.append(mark(a, b, row, colour))
    parts += names(marks, curve)
    parts += legend(rows)
    parts.append("</svg>\n")
    with open(path, "w") as file:
        file.write("\n".join(parts))


def text(x, y, words, style="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'


def mark(x, y, row, colour):
    title = escape(
        f"{row['tool']} {row['label']}: {row['linear_bits']:.3f} bits, KL {row['kl']['value']:.5f}, "
        f"perplexity {100 * (row['perplexity_ratio']['value'] - 1):+.2f} %")
    if row["tool"] == listed.OURS:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"><title>{title}</title></circle>'
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.8" fill="var(--page)" stroke="{colour}" stroke-width="1.8">'
        f"<title>{title}</title></circle>")


def axes(x, y, first, last, low, high):
    parts = []
    for tick in range(math.ceil(first - 0.3), math.floor(last + 0.6) + 1):
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(text(x(tick), HEIGHT - BOTTOM + 18, str(tick), anchor="middle"))
    for power in range(-7, 2):
        for step in (1, 2, 5):
            value = step * 10.0**power
            if low <= value <= high:
                parts.append(
                    f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
                parts.append(text(LEFT - 8, y(value) + 4, f"{value:.7f}".rstrip("0").rstrip("."), anchor="end"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "bits per weight of the linears, on disk", "", "middle"))
    parts.append(text(LEFT - 44, TOP - 12, "mean KL, nats (log scale)"))
    return parts


def names(marks, curve):
    """A name beside each mark, where nothing else stands; marks in a crowd get a thin line to theirs."""
    taken = [(a - 6, b - 6, a + 6, b + 6) for a, b, _ in marks]
    for (a0, b0), (a1, b1) in zip(curve, curve[1:]):
        for step in range(9):
            a, b = a0 + (a1 - a0) * step / 8, b0 + (b1 - b0) * step / 8
            taken.append((a - 2, b - 2, a + 2, b + 2))
    taken += [(a, b - 2, a + 60, b + 2) for a, b, row in marks if row["tool"] == listed.OURS and row["kind"] != "EC"]
    best = {}
    for _, _, row in marks:
        key = (row["tool"], row["kind"])
        if key not in best or row["kl"]["value"] < best[key]["kl"]["value"]:
            best[key] = row
    parts = []
    for a, b, row in sorted(marks, key=lambda one: one[1]):
        words = row["label"]
        if row["kind"].startswith("W4"):
            # So many stand at one place that only the best of each tool is named; the others say it under the pointer.
            if best[row["tool"], row["kind"]] is not row:
                continue
            words = words.replace(" asym", "").replace(" sym", "")
        width = 6.0 * len(words)
        spot = None
        for far in (8, 16, 28, 42, 58, 76, 96, 120):
            diagonal = far * 0.75
            for da, db, anchor in (
                (far, 0, "start"), (-far, 0, "end"), (diagonal, -diagonal, "start"), (diagonal, diagonal, "start"),
                (-diagonal, -diagonal, "end"), (-diagonal, diagonal, "end"), (0, -far - 4, "middle"),
                (0, far + 4, "middle"),
            ):
                left = a + da - {"start": 0, "middle": width / 2, "end": width}[anchor]
                box = (left - 1, b + db - 7, left + width + 1, b + db + 6)
                inside = LEFT < box[0] and box[2] < WIDTH - 4 and TOP - 4 < box[1] and box[3] < HEIGHT - BOTTOM
                if inside and not any(meets(box, other) for other in taken):
                    spot = (a + da, b + db, anchor, box, far)
                    break
            if spot:
                break
        if spot is None:
            continue
        taken.append(spot[3])
        if spot[4] > 16:
            parts.append(f'<line class="lead" x1="{a:.1f}" y1="{b:.1f}" x2="{spot[0]:.1f}" y2="{spot[1]:.1f}"/>')
        own = " own" if row["tool"] == listed.OURS else ""
        parts.append(text(spot[0], spot[1] + 4, words, "name" + own, spot[2]))
    return parts


def meets(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def legend(rows):
    parts, at = [], LEFT - 40
    for tool in HUES:
        if not any(row["tool"] == tool for row in rows):
            continue
        fill = f"var(--s{HUES[tool]})" if tool == listed.OURS else "none"
        parts.append(f'<circle cx="{at}" cy="42" r="4" fill="{fill}" stroke="var(--s{HUES[tool]})" stroke-width="1.8"/>')
        words = "quantize (this project)" if tool == listed.OURS else tool
        parts.append(text(at + 9, 46, words))
        at += 30 + 6.9 * len(words)
    if any(row["tool"] == listed.OURS and row["kind"] != "EC" for row in rows):
        parts.append(f'<line class="before" x1="{at - 4}" x2="{at + 16}" y1="42" y2="42"/>')
        parts.append(f'<line class="before" x1="{at + 16}" x2="{at + 16}" y1="38" y2="46"/>')
        parts.append(text(at + 22, 46, "ours before zstd"))
    return parts
