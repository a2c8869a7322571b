"""Headless Chromium, driven by Selenium."""

from __future__ import annotations

import json
import shutil
import tempfile
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

PATIENCE_S = 20
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1500,1200",
)


class BrowserMissingError(Exception):
    """The browser tests need a browser."""


class Browser:
    """One browser with one tab."""

    def __init__(self, driver: webdriver.Chrome, profile: str) -> None:
        self.driver = driver
        self._profile = profile

    @classmethod
    def start(cls) -> Browser:
        """Start one with an empty profile; BrowserMissingError has the remedy."""
        browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
        chromedriver = shutil.which("chromedriver")
        if browser is None or chromedriver is None:
            raise BrowserMissingError(
                "the page is tested in Chromium, and chromium or chromedriver is not installed:"
                " `make system-packages` as root (apt-get install chromium chromium-driver)"
            )
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        profile = tempfile.mkdtemp(prefix="tp-browser-")
        for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        return cls(webdriver.Chrome(options, Service(chromedriver)), profile)

    def open(self, url: str) -> None:
        """Load a page, without the messages of the one before, whose server may be gone."""
        self.leave()
        self.console()
        self.requests()
        self.driver.get(url)

    def leave(self) -> None:
        """Close the page."""
        self.driver.get("about:blank")

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def count(self, selector: str) -> int:
        return len(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def text(self, selector: str) -> str:
        found = self.driver.execute_script(
            "return document.querySelector(arguments[0])?.textContent ?? ''", selector
        )
        return str(found)

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, *arguments: object) -> Any:
        """Until a JavaScript expression is true; what it gave."""
        waiting = WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.02)
        return waiting.until(lambda _: self.run(f"return {script}", *arguments), script)

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def tab(self) -> str:
        """Go to the next element by the keyboard; how it calls itself."""
        self.press(Keys.TAB)
        return str(self.run("return document.activeElement.id || document.activeElement.className"))

    def prefer(self, scheme: str) -> None:
        """`dark` or `light`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def console(self) -> list[str]:
        """Messages since the last call: errors, refused loads, violations of the policy."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses asked for since the last call."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def close(self) -> None:
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)
