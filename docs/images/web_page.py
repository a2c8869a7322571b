"""Take the pictures of the driver's web page with real processes: `make docs-screenshots`.

A driver, cameras and consumers run; headless Chromium opens the page and `web-page-*.webp` are
written. Each picture waits for what it is about, so a busy machine only takes longer.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.remote.webelement import WebElement

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.driver.http.page.browser import Browser  # noqa: E402

QUALITY = 82
SIZE = (1600, 1000)
NAMED = {"front": 10000, "depth": 10001, "thermal": 10002, "rear": 10003}
MANY = {f"line-{n:02}": 10100 + n for n in range(40)}


class Pool:
    """A driver with a page, and its clients."""

    def __init__(self, directory: Path, base_dir: Path, streams: dict[str, int]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        self._aeron_dir = base_dir / "aeron"
        self._base_dir = base_dir / "pool"
        self._base_dir.mkdir()
        large = 1 << 20 if len(streams) < 10 else 1 << 12
        tables = [
            f'[streams.{name}]\nstream_id = {number}\nprofile = "images"\n'
            for name, number in streams.items()
        ]
        config = directory / "driver.toml"
        config.write_text(
            f"""[driver]
instance_id = "lab-bench-2"
http_address = "{self.url.removeprefix("http://").rstrip("/")}"
aeron_dir = "{self._aeron_dir}"
media_driver = "embedded"
[shm]
base_dir = "{self._base_dir}"
[profiles.images]
header_nslots = 64
payload_pools = [{{ pool_id = 1, stride_bytes = {large} }}]
{"".join(tables)}"""
        )
        self._processes: list[subprocess.Popen[str]] = []
        driver = self._start("-m", "tensor_pool.cli", "driver", "--config", str(config))
        assert driver.stdout is not None
        print(driver.stdout.readline().strip())

    def client(self, name: str, role: str, *streams: int) -> subprocess.Popen[str]:
        place = f"{self._aeron_dir},{self._base_dir},{name}"
        program = str(HERE / "web_page_clients.py")
        return self._start(program, place, role, *map(str, streams))

    def _start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGINT)
        for process in reversed(self._processes):
            process.wait()


@contextlib.contextmanager
def pool(streams: dict[str, int]) -> Iterator[Pool]:
    base_dir = Path(tempfile.mkdtemp(prefix="tp-pictures-", dir="/dev/shm"))
    with tempfile.TemporaryDirectory() as directory:
        try:
            with contextlib.closing(Pool(Path(directory), base_dir, streams)) as running:
                yield running
        finally:
            shutil.rmtree(base_dir, ignore_errors=True)


class Camera:
    """Takes pictures of the browser's window."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser = browser
        self._folder = folder

    def resize(self, width: int, height: int) -> None:
        self.browser.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def take(self, name: str, part: WebElement | None = None) -> None:
        """Keep the window, or one part of the page."""
        whole = self.browser.driver.get_screenshot_as_png
        png = whole() if part is None else part.screenshot_as_png
        path = self._folder / f"web-page-{name}.webp"
        Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=QUALITY, method=6)
        print(path)


def settled(browser: Browser, streams: int, seconds: int) -> None:
    """Wait until the lines of the last minute have so many points, and pictures have come."""
    browser.wait(
        "[...document.querySelectorAll('.card .rate polyline')]"
        ".filter((line) => line.points.length > arguments[1]).length >= arguments[0]",
        streams,
        seconds,
    )


