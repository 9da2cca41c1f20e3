"""A report as sections with tables, drawn as markdown or as one HTML page that needs nothing else.

Markdown has the words; the HTML page has the same tables, with intervals as bars, and pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from wildrobot_torch.evaluation.report import table

BAR_WIDTH, BAR_HEIGHT = 120.0, 14.0
"""Size of a bar [px]."""


@dataclass(frozen=True)
class Verdict:
    """A cell that says whether a target is met."""

    passed: bool

    def __str__(self) -> str:
        return "pass" if self.passed else "**FAIL**"


@dataclass(frozen=True)
class Bar:
    """A cell with a number and its interval, drawn to scale in HTML; NaN draws nothing."""

    text: str
    value: float
    low: float
    high: float
    least: float = 0.0
    """What the left end of the scale stands for."""
    most: float = 1.0
    """What the right end stands for."""
    marks: tuple[float, ...] = ()
    """Targets, each drawn as a line across."""
    tone: int = 0
    """Number of the column whose colour it has."""

    def __str__(self) -> str:
        return self.text


Cell = str | Verdict | Bar


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    stacked: bool = False
    """On a phone each row becomes a block, a line for each cell; otherwise the table scrolls."""


@dataclass(frozen=True)
class Picture:
    """Drawn in HTML only."""

    content: str
    """HTML or SVG."""
    caption: str
    wide: bool = False
    """As wide as the page, for a strip."""


@dataclass(frozen=True)
class Section:
    """A heading with a table, and pictures beside it in HTML."""

    title: str
    table: Table
    note: str = ""
    """A paragraph under the heading."""
    pictures: Sequence[Picture] = ()


def markdown(title: str, verdict: str, lead: str, sections: Sequence[Section]) -> str:
    """The page as markdown; a section whose table has no rows is left out."""
    lines = [f"# {title}", "", f"**{verdict}.** {lead}"]
    for section in sections:
        if section.table.rows:
            note = [section.note, ""] if section.note else []
            lines += ["", f"## {section.title}", "", *note]
            lines += table(section.table.head, section.table.rows)
    return "\n".join(lines) + "\n"


def html(title: str, verdict: Verdict, lead: str, sections: Sequence[Section]) -> str:
    """The page as HTML: no script, nothing from elsewhere, readable on a phone and on paper."""
    shown = [section for section in sections if section.table.rows or section.pictures]
    links = " ".join(f'<a href="#s{i}">{_text(s.title)}</a>' for i, s in enumerate(shown))
    word = "Passed" if verdict.passed else "Failed"
    return "\n".join((
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{_text(title)}</h1>",
        f'<p class="lead">{_verdict(verdict, word)} {_text(lead)}</p>',
        f"<nav>{links}</nav>",
        *(line for number, section in enumerate(shown) for line in _section(number, section)),
        "</body></html>\n",
    ))  # fmt: skip


def _section(number: int, section: Section) -> Iterator[str]:
    yield f'<section id="s{number}"><h2>{_text(section.title)}</h2>'
    if section.note:
        yield f"<p>{_text(section.note)}</p>"
    if section.pictures:
        yield '<div class="pictures">'
        for picture in section.pictures:
            kind = ' class="wide"' if picture.wide else ""
            caption = f"<figcaption>{_text(picture.caption)}</figcaption>"
            yield f"<figure{kind}>{picture.content}{caption}</figure>"
        yield "</div>"
    if section.table.rows:
        yield from _table(section.table)
    yield "</section>"


def _table(content: Table) -> Iterator[str]:
    head = [_text(cell) for cell in content.head]
    yield f'<div class="scroll"><table class="{"stacked" if content.stacked else "grid"}">'
    yield f"<thead><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr></thead><tbody>"
    for row in content.rows:
        first, *others = (_cell(cell) for cell in row)
        cells = "".join(
            f'<td data-label="{escape(name)}">{cell}</td>'
            for name, cell in zip(content.head[1:], others, strict=True)
        )
        yield f'<tr><th scope="row">{first}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _text(text: str) -> str:
    """Escaped, with places where a long name may be broken."""
    return escape(text).replace("_", "_<wbr>")


def _cell(cell: Cell) -> str:
    if isinstance(cell, Verdict):
        return _verdict(cell, "pass" if cell.passed else "FAIL")
    if isinstance(cell, Bar):
        return f'<span class="bar">{bar(cell)}<span>{_text(cell.text)}</span></span>'
    return _text(cell)


def _verdict(verdict: Verdict, word: str) -> str:
    kind, sign = ("pass", "✓") if verdict.passed else ("fail", "✗")
    return f'<span class="{kind}">{sign} {word}</span>'


def bar(cell: Bar) -> str:
    """An SVG: a light bar from 0 to the value, the interval as a dark line, targets across it."""
    if not math.isfinite(cell.value) or cell.most <= cell.least:
        return ""

    def x(value: float) -> float:
        share = (value - cell.least) / (cell.most - cell.least)
        return BAR_WIDTH * min(max(share, 0.0), 1.0)

    zero, tip, middle = x(0.0), x(cell.value), BAR_HEIGHT / 2.0
    parts = [
        f'<rect class="ground" width="{BAR_WIDTH:g}" height="{BAR_HEIGHT:g}"/>',
        f'<rect class="value" x="{min(zero, tip):.1f}" y="2" width="{abs(tip - zero):.1f}" '
        f'height="{BAR_HEIGHT - 4.0:g}"/>',
    ]
    if cell.least < 0.0:
        parts.append(f'<path class="zero" d="M{zero:.1f} 0V{BAR_HEIGHT:g}"/>')
    if not math.isnan(cell.low) and not math.isnan(cell.high):
        parts.append(f'<path class="span" d="M{x(cell.low):.1f} {middle:g}H{x(cell.high):.1f}"/>')
    parts.append(f'<circle class="dot" cx="{tip:.1f}" cy="{middle:g}" r="2.6"/>')
    parts += [f'<path class="mark" d="M{x(m):.1f} -1V{BAR_HEIGHT + 1.0:g}"/>' for m in cell.marks]
    return (
        f'<svg class="tone{cell.tone}" viewBox="-3 -1 {BAR_WIDTH + 6.0:g} {BAR_HEIGHT + 2.0:g}" '
        f'width="{BAR_WIDTH + 6.0:g}" height="{BAR_HEIGHT + 2.0:g}" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


STYLE = """
:root { --ink: #1d2329; --soft: #59636e; --line: #d7dce2; --ground: #eef1f4; }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  color: var(--ink); background: #fff; margin: 0 auto; padding: 16px; max-width: 1240px; }
h1 { font-size: 1.55em; margin: 0.2em 0; }
h2 { font-size: 1.2em; margin: 1.8em 0 0.4em; padding-top: 0.5em;
  border-top: 1px solid var(--line); }
p { margin: 0.4em 0 0.8em; max-width: 80ch; }
nav { display: flex; flex-wrap: wrap; gap: 4px 14px; font-size: 0.9em; }
a { color: #00548a; }
.pass, .fail { font-weight: 600; white-space: nowrap; padding: 0 0.45em; border-radius: 3px; }
.pass { color: #00533c; background: #d9f0e6; }
.fail { color: #fff; background: #a33b00; }
.lead .pass, .lead .fail { font-size: 1.15em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.87em; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 4px 10px 4px 0; }
thead th { vertical-align: bottom; color: var(--soft); font-weight: 600;
  border-bottom: 2px solid var(--line); }
tbody th, tbody td { border-bottom: 1px solid var(--line); }
tbody th { font-weight: 500; background: #fff; min-width: 9em; }
.grid tbody th { position: sticky; left: 0; }
.grid td { white-space: nowrap; }
.grid .bar { display: inline-block; }
.grid .bar svg { display: block; width: 72px; }
.bar { display: inline-flex; flex-wrap: wrap; align-items: center; gap: 0 8px; }
.bar span { white-space: nowrap; }
.bar svg { flex: none; }
.ground { fill: var(--ground); }
.zero { stroke: var(--ink); stroke-width: 1; }
.span { stroke-width: 2.6; }
.mark { stroke: #000; stroke-width: 1.4; stroke-dasharray: 3 1.5; }
.tone0 .value { fill: #a6cbe8; } .tone0 .dot { fill: #00548a; } .tone0 .span { stroke: #00548a; }
.tone1 .value { fill: #cfd3d8; } .tone1 .dot { fill: #555c64; } .tone1 .span { stroke: #555c64; }
.tone2 .value { fill: #f7cd9e; } .tone2 .dot { fill: #a14a00; } .tone2 .span { stroke: #a14a00; }
.pictures { display: flex; flex-wrap: wrap; gap: 14px; margin: 0.6em 0 1em; }
figure { margin: 0; flex: 0 1 350px; min-width: 0; }
figure.wide { flex: 1 1 100%; }
figure > svg { width: 100%; height: auto; display: block; }
figcaption { font-size: 0.85em; color: var(--soft); margin-top: 2px; }
.strip { display: grid; grid-template-columns: repeat(6, 1fr); gap: 3px; }
.strip img { width: 100%; display: block; }
@media (max-width: 640px) {
  body { padding: 12px; }
  figure { flex-basis: 100%; }
  .strip { grid-template-columns: repeat(3, 1fr); }
  .stacked, .stacked tbody, .stacked tr, .stacked th, .stacked td { display: block; }
  .stacked thead { display: none; }
  .stacked tr { padding: 6px 0; }
  .stacked th { font-weight: 600; padding: 0; }
  .stacked tr { border-bottom: 1px solid var(--line); }
  .stacked th, .stacked td { border: 0; }
  .stacked td { display: grid; grid-template-columns: 6em 1fr; gap: 6px; padding: 1px 0; }
  .stacked td > * { justify-self: start; }
  .stacked .bar svg { width: 92px; }
  .stacked td::before { content: attr(data-label); color: var(--soft); overflow-wrap: anywhere; }
  .stacked td:empty, .stacked th + td:last-child::before { display: none; }
  .stacked th + td:last-child { display: block; }
  .grid tbody th { min-width: 7em; max-width: 8.5em; }
}
@media print {
  @page { size: A4; margin: 12mm; }
  body { font-size: 9.5pt; padding: 0; max-width: none; }
  nav { display: none; }
  h2, section > p { break-after: avoid; }
  tr, figure { break-inside: avoid; }
  thead { display: table-header-group; }
  .scroll { overflow: visible; }
  .grid tbody th { position: static; min-width: 0; }
  table { font-size: 7.5pt; width: 100%; }
  th, td { padding: 2px 6px 2px 0; }
  .grid td { white-space: normal; }
  .grid .bar svg { width: 54px; }
  figure { flex-basis: 31%; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
"""Colours differ in lightness too, and pass and fail in sign and word (Okabe and Ito 2008)."""
