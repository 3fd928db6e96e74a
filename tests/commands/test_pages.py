"""The pages in a real Chromium: at desktop and phone width, in the dark, clicked and typed into."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.test_data import ROW, dataset
from tests.support.helpers import make_run
from tunebook.commands.data import as_html
from tunebook.commands.review import Reading, served
from tunebook.core import files
from tunebook.core.paths import ROOT
from tunebook.report.report import write_report
from tunebook.report.verdict import compare
from tunebook.runs.run import Run

PLAYWRIGHT = "playwright==1.56.0"  # drives the Chromium of the machine
PROBE = ROOT / "tests" / "support" / "browser_probe.py"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)")
def test_pages_in_a_browser(handmade: Callable[..., Run], tmp_path: Path) -> None:
    """Playwright runs in an environment of its own, made by uv: nothing else here needs it."""
    pages = []
    for task in ("classification", "qa", "chat", "preference"):
        run = make_run(tmp_path / task, task)
        compare(run)
        pages.append(write_report(run))
    pages.append(tmp_path / "shown.html")
    pages[-1].write_text(as_html(dataset(tmp_path), "a tokenizer", [ROW], [[0]], 64))
    read = handmade("chat", groups=6)
    reading = Reading(read)
    asked = {"chromium": CHROMIUM, "folder": str(tmp_path), "pages": [path.as_uri() for path in pages]}
    uv = str(Path(sys.executable).parent / "uv")
    command = [uv, "run", "--no-project", "--quiet", "--python", sys.executable, "--with", PLAYWRIGHT]
    with served(reading) as address:
        text = json.dumps({**asked, "review": address})
        ended = subprocess.run([*command, "python", str(PROBE)], input=text, capture_output=True, text=True)
    if ended.returncode == 2:  # uv's own, not Python's
        pytest.skip(f"{PLAYWRIGHT} cannot be installed here: {ended.stderr.strip()[-200:]}")
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout)
    for page, width, wide, background, opened, errors in found["pages"]:
        assert wide <= width, f"{page} is {wide} wide on a screen of {width}"
        assert errors == [] and opened, page
        red, green, blue = (int(part) for part in background.strip("rgb()").split(","))
        assert max(red, green, blue) < 64, f"{page} is not dark in the dark"
    texts = found["review"]["texts"]
    assert all(f"{n} of {len(reading.pairs)} pairs are read" in text for n, text in enumerate(texts))
    assert len(texts) == 3
    assert found["review"]["errors"] == [] and found["review"]["wide"] <= 390
    assert found["review"]["foreign"] == "nothing", "another page's form does not vote"
    assert [vote["choice"] for vote in files.read_records(read / "review" / "votes.jsonl")] == [
        "first",
        "second",
    ]
    assert len(list(tmp_path.glob("*-360.png"))) == len(pages)
