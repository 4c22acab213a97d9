"""Reports in a real Chromium, without a window: nothing is loaded, nothing overflows, and the dark one is dark.

Run with `make test-integrations`. To look at the pictures, set REPORT_PICTURES to a directory.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bulk_export.output.report.of_copy import copy_report
from bulk_export.output.report.of_export import export_report
from bulk_export.output.report.page import html_text
from tests.support.browser import Page, browser_program, opened_page
from tests.support.reports import HOSTILE, copy_facts, export_facts, manifest

PROGRAM = browser_program()
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here: apt-get install chromium"),
]
# The right edge of what does not scroll on its own.
_RIGHTMOST = """Math.max(...[...document.querySelectorAll('body *')]
    .filter(element => !element.closest('.scroll') && !element.closest('.skip') && !element.closest('.hidden'))
    .map(element => element.getBoundingClientRect().right))"""


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    assert PROGRAM is not None
    async with opened_page(PROGRAM, tmp_path / "profile") as page:
        yield page


def hostile_text() -> str:
    """A report of an export of a service that calls everything by what a browser might run."""
    of_list = manifest()["endpoints"]["things"] | {"drift": {"unknown": dict.fromkeys(HOSTILE, 1)}}
    found = {"service": HOSTILE[1], "base_url": HOSTILE[2], "endpoints": dict.fromkeys(HOSTILE, of_list)}
    return html_text(export_report(export_facts(manifest=found, difference=HOSTILE[0], incomplete=HOSTILE)))


TEXTS = {
    "export": html_text(export_report(export_facts())),
    "copy": html_text(copy_report(copy_facts(polls=100))),
    "hostile": hostile_text(),
}


@pytest.mark.parametrize("name", TEXTS)
async def test_report_in_a_browser(page: Page, tmp_path: Path, name: str) -> None:
    """On a phone and on a desk, light and dark: one file is loaded, nothing is refused, and nothing is cut off."""
    file = tmp_path / "report.html"
    file.write_text(TEXTS[name])
    seen = {}
    for width in (375, 1_100):
        for scheme in ("light", "dark"):
            await page.show(file, width=width, scheme=scheme)
            assert await page.value_of("document.documentElement.scrollWidth") == width
            assert await page.value_of(_RIGHTMOST) <= width
            seen[width, scheme] = await page.value_of("getComputedStyle(document.body).backgroundColor")
            if pictures := os.environ.get("REPORT_PICTURES"):
                await page.picture(Path(pictures) / f"{name}-{width}-{scheme}.png")
    assert len({color for (_, scheme), color in seen.items() if scheme == "light"}) == 1
    assert seen[375, "light"] != seen[375, "dark"]
    assert await page.value_of("document.scripts.length + document.images.length") == 0
    assert await page.value_of("Math.min(...[...document.querySelectorAll('svg')].map(svg => svg.clientHeight))") > 5
    assert set(page.requested) == {file.as_uri()}
    assert page.messages == []


async def test_report_on_paper(page: Page, tmp_path: Path) -> None:
    """What is folded on a screen is on paper, too."""
    file = tmp_path / "report.html"
    file.write_text(TEXTS["export"])
    await page.show(file, width=1_100)
    height = "document.querySelector('section>details').offsetHeight"
    folded = await page.value_of(height)
    await page.call("Emulation.setEmulatedMedia", media="print")
    assert await page.value_of(height) > 2 * folded
    await page.print_to(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


async def test_report_by_keyboard(page: Page, tmp_path: Path) -> None:
    """The first stop is the link to the content, and what is folded or scrolls can be reached."""
    file = tmp_path / "report.html"
    file.write_text(TEXTS["export"])
    await page.show(file, width=375)
    reached = []
    for _ in range(40):
        await page.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(await page.value_of("document.activeElement.className || document.activeElement.localName"))
    assert reached[0] == "skip"
    assert {"a", "summary", "scroll"} <= set(reached)
