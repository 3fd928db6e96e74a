"""Reading a label out of an answer: what is written exactly comes first, in any script."""

from __future__ import annotations

import pytest

from tunebook.metrics.scoring import read_label

CASES: list[tuple[str, list[str], str | None]] = [
    ("US", ["us", "US"], "US"),
    ("us", ["us", "US"], "us"),
    ("Us", ["us", "US"], None),
    ("B*", ["B", "B*"], "B*"),
    ("B", ["B", "B*"], "B"),
    ("The grade is B*.", ["B", "B*"], "B*"),
    ("The grade is B.", ["B", "B*"], "B"),
    (".net", [".net", "net"], ".net"),
    ("net", [".net", "net"], "net"),
    ('"net".', [".net", "net"], "net"),
    ("I use .net daily", [".net", "net"], ".net"),
    ("asp.net", [".net", "java"], None),
    ("标签是退款。", ["退款", "换货"], "退款"),
    ("退款", ["退款", "换货"], "退款"),
    ("「退款」", ["退款", "退款失败"], "退款"),
    ("ป้ายคือคืนเงิน", ["คืนเงิน", "เปลี่ยนสินค้า"], "คืนเงิน"),
    ("標籤US。", ["US", "UK"], "US"),
    ("Café", ["Cafe\u0301", "Bar"], "Cafe\u0301"),
    ("**refund**", ["refund", "other"], "refund"),
    ("Label: Refund", ["refund", "other"], "refund"),
    ("refund or other", ["refund", "other"], None),
    ("C++", ["C", "C++", "C#"], "C++"),
    ("It is C#.", ["C", "C++", "C#"], "C#"),
    ("ＲＥＦＵＮＤ", ["refund", "other"], "refund"),
    ("返品です", ["返品", "交換"], "返品"),
    ("yes!", ["yes", "no"], "yes"),
    ("", ["a"], None),
    ("STRASSE", ["straße", "weg"], "straße"),
    ("<b>", ["b", "<b>"], "<b>"),
    ("not refund, Refund", ["refund", "Refund"], None),
]


@pytest.mark.parametrize(("text", "labels", "label"), CASES)
def test_the_label_that_a_text_names(text: str, labels: list[str], label: str | None) -> None:
    assert read_label(text, labels) == label


@pytest.mark.parametrize(
    "labels", [["us", "US"], ["B", "B*"], [".net", "net"], ["a.", "a"], ["退款", "退款失败"]]
)
def test_every_label_is_read_from_its_own_text(labels: list[str]) -> None:
    assert [read_label(label, labels) for label in labels] == labels
