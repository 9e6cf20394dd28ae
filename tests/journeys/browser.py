"""Debian's Chromium without a window, for journeys through the page."""

import base64
import importlib.resources
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from patience import patient

needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None or shutil.which("chromedriver") is None, reason="chromium is not here"
)
PHONE, DESK = (390, 844), (1280, 800)
_SWITCHES = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--force-color-profile=srgb"),
)
_AXE = "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"


class Browser:
    """One window, and what a person does with it."""

    def __init__(self, profile):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for switch in (*_SWITCHES, f"--user-data-dir={profile}"):
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        self.driver.set_script_timeout(30)
        self.look_like(DESK)

    def look_like(self, size, *, dark=False):
        width, height = size
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        how = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", how)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def go(self, url):
        self.driver.get(url)
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector="main"):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def press(self, *keys):
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def drag_in(self, selector, *paths):
        """Drop files or folders of this machine on an element, as a file manager does."""
        at = self.run(
            "const one = document.querySelector(arguments[0]); one.scrollIntoView({block: 'center'});"
            "const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]",
            selector,
        )
        files = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            how = {"type": kind, "x": at[0], "y": at[1], "data": files}
            self.driver.execute_cdp_cmd("Input.dispatchDragEvent", how)

    def tab_to(self, name, most=80):
        """Press Tab until what has the focus is called so."""
        for _ in range(most):
            self.press(Keys.TAB)
            focused = self.run(
                "return document.activeElement.textContent || document.activeElement.name || ''"
            )
            if name in focused:
                return self.driver.switch_to.active_element
        raise AssertionError(f"no way to {name!r} by Tab")

    def until(self, is_so, seconds=20, what="it happens"):
        end = time.monotonic() + patient(seconds)
        while not (found := is_so()):
            if time.monotonic() > end:
                raise AssertionError(
                    f"not within {patient(seconds):g} s: {what}\n{self.text()}\n{self.said()}"
                )
            time.sleep(0.05)
        return found

    def said(self):
        """What the browser complained of since it was last asked, favicons aside."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in {"SEVERE", "WARNING"} and "favicon" not in entry["message"]
        ]

    def barriers(self):
        """What axe finds in the way of people who see, hear or move otherwise."""
        self.run(importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text())
        found = self.driver.execute_async_script(
            f"const done = arguments[0]; {_AXE}.then((found) => done(JSON.stringify(found.violations)))"
        )
        return [
            (one["id"], node["html"], node["failureSummary"])
            for one in json.loads(found)
            for node in one["nodes"]
        ]

    def keep_picture(self, name):
        """Save the whole page as a picture where CLIPSPOOL_TEST_PICTURES names a folder."""
        folder = os.environ.get("CLIPSPOOL_TEST_PICTURES")
        if not folder:
            return
        width, height = self.run("return [innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, 3000), "scale": 1}
        how = {"captureBeyondViewport": True, "clip": clip}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", how)
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self.driver.quit()
