"""Straight lines through points, and a plot of several panels of them as an SVG that follows light and dark."""

import dataclasses
import math
from xml.sax.saxutils import escape

WIDTH, PANEL_WIDTH, PANEL_HEIGHT = 860, 390, 250
LEFT, TOP, GAP = 58, 92, 80

STYLE = """
svg{--page:#ffffff;--ink:#1c2026;--muted:#5d6570;--line:#e6e4dc;--s0:#0065a8;--s1:#c84e00;--s2:#00875f;--s3:#b8528f;\
font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
@media (prefers-color-scheme:dark){svg{--page:#1a1e24;--ink:#e7e9ec;--muted:#a0a8b3;--line:#333a44;--s0:#58a9ec;\
--s1:#ff8a4c;--s2:#2fc79a;--s3:#e38fc4}}
.page{fill:var(--page)}text{fill:var(--muted)}.title{fill:var(--ink);font-size:16px;font-weight:600}
.panel{fill:var(--ink);font-weight:600}.grid{stroke:var(--line);stroke-width:1}.fit{stroke-width:1.6;opacity:.6}
"""


@dataclasses.dataclass
class Line:
    """A straight line: its slope, its value at 0, and the largest distance of a point from it, of the point's value."""

    slope: float
    start: float
    residual: float


def fit(points):
    """The line of least squares; None through fewer than two places."""
    if len({x for x, _ in points}) < 2:
        return None
    mean_x, mean_y = (sum(point[index] for point in points) / len(points) for index in (0, 1))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    start = mean_y - slope * mean_x
    return Line(slope, start, max(abs(y - start - slope * x) / abs(y) for x, y in points if y))


@dataclasses.dataclass
class Panel:
    """One pair of axes from 0: what it shows, the name of its horizontal axis, and points by the name of a series."""

    title: str
    axis: str
    series: dict


def write(path, title, panels):
    """Panels two in a row; a series has the same colour in all of them."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    rows = (len(panels) + 1) // 2
    height = TOP + rows * PANEL_HEIGHT + (rows - 1) * GAP + 48
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>", f'<rect class="page" width="{WIDTH}" height="{height}" rx="10"/>',
        text(22, 28, title, "title")]
    at = 28
    for index, name in enumerate(names):
        parts += [f'<circle cx="{at}" cy="46" r="4.5" fill="var(--s{index % 4})"/>', text(at + 10, 50, name)]
        at += 36 + 7 * len(name)
    for index, panel in enumerate(panels):
        left = LEFT + (index % 2) * (PANEL_WIDTH + 20)
        top = TOP + (index // 2) * (PANEL_HEIGHT + GAP)
        parts += drawn(panel, names, left, top, left + PANEL_WIDTH - 30 - LEFT // 2, top + PANEL_HEIGHT)
    parts.append("</svg>\n")
    with open(path, "w") as file:
        file.write("\n".join(parts))


def drawn(panel, names, left, top, right, bottom):
    points = [point for series in panel.series.values() for point in series]
    parts = [text(left, top - 10, panel.title, "panel")]
    if not points:
        return parts + [text((left + right) / 2, (top + bottom) / 2, "not measured", "", "middle")]
    high_x, high_y = 1.04 * max(x for x, _ in points), 1.08 * max(y for _, y in points)

    def place(x, y):
        return left + (right - left) * x / high_x, bottom - (bottom - top) * y / high_y

    for tick in ticks(high_y):
        _, y = place(0, tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(text(left - 7, y + 4, f"{tick:,g}", "", "end"))
    for tick in sorted({x for x, _ in points}):
        x, _ = place(tick, 0)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        parts.append(text(x, bottom + 17, f"{tick:,}", "", "middle"))
    parts.append(text((left + right) / 2, bottom + 34, panel.axis, "", "middle"))
    for name, series in panel.series.items():
        colour = f"var(--s{names.index(name) % 4})"
        line = fit(series)
        if line:
            least = max(0.0, -line.start / line.slope) if line.slope > 0 else 0.0
            first, last = (place(x, max(0.0, line.start + line.slope * x)) for x in (least, high_x))
            parts.append(
                f'<line class="fit" stroke="{colour}" x1="{first[0]:.1f}" y1="{first[1]:.1f}" '
                f'x2="{last[0]:.1f}" y2="{last[1]:.1f}"/>')
        for x, y in series:
            a, b = place(x, y)
            words = escape(f"{name}, {x:,} {panel.axis}: {y:,.4g}")
            parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4.5" fill="{colour}"><title>{words}</title></circle>')
    return parts


def ticks(high):
    """Round values from 0, four to eight of them."""
    step = 10.0 ** math.floor(math.log10(high / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if high / (step * factor) <= 8)
    return [step * index for index in range(int(high / step) + 1)]


def text(x, y, words, style="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'
