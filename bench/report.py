"""A table and a plot of what was measured.

Owns how figures are shown. docs/developer/benchmarks.md keeps the text around its table; only what lies between the two marks is written.
"""

import datetime
import pathlib
import platform
import re
import statistics

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


class Figure:
    """One figure: pairs of measured value and reference, in the order of their runs."""

    def __init__(self, name, what, reference, goal, unit, better, pairs):
        self.name, self.what, self.reference, self.goal = name, what, reference, goal
        self.unit, self.better, self.pairs = unit, better, pairs

    def measured(self):
        return statistics.median(pair[0] for pair in self.pairs)

    def compared_with(self):
        return None if self.better == "limit" else statistics.median(pair[1] for pair in self.pairs)

    def ratios(self):
        return sorted(pair[0] / pair[1] for pair in self.pairs) if self.better != "limit" else []

    def value(self):
        """What the goal is about: the median ratio, or the figure itself."""
        return self.measured() if self.better == "limit" else statistics.median(self.ratios())

    def is_met(self):
        return self.value() >= self.goal if self.better == "higher" else self.value() <= self.goal

    def met_by(self):
        """How often the goal fits in: 1 is just met, more is better."""
        return self.value() / self.goal if self.better == "higher" else self.goal / self.value()

    def cells(self):
        goal = {"lower": "at most", "limit": "at most", "higher": "at least"}[self.better]
        if self.better == "limit":
            return [self.what, shown(self.measured(), self.unit), "", "", f"{goal} {shown(self.goal, self.unit)}", self.verdict()]
        ratios = self.ratios()
        return [self.what, shown(self.measured(), self.unit), f"{self.reference}: {shown(self.compared_with(), self.unit)}",
                f"{times(self.value())} ({times(ratios[0])}–{times(ratios[-1])})", f"{goal} {times(self.goal)}", self.verdict()]

    def verdict(self):
        return "yes" if self.is_met() else "**no**"

    def line(self):
        return f"{self.name:14} " + " | ".join(cell for cell in self.cells() if cell)


def shown(value, unit):
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip() if unit != "/s" else f"{value:,.0f}/s"


def times(ratio):
    return f"{ratio:.3f}×" if ratio < 0.1 else f"{ratio:.2f}×"


def write(figures, options):
    page = DOCS / "benchmarks.md"
    head = ["what", "measured", "reference in the same run", "ratio (least–most)", "goal", "met"]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    rows += ["| " + " | ".join(figure.cells()) + " |" for figure in figures]
    when = datetime.date.today().isoformat()
    note = f"{when}, {processor()}, Linux {platform.release()}; medians of {options.runs} pairs of runs, {options.seconds} s each."
    text = page.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(before + BEGIN + "\n" + note + "\n\n" + "\n".join(rows) + "\n" + END + after)
    (DOCS / "benchmarks.svg").write_text(plot(figures))


def processor():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*: (.*)", text)
    return f"{text.count('processor' + chr(9))} × {name.group(1) if name else platform.machine()}"


def plot(figures):
    """Bars: how often each goal fits into what was reached. The line is 1."""
    width, left, step, most = 900, 330, 26, 4.0
    height = step * len(figures) + 50
    scale = (width - left - 60) / most
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>']
    for place, figure in enumerate(figures):
        y = 10 + place * step
        reach = min(figure.met_by(), most)
        colour = "#2a7f62" if figure.is_met() else "#b5482f"
        more = "+" if figure.met_by() > most else ""
        name = figure.what.replace("`", "").replace("&", "&amp;").replace("<", "&lt;")
        parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{name[:52]}</text>')
        parts.append(f'<rect x="{left}" y="{y + 2}" width="{reach * scale:.1f}" height="{step - 9}" fill="{colour}"/>')
        parts.append(f'<text x="{left + reach * scale + 5:.1f}" y="{y + 14}">{figure.met_by():.1f}{more}</text>')
    x = left + scale
    parts.append(f'<line x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="{height - 34}" stroke="black" stroke-dasharray="4 3"/>')
    parts.append(f'<text x="{x:.1f}" y="{height - 14}" text-anchor="middle">1: the goal is just met; longer is better</text></svg>')
    return "\n".join(parts) + "\n"
