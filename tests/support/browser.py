"""Chromium without a window, driven over its debugging protocol; nothing leaves this machine."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def browser_program() -> str | None:
    """The path of a Chromium, None if there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """A page of the browser. `requested` has the address of everything that it asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.requested: list[str] = []
        self.messages: list[str] = []

    async def listen(self) -> None:
        async for message in self._socket:
            event = json.loads(message.data)
            if (waiting := self._waiting.pop(event.get("id"), None)) is not None:
                waiting.set_result(event)
            elif event.get("method") == "Network.requestWillBeSent":
                self.requested.append(event["params"]["request"]["url"])
            elif event.get("method") in ("Log.entryAdded", "Page.javascriptDialogOpening"):
                self.messages.append(json.dumps(event["params"]))
            elif event.get("method") == "Page.loadEventFired":
                self._loaded.set()

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        event = await answer
        assert "error" not in event, event
        result: dict[str, Any] = event["result"]
        return result

    async def show(self, file: Path, *, width: int, height: int = 800, scheme: str = "light") -> None:
        """Open a file as on a screen of this width, and wait until it is loaded."""
        self._loaded.clear()
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        await self.call(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}], media=""
        )
        await self.call("Page.navigate", url=file.as_uri())
        await self._loaded.wait()

    async def value_of(self, expression: str) -> Any:
        """The value of an expression of JavaScript, which no policy of the page forbids us."""
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    async def picture(self, file: Path) -> None:
        """Write the whole page as PNG."""
        shot = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        await anyio.Path(file).write_bytes(base64.b64decode(shot["data"]))

    async def print_to(self, file: Path) -> None:
        """Write the page as it is printed on A4, as PDF."""
        printed = await self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)
        await anyio.Path(file).write_bytes(base64.b64decode(printed["data"]))


@asynccontextmanager
async def opened_page(program: str, profile: Path) -> AsyncIterator[Page]:
    """A page of a browser of its own, which ends with the block. `profile` is an empty directory."""
    process = subprocess.Popen(
        [
            program,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--hide-scrollbars",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "about:blank",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        announced = anyio.Path(profile / "DevToolsActivePort")
        with anyio.fail_after(60):
            while not await announced.exists() or "\n" not in await announced.read_text():
                await anyio.sleep(0.05)
        port = (await announced.read_text()).split("\n")[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                address = next(entry for entry in await response.json() if entry["type"] == "page")
            async with session.ws_connect(address["webSocketDebuggerUrl"], max_msg_size=1 << 26) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                try:
                    for domain in ("Page", "Network", "Log", "Runtime"):
                        await page.call(f"{domain}.enable")
                    yield page
                finally:
                    listening.cancel()
    finally:
        process.terminate()
        process.wait(timeout=30)
