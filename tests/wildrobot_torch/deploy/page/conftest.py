"""A headless Chromium that is driven through a pipe, by the DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-dev-shm-usage",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run",
)  # fmt: skip
# Chromium reads commands from file descriptor 3 and writes to 4.
LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for number, end in zip((3, 4), ends):
    os.dup2(end, number)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, program: str, profile: Path) -> None:
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        arguments = [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        with (profile / "chromium.log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, str(read), str(write), *arguments],
                pass_fds=(read, write), stdout=log, stderr=log,
            )  # fmt: skip
        os.close(read)
        os.close(write)
        self._left, self._count, self._session = b"", 0, None
        self.errors: list[str] = []
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        found = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, and its result."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._receive()
            self._note(answer)
            if answer.get("id") == self._count:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            part = os.read(self._read, 1 << 20)
            assert part, "the browser ended"
            self._left += part
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def _note(self, answer: dict[str, Any]) -> None:
        """Keep what the page's console calls an error."""
        parameters = answer.get("params", {})
        entry = parameters.get("entry", {})
        if answer.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(parameters["exceptionDetails"]))
        elif entry.get("level") == "error":
            self.errors.append(f"{entry['text']} {entry.get('url', '')}")
        elif parameters.get("type") == "error":
            self.errors.append(json.dumps(parameters["args"]))

    def size(self, width: int, height: int, phone: bool = False) -> None:
        """Size of the window [CSS pixels]."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip

    def open(self, url: str) -> None:
        """Go to a page and wait until it is there."""
        self.send("Page.navigate", url=url)
        self.evaluate(
            f"new Promise(done => {{ const look = () => location.href.startsWith({url!r}) && "
            "document.readyState === 'complete' ? done() : setTimeout(look, 50); look(); })"
        )

    def evaluate(self, script: str) -> Any:
        """Value of an expression in the page; promises are waited for."""
        for _ in range(3):
            found = self.send(
                "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
            )
            # While a page is being left, its scripts end.
            text = json.dumps(found.get("exceptionDetails", ""))
            if "navigated" not in text and "destroyed" not in text:
                break
        assert "exceptionDetails" not in found, text
        return found["result"].get("value")

    def call(self, function: str, value: Any) -> Any:
        """Result of a JavaScript function of a value that JSON has."""
        return self.evaluate(f"({function})({json.dumps(value)})")

    def click(self, selector: str) -> None:
        """Press the mouse in the middle of an element."""
        x, y = self.evaluate(
            f"(() => {{ const box = document.querySelector({selector!r}).getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path) -> None:
        """Write what is to be seen as a .png file."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End the browser."""
        os.close(self._write)
        os.close(self._read)
        self._process.terminate()
        self._process.wait(timeout=30)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium; the test is skipped where there is none."""
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUM)} is installed")
    found = Browser(program, tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()
