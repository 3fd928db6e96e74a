"""Open pages in a real Chromium, in an environment that has Playwright and nothing of ours.

Standard input: `{"chromium": PATH, "folder": PATH, "pages": [URL, ...], "review": URL}`. Standard output: for
each page and width its console errors, how wide it is and its background in the dark; and what the review
page showed before and after a key and a click.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

WIDTHS = (1280, 360)
READ = "count => document.querySelector('#card')?.innerText.includes(`${count} of `)"


def main() -> None:
    asked = json.load(sys.stdin)
    found: dict[str, Any] = {"pages": [], "review": {}}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=asked["chromium"], args=["--no-sandbox", "--disable-gpu"]
        )
        for number, address in enumerate(asked["pages"]):
            for width in WIDTHS:
                page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark")
                errors: list[str] = []
                page.on("console", lambda m, e=errors: e.append(m.text) if m.type == "error" else None)
                page.on("pageerror", lambda error, e=errors: e.append(str(error)))
                page.on("request", lambda r, e=errors: None if r.url.startswith("file:") else e.append(r.url))
                page.goto(address)
                closed = page.locator("details:not([open]) > summary")
                while closed.count():
                    closed.first.click()
                wide = page.evaluate("document.documentElement.scrollWidth")
                dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
                opened = page.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")
                page.screenshot(path=str(Path(asked["folder"]) / f"{number}-{width}.png"), full_page=True)
                found["pages"].append([address, width, wide, dark, opened, errors])
                page.close()
        page = browser.new_page(viewport={"width": 390, "height": 800})
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(asked["review"])
        page.locator("#second").wait_for()
        texts = []
        acts = (None, lambda: page.keyboard.press("1"), lambda: page.locator("#second").click())
        for count, act in enumerate(acts):
            if act:
                act()
            page.wait_for_function(READ, arg=count)
            texts.append(page.locator("#card").inner_text())
        wide = page.evaluate("document.documentElement.scrollWidth")
        page.screenshot(path=str(Path(asked["folder"]) / "review.png"))
        address = page.url
        page.goto("about:blank")  # somebody else's page, in the browser that has the cookie
        page.set_content(f"<form method=post action='{address}'><input name=act value=finish></form>")
        with page.expect_navigation():
            page.evaluate("document.forms[0].submit()")
        refused = "not allowed" in page.content()
        found["review"] = {"texts": texts, "wide": wide, "errors": errors}
        found["review"]["foreign"] = "nothing" if refused else page.content()
        browser.close()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
