"""The page in a real browser, of a real daemon, with real clients."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.driver.http.page.browser import Browser
from tests.driver.http.page.conftest import Site

pytestmark = pytest.mark.process

CARD = '.card[data-stream="10000"]'
STATE = f"document.querySelector('{CARD}')?.dataset.state"
LIT = "document.querySelector('#chart .lit text')?.textContent"
FRAME = f"document.querySelector('{CARD} .picture img:not([hidden])')?.naturalWidth"


def shown(kind: str) -> str:
    """Number of entries of the timeline that are not hidden."""
    return f"document.querySelectorAll('#timeline .kind-{kind}:not([hidden])').length"


def lit_becomes(browser: Browser, state: str) -> None:
    browser.wait(f"{LIT} === arguments[0]", state)


def require_red(browser: Browser, image: str) -> None:
    """The middle of a picture has the colour of `streaming_client`."""
    red, green, blue = browser.run(
        """const image = document.querySelector(arguments[0]);
        const canvas = document.createElement("canvas").getContext("2d");
        canvas.drawImage(image, 0, 0);
        return [...canvas.getImageData(40, 30, 1, 1).data].slice(0, 3);""",
        image,
    )
    assert abs(red - 220) < 12
    assert abs(green - 30) < 12
    assert abs(blue - 40) < 12


def test_a_client_is_seen_from_its_attach_to_its_death(browser: Browser, site: Site) -> None:
    """D-198: the page shows what a real client does; a kill before the lease expires."""
    browser.open(site.url)
    browser.wait(f"{STATE} === 'Init'")
    lit_becomes(browser, "Normal")
    browser.find(f"{CARD} .state").click()
    lit_becomes(browser, "Init")

    producer = site.start_client("producer")
    lit_becomes(browser, "ProducerAttached")
    assert "PRODUCER_ATTACHED" in browser.text("#chart .edge.taken")
    assert browser.text("#path") == "Live › Active › ProducerAttached"
    assert browser.count("#chart .cluster.around") == 2
    site.start_client("consumer")

    # The newest frame, by the page's own client, and what the others say of themselves.
    assert browser.wait(FRAME) == 80
    require_red(browser, f"{CARD} .picture img")
    assert "60 × 80 × 3 uint8" in browser.text(f"{CARD} .caption")
    browser.wait(f"/\\d Hz · .*B\\/s/.test(document.querySelector('{CARD} .facts').textContent)")
    # Their leases, and not that of the page, which its pictures need.
    browser.wait("document.querySelector('#no-leases').textContent.includes('1 of this page')")
    browser.wait(f"document.querySelectorAll('{CARD} .chip').length === 2")
    assert browser.count("#leases tr") == 2
    browser.wait(f"{shown('grant')} === 2")
    # Streams have their names everywhere.
    assert browser.text(f"{CARD} h3") == "left 10000"
    assert browser.text("#leases tr td:nth-child(4)") == "left 10000"
    browser.wait("document.querySelector('#timeline .kind-epoch b').textContent === 'left 10000'")
    assert "left 10000" in browser.text("#machine")
    browser.wait(f"document.querySelector('{CARD} .age dd').textContent === 'now'")
    browser.wait(f"document.querySelectorAll('{CARD} .spark polyline').length === 3")

    look_into_the_picture(browser)
    browser.find(f"{CARD} .chip").click()
    lit_becomes(browser, "Active")
    sent = "[...document.querySelectorAll('.message text')].map((text) => text.textContent).join()"
    for text in ("attach as producer", "granted", "attach as consumer", "keepalive × "):
        browser.wait(f"{sent}.includes(arguments[0])", text)
    look_at_the_arrows(browser)
    os.kill(producer.pid, signal.SIGKILL)
    # The age of the newest frame is amber while the lease is still in force.
    late = browser.wait(
        f"document.querySelector('{CARD}.late') && [{STATE},"
        f" document.querySelector('{CARD} .age dd').textContent]"
    )
    assert late[0] == "ProducerAttached"
    assert late[1].endswith(" ago")
    lit_becomes(browser, "Closed")
    browser.wait(f"!document.querySelector('{CARD}.late')")
    browser.wait(f"{STATE} === 'Ready'")
    ends = browser.wait(
        "[...document.querySelectorAll('#timeline .kind-end')]"
        ".map((item) => item.textContent).join()"
    )
    assert "expired, its client fell silent" in ends
    browser.wait(f"{sent}.includes('ended: EXPIRED')")
    browser.wait("document.querySelector('#said').textContent")
    assert browser.console() == []
    hosts = {url.split("/")[2] for url in browser.requests() if url.startswith("http")}
    assert hosts == {f"127.0.0.1:{site.port}"}


def look_at_the_arrows(browser: Browser) -> None:
    """Requests run to the driver, which is on the left, and answers from it."""
    runs = browser.run(
        """return arguments[0].map((text) => {
          const line = [...document.querySelectorAll(".message")]
            .find((message) => message.textContent.includes(text)).querySelector("line");
          return line.x2.baseVal.value - line.x1.baseVal.value;
        });""",
        ["attach as producer", "granted"],
    )
    assert runs[0] < 0 < runs[1]


def choose(browser: Browser, what: str, value: str) -> None:
    """Choose in a list of the window on a picture."""
    browser.run(
        "const select = document.querySelector(arguments[0]); select.value = arguments[1];"
        "select.dispatchEvent(new Event('change'));",
        f"#pixel-{what}",
        value,
    )


def look_into_the_picture(browser: Browser) -> None:
    """D-199: values, layers, histogram, freeze and save of a frame that is opened."""
    browser.find(f"{CARD} .picture").click()
    browser.wait("document.querySelector('#pixel-canvas').width === 80")
    choose(browser, "zoom", "8")
    note = browser.text("#pixel-note")
    assert "60 × 80 × 3 uint8" in note
    browser.run(
        """const canvas = document.querySelector("#pixel-canvas");
        const box = canvas.getBoundingClientRect();
        canvas.dispatchEvent(new MouseEvent("mousemove", {
          clientX: box.left + 40.5 * box.width / 80,
          clientY: box.top + 30.5 * box.height / 60 }));"""
    )
    values = "row 30, column 40: channel 0 220, channel 1 30, channel 2 40"
    assert browser.text("#pixel-value") == values
    assert browser.count("#pixel-histogram polyline") == 3
    browser.wait("document.querySelector('#pixel-note').textContent !== arguments[0]", note)
    browser.find("#pixel-freeze").click()
    choose(browser, "channel", "1")
    choose(browser, "map", "viridis")
    assert browser.count("#pixel-histogram polyline") == 1
    assert browser.text("#pixel-range") == "channel 1: 30 to 30, mean 30"
    pixel = "document.querySelector('#pixel-canvas').getContext('2d').getImageData(9, 9, 1, 1)"
    assert browser.run(f"return [...{pixel}.data]") == [68, 1, 84, 255]  # all values are equal
    browser.run("HTMLAnchorElement.prototype.click = function () { window.saved = this.download; }")
    browser.find("#pixel-save").click()
    frozen = browser.text("#pixel-note").partition(" ")[0].removeprefix("#")
    assert browser.wait("window.saved") == f"stream-10000-frame-{frozen}.png"
    browser.press(Keys.ESCAPE)
    browser.wait("!document.querySelector('#pixels').open")


def test_B_161_a_bridged_stream_is_shown_with_its_origin(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    """B-161: picture and origin of a far stream, through two bridges and over UDP."""
    site.start_client("producer")
    site.start_bridges(10000, 10001, tmp_path)
    browser.open(site.url)
    far = '.card[data-stream="10001"]'
    picture = f"{far} .picture img:not([hidden])"
    assert browser.wait(f"document.querySelector('{picture}')?.naturalWidth") == 80
    require_red(browser, picture)
    origin = "bridged fromnear-host:10000 by near-host"
    browser.wait(f"document.querySelector('{far} .facts').textContent.includes('{origin}')")
    assert "bridged from" not in browser.text(f"{CARD} .facts")
    assert browser.console() == []


def test_frames_are_read_only_while_a_page_shows_them(
    browser: Browser, site: Site, eventually: Callable[..., None]
) -> None:
    site.start_client("producer")
    browser.open(site.url)
    assert browser.wait(FRAME)
    assert len(site.status()["leases"]) == 2
    browser.find("#images").click()
    eventually(lambda: len(site.status()["leases"]) == 1, "the page's lease is returned")
    # An end that was meant is grey, and the page's own is shown on request only.
    assert browser.run(f"return {shown('end')}") == 0
    browser.find('#kinds [value="own"]').click()
    browser.wait(f"{shown('end')} === 1")
    edge = "getComputedStyle(document.querySelector('#timeline .kind-{} .what')).borderLeftColor"
    assert browser.run(f"return {edge.format('end')}") == browser.run(
        f"return {edge.format('state')}"
    )
    browser.find("#images").click()
    eventually(lambda: len(site.status()["leases"]) == 2, "the page attaches again")
    browser.driver.get("about:blank")
    eventually(lambda: len(site.status()["leases"]) == 1, "the page's lease is returned")
    eventually(lambda: children_of(site.daemon.pid) == [], "the page's client ends")


def test_the_page_finds_the_driver_again_after_a_restart(browser: Browser, site: Site) -> None:
    browser.open(site.url)
    browser.wait("document.body.dataset.link === 'live'")
    browser.wait(STATE)
    assert site.daemon.stop() == 0
    browser.wait("document.body.dataset.link === 'lost'")
    assert browser.find("#trouble").is_displayed()
    site.start_driver(**{"driver.instance_id": "second"})
    browser.wait("document.querySelector('#instance').textContent === 'second'")
    browser.wait("document.querySelector('#trouble').hidden")


def test_an_open_page_does_not_keep_the_driver_from_stopping(browser: Browser, site: Site) -> None:
    """Its own lease is returned when the driver drains, or the drain would time out."""
    producer = site.start_client("producer")
    browser.open(site.url)
    browser.wait("document.querySelector('.picture img:not([hidden])')?.naturalWidth")
    pids = children_of(site.daemon.pid)
    assert len(pids) == 1
    producer.kill()  # its lease is left to expire
    assert site.daemon.stop() == 0
    returned = [r["message"] for r in site.daemon.log if "ended: detached" in r["message"]]
    assert len(returned) == 1
    assert not os.path.exists(f"/proc/{pids[0]}")


def test_everything_can_be_reached_and_used_by_keyboard(browser: Browser, quiet_site: Site) -> None:
    browser.open(quiet_site.url)
    browser.wait(STATE)
    reached = [browser.tab() for _ in range(20)]
    for part in ("skip", "driver-state", "find", "images", "state", "machine", "chart"):
        assert part in reached, reached
    browser.run("document.querySelector('.card .state').focus()")
    browser.press("\ue007")  # Enter
    lit_becomes(browser, "Init")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert browser.run(f"return {outline}") == "solid"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(
    browser: Browser, quiet_site: Site, scheme: str
) -> None:
    """Contrast of at least 4.5 between every text and what it stands on (WCAG AA)."""
    browser.prefer(scheme)
    browser.open(quiet_site.url)
    browser.wait(STATE)
    browser.find(f"{CARD} .state").click()
    lit_becomes(browser, "Init")
    browser.wait("document.getAnimations().length === 0")
    faint, looked_at, page = browser.run(CONTRASTS)
    assert faint == []
    assert looked_at > 60
    assert (page > 0.5) == (scheme == "light")


@pytest.mark.parametrize("width", [360, 400, 800, 1500])
def test_nothing_runs_out_of_a_narrow_window(
    browser: Browser, quiet_site: Site, width: int
) -> None:
    browser.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        browser.open(quiet_site.url)
        browser.wait(STATE)
        browser.wait("document.querySelector('#chart svg')")
        assert browser.run("return document.documentElement.scrollWidth") <= width
        cut = """const header = document.querySelector(".words header");
            const name = header.querySelector("h3");
            const word = document.createElement("span");
            word.style.display = "inline-block";
            word.style.width = `${0.8 * header.clientWidth}px`;
            name.replaceChildren(word);
            return name.scrollWidth > name.clientWidth;"""
        assert not browser.run(cut)  # the state goes to a line of its own
        browser.find("#compact").click()
        row = "document.querySelector('.card').getBoundingClientRect().height"
        assert browser.run(f"return {row}") < 70
        assert browser.run("return document.documentElement.scrollWidth") <= width
        if width == 1500:  # chart and timeline stay in view, however many streams there are
            browser.run("document.querySelector('main').style.minHeight = '3000px'")
            browser.run("scrollTo(0, 1000)")
            assert browser.run("return scrollY") == 1000
            place = "document.querySelector('#{}-section').getBoundingClientRect()"
            assert browser.run(f"return {place.format('chart')}.top") >= 0
            assert browser.run(f"return {place.format('timeline')}.bottom") <= 900
    finally:
        browser.run("localStorage.clear()")
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def children_of(pid: int) -> list[int]:
    """Child processes of any thread of a process."""
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children") as children:
            found += [int(child) for child in children.read().split()]
    return found


CONTRASTS = """
const channel = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const over = (colours) => {
  canvas.clearRect(0, 0, 1, 1);
  for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const behind = (element) => {
  const colours = [];
  for (let e = element; e; e = e.parentElement) {
    if (e instanceof SVGElement) {
      const box = e.matches("g.node, g.cluster") && e.querySelector("path");
      if (box) colours.unshift(getComputedStyle(box).fill);
    } else colours.unshift(getComputedStyle(e).backgroundColor);
  }
  return colours;
};
const faint = [];
let count = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
  if (element.closest("noscript, select, .skip")) continue;
  const style = getComputedStyle(element);
  const under = behind(element);
  const back = luminance(over(under));
  const ink = element instanceof SVGElement ? style.fill : style.color;
  const fore = luminance(over([...under, ink]));
  const contrast = (Math.max(fore, back) + 0.05) / (Math.min(fore, back) + 0.05);
  count += 1;
  if (contrast < 4.5) faint.push([walker.currentNode.data.trim(), contrast.toFixed(2)]);
}
return [faint, count, luminance(over(behind(document.body)))];
"""
