"""The HTML report in a real browser: it sorts, filters and opens, loads nothing, and runs nothing from the wire."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.dialogues import capture_of

import imapids

pytest.importorskip("altair")
pytest.importorskip("vl_convert")
selenium = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (chromium-driver)")

SAMPLES = Path(imapids.__file__).parent / "_samples"
CSS = "css selector"
HOSTILE = [
    (1, b"* OK <script>document.title='owned'</script> ready\r\n"),
    (0, b"<img src=x onerror=\"document.title='owned'\"> GET /\r\n"),
    (1, b"\x00\x01\x02\x03</code></td></table><script>document.title='owned'</script>\x80\x81\r\n"),
    (0, b"\x05\x01\x00<svg onload=alert(1)>\r\n"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of samples and of a capture full of markup, as the address of a file."""
    folder = tmp_path_factory.mktemp("report")
    hostile = folder / "<b>hostile<b>.pcap"
    hostile.write_bytes(capture_of([HOSTILE, HOSTILE]))
    captures = [hostile, *(SAMPLES / f"{name}.pcap" for name in ("office-day", "reverse-shell", "http-beacon"))]
    imapids.read_pcap(captures).to_html(folder / "report.html")
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--force-prefers-reduced-motion", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def report(browser, page):
    """The report, freshly opened; afterwards its console must be empty, and nothing may have been asked for."""
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page)
    yield browser
    assert browser.get_log("browser") == []
    asked = [message["params"]["request"]["url"]
             for entry in browser.get_log("performance")
             if (message := json.loads(entry["message"])["message"])["method"] == "Network.requestWillBeSent"]
    assert [address for address in asked if address != page] == []
    assert browser.title == "imapids: 4 captures"


def rows(report):
    """Texts of the table of sessions by row, those that are hidden left out."""
    return report.execute_script(
        "return [...document.querySelectorAll('#session-table tbody tr')].filter(row => !row.hidden)"
        ".map(row => [...row.cells].map(cell => cell.textContent))")


def column(report, name):
    return next(index for index, cell in enumerate(report.find_elements(CSS, "#session-table thead th"))
                if cell.text.startswith(name))


@pytest.mark.parametrize(("name", "key"), [
    pytest.param("bytes server", lambda text: int(text.replace(",", "")), id="numbers as numbers"),
    pytest.param("client", str, id="text as text"),
])
def test_a_click_sorts_and_another_one_turns_it_round(report, name, key):
    index = column(report, name)
    button = report.find_elements(CSS, "#session-table thead button")[index]
    before = rows(report)
    button.click()
    assert [key(row[index]) for row in rows(report)] == sorted(key(row[index]) for row in before)
    assert report.find_elements(CSS, "#session-table thead th")[index].get_attribute("aria-sort") == "ascending"
    button.click()
    assert [key(row[index]) for row in rows(report)] == sorted((key(row[index]) for row in before), reverse=True)
    assert sorted(rows(report)) == sorted(before)


def test_the_filter_shows_rows_with_all_words(report):
    every = rows(report)
    report.find_element(CSS, "#session-filter").send_keys("NOT-IMAP http")
    found = rows(report)
    assert found == [row for row in every if "not-imap" in " ".join(row) and "http" in " ".join(row)]
    assert 0 < len(found) < len(every)
    assert report.find_element(CSS, "#session-count").text == f"{len(found)} of {len(every)}"
    report.find_element(CSS, "#session-filter").clear()
    report.find_element(CSS, "#session-filter").send_keys(" ")
    assert rows(report) == every


def test_a_case_opens_and_its_alerts_tell_why_and_what_to_do(report):
    case = report.find_element(CSS, "details.case")
    advice = case.find_element(CSS, ".advice")
    assert not advice.is_displayed()
    case.find_element(CSS, "summary").click()
    assert advice.is_displayed()
    alerts = case.find_elements(CSS, "details.alert")
    assert len(alerts) > 1
    assert not alerts[1].find_element(CSS, ".why").is_displayed()
    alerts[1].find_element(CSS, "summary").click()
    assert alerts[1].find_element(CSS, ".why").is_displayed()


def test_bytes_of_the_wire_are_text(report):
    text = report.execute_script("return document.body.textContent")
    assert "<script>document.title='owned'</script>" in text
    assert "<b>hostile<b>.pcap" in text
    assert report.find_elements(CSS, "img, iframe, object, main script, svg [onload]") == []
    assert len(report.find_elements(CSS, "figure svg")) >= 3


@pytest.mark.parametrize("width", [pytest.param(1280, id="a desk"), pytest.param(390, id="a phone")])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_width(report, width, scheme):
    report.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600})
    report.execute_cdp_cmd("Emulation.setEmulatedMedia",
                           {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    for case in report.find_elements(CSS, "details"):
        report.execute_script("arguments[0].open = true", case)
    try:
        assert report.execute_script("return document.documentElement.scrollWidth") <= width
        ink, paper = report.execute_script(
            "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]")
        assert ink != paper
    finally:
        report.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        report.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_on_paper_everything_is_open(report):
    report.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert report.find_elements(CSS, "details:not([open])") == []
    report.execute_script("dispatchEvent(new Event('afterprint'))")
    assert report.find_elements(CSS, "details.case[open]") == []
    assert len(report.execute_cdp_cmd("Page.printToPDF", {})["data"]) > 10_000


def test_the_policy_refuses_what_is_not_the_page_s_own(browser, page):
    """The control of the other tests: what they say cannot happen is seen when it is tried."""
    browser.get(page)
    browser.get_log("browser")
    browser.execute_script(
        "const script = document.createElement('script'); script.textContent = \"document.title = 'owned'\";"
        "document.body.append(script);"
        "const image = new Image(); image.src = 'http://192.0.2.1/x.png'; document.body.append(image);")
    assert browser.title != "owned"
    messages = " ".join(entry["message"] for entry in browser.get_log("browser"))
    assert "Content Security Policy" in messages
    assert "192.0.2.1" in messages