def few_streams(camera: Camera) -> None:
    browser = camera.browser
    with pool(NAMED) as running:
        front = running.client("front-camera", "photographs", NAMED["front"])
        depth = running.client("depth-camera", "depth", NAMED["depth"])
        running.client("thermal-camera", "thermal", NAMED["thermal"])
        recorded = [NAMED[name] for name in ("front", "depth", "thermal")]
        running.client("recorder", "reader", *recorded)
        running.client("detector", "slow", NAMED["front"])
        camera.resize(*SIZE)
        browser.prefer("light")
        browser.open(running.url)
        settled(browser, 3, 12)
        browser.find(f'.card[data-stream="{NAMED["front"]}"] .state').click()
        browser.wait("document.querySelector('#chart .lit text')?.textContent")
        camera.take("light")
        open_picture(camera)
        browser.prefer("dark")
        browser.wait("document.getAnimations().length === 0")
        camera.take("dark")
        browser.prefer("light")
        camera.resize(400, 1100)
        camera.take("400")
        camera.resize(*SIZE)
        front.kill()
        browser.wait("/[2-9]\\.\\d s/.test(document.querySelector('.card.late .age')?.textContent)")
        camera.take("kill")
        browser.wait(
            "[...document.querySelectorAll('.message text')]"
            ".some((text) => text.textContent.includes('EXPIRED'))"
        )
        browser.run(
            """const select = document.querySelector("#message-stream");
            select.value = arguments[0];
            select.dispatchEvent(new Event("change"));
            const section = document.querySelector("#messages").closest("section");
            section.scrollIntoView();
            scrollBy(0, -70);""",
            str(NAMED["front"]),
        )
        camera.take("messages", browser.find('section[aria-labelledby="messages-heading"]'))
        expiry(camera, depth)


def expiry(camera: Camera, depth: subprocess.Popen[str]) -> None:
    """The lease of a killed camera, while a point runs along the arrow of its end."""
    browser = camera.browser
    browser.prefer("dark")
    camera.resize(1000, 1000)  # the chart has the whole width
    chip = browser.find(f'.card[data-stream="{NAMED["depth"]}"] .chip[data-machine]')
    lease = chip.get_attribute("data-machine")
    browser.run("arguments[0].click()", chip)
    browser.wait("document.querySelector('#chart').dataset.machine === arguments[0]", lease)
    browser.run(  # the point stops half-way: a picture takes longer than its run
        """const [next, later] = [requestAnimationFrame, setTimeout];
        let began;
        window.requestAnimationFrame = (move) => next((now) => {
          began ??= now;
          move(Math.min(now, began + 450));
        });
        window.setTimeout = (done, ms) => later(done, ms === 1800 ? 1e6 : ms);"""
    )
    depth.kill()
    browser.wait(
        "document.querySelector('#last-step').textContent.includes('LEASE_TIMEOUT')"
        " && document.querySelector('.runner')?.getAttribute('cx')"
    )
    browser.wait("document.getAnimations().every((one) => one.animationName === 'run')")
    camera.take("transition", browser.find("#chart-section"))
    browser.prefer("light")


def open_picture(camera: Camera) -> None:
    """The depth image in a colour map, with the values under the mouse."""
    browser = camera.browser
    browser.find(f'.card[data-stream="{NAMED["depth"]}"] .picture').click()
    browser.wait("document.querySelector('#pixel-canvas').width")
    browser.run(
        """for (const [id, value] of [["channel", 0], ["map", "viridis"], ["zoom", 2]]) {
          const select = document.querySelector(`#pixel-${id}`);
          select.value = value;
          select.dispatchEvent(new Event("change"));
        }"""
    )
    webdriver.ActionChains(browser.driver).move_to_element(browser.find("#pixel-canvas")).perform()
    browser.wait("document.querySelector('#pixel-value').textContent")
    camera.take("picture")
    browser.find("#pixel-close").click()


def many_streams(camera: Camera) -> None:
    with pool(MANY) as running:
        running.client("line-cameras", "small", *MANY.values())
        running.client("quality-control", "reader", *list(MANY.values())[:6])
        camera.resize(1600, 1400)
        camera.browser.open(running.url)
        settled(camera.browser, 40, 8)
        camera.take("40-streams")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    with contextlib.closing(Browser.start()) as browser:
        camera = Camera(browser, folder)
        few_streams(camera)
        many_streams(camera)


if __name__ == "__main__":
    main()
