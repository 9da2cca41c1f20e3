"""Tests of wildrobot_torch/evaluation/page.py."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from wildrobot_torch.evaluation.page import (
    BAR_WIDTH,
    Bar,
    Picture,
    Section,
    Table,
    Verdict,
    bar,
    html,
    markdown,
)

SECTIONS = [
    Section(
        "Targets",
        Table(
            ("scenario", "measured", "verdict"),
            [("a < b | c", Bar("90 %", 0.9, 0.8, 1.0), Verdict(False))],
            stacked=True,
        ),
        note="x & y",
        pictures=[Picture("<svg></svg>", "a picture")],
    ),
    Section("Nothing", Table(("a",), [])),
    Section("Picture alone", Table((), ()), pictures=[Picture("<i></i>", "it")]),
]


def shapes(cell: Bar) -> dict[str, ElementTree.Element]:
    return {shape.attrib["class"]: shape for shape in ElementTree.fromstring(bar(cell))}


def test_markdown_and_html_have_the_same_words() -> None:
    text = markdown("T", "Failed", "lead", SECTIONS)
    assert text.splitlines() == [
        "# T", "", "**Failed.** lead", "", "## Targets", "", "x & y", "",
        "| scenario | measured | verdict |", "| --- | --- | --- |",
        "| a < b \\| c | 90 % | **FAIL** |",
    ]  # fmt: skip
    page = html("T", Verdict(False), "lead", SECTIONS)
    assert "a &lt; b | c" in page and "x &amp; y" in page and "90 %" in page
    assert '<td data-label="measured">' in page
    assert "Nothing" not in page
    assert page.count("<h2>") == page.count('href="#s') == 2


def test_pass_and_fail_differ_by_sign_and_word() -> None:
    for passed, sign, word in ((True, "✓", "pass"), (False, "✗", "FAIL")):
        page = html("T", Verdict(passed), "", [Section("S", Table(("v",), [(Verdict(passed),)]))])
        assert f"{sign} {word}</span>" in page


def test_a_page_needs_nothing_else() -> None:
    page = html("T", Verdict(True), "lead", SECTIONS)
    assert not re.search(r"<script|<link|src=|@import|url\(|https?:", page)
    body = page.removeprefix("<!DOCTYPE html>").replace("<wbr>", "<wbr/>")
    body = re.sub(r"<meta ([^>]*)>", r"<meta \1/>", body)
    assert ElementTree.fromstring(body).tag == "html"


def test_a_bar_is_to_scale() -> None:
    found = shapes(Bar("", 0.5, 0.25, 0.75, marks=(0.9,)))
    assert float(found["value"].attrib["width"]) == pytest.approx(0.5 * BAR_WIDTH)
    assert found["span"].attrib["d"] == "M30.0 7H90.0"
    assert found["mark"].attrib["d"].startswith(f"M{0.9 * BAR_WIDTH:.1f} ")
    assert "zero" not in found


def test_a_difference_stands_to_either_side_of_zero() -> None:
    found = shapes(Bar("", -1.0, -9.0, 1.0, least=-2.0, most=2.0))
    assert float(found["value"].attrib["x"]) == pytest.approx(BAR_WIDTH / 4.0)
    assert float(found["value"].attrib["width"]) == pytest.approx(BAR_WIDTH / 4.0)
    assert found["span"].attrib["d"] == "M0.0 7H90.0"  # the interval ends at the scale's end
    assert found["zero"].attrib["d"].startswith("M60.0 ")


def test_an_undefined_number_has_no_bar() -> None:
    assert bar(Bar("-", math.nan, 0.0, 1.0)) == ""
    assert "span" not in shapes(Bar("1", 1.0, math.nan, math.nan))
