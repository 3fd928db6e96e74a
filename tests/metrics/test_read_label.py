"""Reading a label out of an answer: what is written exactly comes first, in any script."""

from __future__ import annotations

import pytest

from tunebook.metrics.labels import read_label

RETURNS = ["refund", "exchange", "other"]
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
    # Two labels are no answer, and what is denied is none.
    ("The answer is refund, not exchange.", RETURNS, None),
    ("It could be refund/exchange", RETURNS, None),
    ("refund, exchange", RETURNS, None),
    ("refund\nexchange", RETURNS, None),
    ("- refund\n- exchange", RETURNS, None),
    ("This is not a refund.", RETURNS, None),
    ("It isn't refund", RETURNS, None),
    ("non-refund", RETURNS, None),
    ("Das ist kein refund", RETURNS, None),
    ("不是退款。", ["退款", "换货"], None),
    ("返品ではありません", ["返品", "交換"], None),
    ("This is not spam.", ["spam", "not spam"], "not spam"),
    ("not spam", ["spam", "not spam"], "not spam"),
    ("This is not spam.", ["spam", "ham"], None),
    ("No.", ["yes", "no"], "no"),
    ("I do not think so, no", ["yes", "no"], "no"),
    ("yes and no", ["yes", "no"], None),
    # A line of its own is the answer, whatever explains it.
    ("refund\n\nThe customer wants money, not an exchange.", RETURNS, "refund"),
    ("Money is asked for, no exchange.\n\n**refund**", RETURNS, "refund"),
    ("Label: refund\nReason: no exchange was asked for", RETURNS, "refund"),
    ("Refund.\nRefund.", RETURNS, "refund"),
    ("# refund", RETURNS, "refund"),
    ("1. refund", RETURNS, "refund"),
    ("refund\nuser: and an exchange?\nexchange", RETURNS, None),
    ("refunds", RETURNS, None),
    ("nonrefundable", RETURNS, None),
    # Labels that hold quotation marks, brackets, colons, numbers, emoji.
    ("Don’t know", ["don't know", "know"], "don't know"),
    ("“ok”", ['"ok"', "ok"], '"ok"'),
    ("The label is a (b).", ["a (b)", "a"], "a (b)"),
    ("refund: late", ["refund: late", "late"], "refund: late"),
    ("Label: refund: late", ["refund: late", "other"], "refund: late"),
    ("[INST]", ["[INST]", "INST"], "[INST]"),
    ("1", ["1", "2", "10"], "1"),
    ("10 points", ["1", "2", "10"], "10"),
    ("4/5", ["1", "4", "5"], None),
    ("4.5", ["4", "5"], None),
    ("-1", ["-1", "0", "1"], "-1"),
    ("It is -1.", ["-1", "0", "1"], "-1"),
    ("It is -1.", ["0", "1"], None),
    ("2. Because it is late", ["1", "2"], "2"),
    ("x²", ["x2", "x²"], "x²"),
    ("\u2764\ufe0f", ["\u2764", "\U0001f44d"], "\u2764"),
    ("I feel \U0001f44d today", ["\u2764", "\U0001f44d"], "\U0001f44d"),
    ("\U0001f44d\U0001f44e", ["\U0001f44d", "\U0001f44e"], None),
    # Words are joined as in the label, but for the number of blanks.
    ("Card Arrival", ["card_arrival", "card_lost"], None),
    ("Card_Arrival", ["card_arrival", "card_lost"], "card_arrival"),
    ("card arrival", ["card_arrival", "card arrival"], "card arrival"),
    ("card-arrival", ["card_arrival", "card arrival"], None),
    ("the card  lost", ["card lost", "card"], "card lost"),
    # Scripts with particles or marks.
    ("라벨은 환불입니다.", ["환불", "교환"], "환불"),
    ("환불이 아닙니다", ["환불", "교환"], None),
    ("退款失败。", ["退款", "退款失败"], "退款失败"),
    ("रिफंड।", ["रिफंड", "अन्य"], "रिफंड"),
    ("استرداد؟", ["استرداد"], "استرداد"),
    ("   ", ["a"], None),
    ("?", ["a"], None),
]


@pytest.mark.parametrize(("text", "labels", "label"), CASES)
def test_the_label_that_a_text_names(text: str, labels: list[str], label: str | None) -> None:
    assert read_label(text, labels) == label


@pytest.mark.parametrize(
    "labels", [["us", "US"], ["B", "B*"], [".net", "net"], ["a.", "a"], ["退款", "退款失败"]]
)
def test_every_label_is_read_from_its_own_text(labels: list[str]) -> None:
    assert [read_label(label, labels) for label in labels] == labels
