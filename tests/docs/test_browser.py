"""The site in a real browser: no errors, a search that finds, nothing wider than the screen.

The screenshots are for those who change how pages look: ``--screenshots DIRECTORY`` keeps them.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.docs.links import Page
from tests.interop.served import missing

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE = 30.0
LOOKED_AT = (
    *("index.html", "design.html", "readme.html", "ftpdata.html", "ftpdata/transfers/sending.html"),
    *("ftpdata/connection/protocol.html", "ftpdata/codecs.html", "examples/minimal_server.html"),
)
"""Pages of each kind, for the screenshots."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Run Chromium without a window."""

    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    for name, path in programs.items():
        if path is None:
            missing(name)

    options = webdriver.ChromeOptions()
    options.binary_location = str(programs["chromium"])
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(programs["chromedriver"])
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """Serve the site on a port of its own; return its address."""

    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(
        command, cwd=site, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"port (\d+)", process.stdout.readline())
            assert found is not None
            yield f"http://127.0.0.1:{found[1]}/"
        finally:
            process.kill()


@pytest.fixture(params=["file", "http"])
def root(request: pytest.FixtureRequest, site: Path, served: str) -> str:
    """Return the address of the site: as files, and from a server."""

    return f"{site.as_uri()}/" if request.param == "file" else served


def look_for(browser: webdriver.Chrome, words: str) -> list[WebElement]:
    """Enter words into the search; return the links of what is found."""

    box = browser.find_element(By.CSS_SELECTOR, "input[type=search]")
    box.clear()
    box.send_keys(words)

    def found(driver: webdriver.Chrome) -> list[WebElement]:
        heading = driver.find_elements(By.CSS_SELECTOR, "main h4")
        if not heading or f"'{words}'" not in heading[0].text:
            return []
        return driver.find_elements(By.CSS_SELECTOR, ".search-result > a")

    return WebDriverWait(browser, PATIENCE).until(found)


def complaints(browser: webdriver.Chrome) -> list[str]:
    """Return what the console of the browser has said since it was asked."""

    log: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    quiet = {"INFO", "DEBUG"}
    return [entry["message"] for entry in log if entry["level"] not in quiet]


def test_every_page_loads(browser: webdriver.Chrome, site: Path, pages: dict[str, Page]) -> None:
    """No script fails, and nothing is fetched, neither from elsewhere nor from the site."""

    fetched: dict[str, list[str]] = {}
    for path in pages:
        browser.get((site / path).as_uri())
        names: list[str] = browser.execute_script(
            "return performance.getEntriesByType('resource').map(entry => entry.name)"
        )
        fetched[path] = [name for name in names if not name.startswith("data:")]
    assert {path: names for path, names in fetched.items() if names} == {}
    assert complaints(browser) == []


@pytest.mark.parametrize("start", ["index.html", "design.html", "ftpdata/files/target.html"])
def test_the_search_finds_a_name(browser: webdriver.Chrome, root: str, start: str) -> None:
    """It comes first, and leads to its place, from a page in any directory."""

    browser.get(root + start)
    look_for(browser, "send_file")[0].click()
    WebDriverWait(browser, PATIENCE).until(lambda driver: "search=" not in driver.current_url)
    assert browser.current_url == f"{root}ftpdata/transfers/sending.html#send_file"
    shown = browser.find_element(By.ID, "send_file")
    assert "async def send_file" in shown.text
    assert complaints(browser) == []


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("Endpoint", "ftpdata/opening/endpoint.html#Endpoint"),
        ("listen_passive", "ftpdata/opening/passive.html#listen_passive"),
        ("DTP.finish", "ftpdata/connection/protocol.html#DTP.finish"),
        ("ebcdic", "ftpdata/codecs/ebcdic.html"),
        ("mainframe", "examples/mainframe.html"),
        ("changelog", "readme.html#changelog"),
    ],
)
def test_the_search_finds_words(
    browser: webdriver.Chrome, site: Path, words: str, place: str
) -> None:
    """Names, and words of the guides and of the README."""

    browser.get((site / "ftpdata" / "errors.html").as_uri())
    found = [link.get_attribute("href") for link in look_for(browser, words)]
    assert f"{site.as_uri()}/{place}" in found


@contextlib.contextmanager
def screen(browser: webdriver.Chrome, width: int, height: int, scheme: str) -> Iterator[None]:
    """Give the browser a screen of a size, and a scheme of colours."""

    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_pages_fit_the_screen(
    browser: webdriver.Chrome, site: Path, screenshots: Path, width: int, scheme: str
) -> None:
    """No page is wider than a screen or a telephone, and the colours are those of the reader."""

    with screen(browser, width, 1000, scheme):
        for path in LOOKED_AT:
            browser.get((site / path).as_uri())
            name = path.removesuffix(".html").replace("/", ".")
            assert browser.save_screenshot(str(screenshots / f"{name}-{width}-{scheme}.png"))
            wide: int = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, path
            is_light = scheme == "light"
            assert (_brightness(browser, "body", "backgroundColor") > 200) == is_light
            assert (_brightness(browser, "main p", "color") < 100) == is_light


def _brightness(browser: webdriver.Chrome, selector: str, colour: str) -> int:
    """Return the first component of a colour, up to 255."""

    value: str = browser.execute_script(
        "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]",
        selector,
        colour,
    )
    return int(value.partition("(")[2].partition(",")[0])
