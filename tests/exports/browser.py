"""A headless Chromium, driven over a pipe by the DevTools protocol (messages are JSON that ends in a null byte).

Every page is watched: what it logs, throws and requests is kept, for tests to look at.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-background-networking"
    " --disable-component-update --disable-sync --no-first-run --no-default-browser-check --remote-debugging-pipe"
).split()
PATIENCE = 60.0
"""Seconds after which an answer is not waited for any longer."""


def high(descriptor: int) -> int:
    """The same file under a number that is none of the browser's."""
    found = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return found


class Browser:
    """One process; `close` ends it. Pages are opened by `Page`."""

    def __init__(self) -> None:
        found = next(filter(None, map(shutil.which, NAMES)), None)
        assert found, "these tests need a browser: apt-get install chromium"
        self.folder = tempfile.mkdtemp(prefix="browser")
        theirs_in, self.outgoing = map(high, os.pipe())
        self.incoming, theirs_out = map(high, os.pipe())
        null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
        # the browser reads file descriptor 3 and writes 4
        pipes = [(os.POSIX_SPAWN_DUP2, theirs_in, 3), (os.POSIX_SPAWN_DUP2, theirs_out, 4)]
        arguments = [found, *FLAGS, f"--user-data-dir={self.folder}/profile", "about:blank"]
        self.process = os.posix_spawn(
            found, arguments, os.environ | {"HOME": self.folder}, file_actions=[*null, *pipes]
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.rest, self.number = b"", 0
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        """End the process and remove its profile."""
        os.kill(self.process, signal.SIGTERM)
        os.waitpid(self.process, 0)
        os.close(self.outgoing)
        os.close(self.incoming)
        shutil.rmtree(self.folder, ignore_errors=True)  # its children may still write

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its result; events that come before it are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        text = json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0"
        while text:
            text = text[os.write(self.outgoing, text) :]
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def read(self) -> dict[str, Any]:
        """The next message."""
        end = time.monotonic() + PATIENCE
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.incoming], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            group = os.read(self.incoming, 1 << 20)
            assert group, "the browser has ended"
            self.rest += group
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)


class Page:
    """A page that shows a file, in a tab of its own.

    Args:
        browser: the browser.
        path: the file.
        media: features such as {"prefers-color-scheme": "dark"}.
        width: of the window, in CSS pixels.
    """

    def __init__(self, browser: Browser, path: Path, media: dict[str, str] | None = None, width: int = 1200) -> None:
        self.browser, self.url = browser, path.resolve().as_uri()
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        features = [{"name": name, "value": value} for name, value in (media or {}).items()]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=self.url)
        end = time.monotonic() + PATIENCE
        while not self.run("performance.getEntriesByName('varprobe-ready').length"):
            assert time.monotonic() < end, f"the page is never ready: {self.complaints()}"
            time.sleep(0.05)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol on this page."""
        return self.browser.call(method, self.session, **parameters)

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript, awaited if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def key(self, name: str, code: int, text: str = "") -> None:
        """Press and release a key."""
        about = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def pdf(self) -> bytes:
        """The page as it prints."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def of(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the events of this page that have a name."""
        return [
            e["params"] for e in self.browser.events if e.get("method") == method and e["sessionId"] == self.session
        ]

    def complaints(self) -> list[str]:
        """Everything that was thrown, logged as a warning or an error, or requested from elsewhere."""
        self.run("new Promise(done => setTimeout(done, 50))")
        found = [str(e["exceptionDetails"]) for e in self.of("Runtime.exceptionThrown")]
        found += [str(e["entry"]) for e in self.of("Log.entryAdded")]
        found += [
            str(e["args"]) for e in self.of("Runtime.consoleAPICalled") if e["type"] in ("error", "warning", "assert")
        ]
        urls = [e["request"]["url"] for e in self.of("Network.requestWillBeSent")]
        return found + [u for u in urls if u != self.url and not u.startswith(("data:", "blob:"))]
