"""The page in a browser: plots, hover, light and dark, a phone, paper, and texts as texts."""

import base64
import json
import re
import shutil
import time

import pytest

from sentune.report import page
from tests.report.records import HOSTILE, evaluation, train

selenium = pytest.importorskip("selenium", reason="selenium is not installed")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="there is no chromium with its chromedriver (Debian: apt-get install chromium "
    "chromium-driver)",
)

POISON = " ".join(HOSTILE)
PHONE, DESK = 360, 1200


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('browser')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The address of each page."""
    folder = tmp_path_factory.mktemp("pages")
    records = {"train": train(), "hostile": train(POISON), "evaluate": evaluation()}
    records["start"] = train() | {"decision": {"kept": "start", "cause": "chance"}}
    for name, record in records.items():
        (folder / f"{name}.html").write_text(page(record), encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in records}


def look(browser, address, width=DESK, scheme="light"):
    """Open a page and wait until its plots are drawn; gives what the console says."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get_log("browser")
    browser.get("about:blank")
    browser.get(address)
    for _ in range(600):  # a busy machine
        if browser.execute_script("return document.documentElement.dataset.drawn"):
            break
        time.sleep(0.05)
    else:
        pytest.fail(f"the plots were not drawn: {browser.get_log('browser')}")
    return [entry["message"] for entry in browser.get_log("browser")]


def of(browser, script):
    return browser.execute_script(f"return {script}")


def point_at(browser, selector, number=0):
    """Move the pointer to an element and give what is shown for it."""
    place = of(
        browser,
        f"""(() => {{
            const one = document.querySelectorAll({json.dumps(selector)})[{number}];
            one.scrollIntoView({{block: "center", behavior: "instant"}});
            const box = one.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""",
    )
    for shift in (3, 0):
        browser.execute_cdp_cmd(
            "Input.dispatchMouseEvent",
            {"type": "mouseMoved", "x": place[0] + shift, "y": place[1]},
        )
        time.sleep(0.05)
    for _ in range(200):
        shown = of(browser, "tip.hidden ? '' : tip.innerText")
        if shown:
            break
        time.sleep(0.05)
    return shown


@pytest.mark.parametrize("name", ["train", "hostile", "evaluate"])
def test_a_page_is_drawn_without_an_error(browser, pages, name):
    assert look(browser, pages[name]) == []
    boxes = of(browser, "document.querySelectorAll('[data-plot]').length")
    assert of(browser, "Number(document.documentElement.dataset.drawn)") == boxes
    assert of(browser, "document.querySelectorAll('[data-plot] svg').length") == boxes
    assert boxes == (0 if name == "evaluate" else 13)


def test_nothing_is_fetched(browser, pages):
    browser.get_log("performance")
    look(browser, pages["train"])
    asked = [
        json.loads(entry["message"])["message"]["params"]["request"]["url"]
        for entry in browser.get_log("performance")
        if '"Network.requestWillBeSent"' in entry["message"]
    ]
    assert {re.match(r"\w+:", url)[0] for url in asked} <= {"file:", "data:", "about:"}


def test_a_point_of_the_map_shows_its_text_and_is_marked_on_both_sides(browser, pages):
    look(browser, pages["train"])
    shown = point_at(browser, "[data-plot='map-before'] .mark-symbol path", 7)
    assert re.fullmatch(r"a text number \d+\s+(a text|second)", shown)
    wide = "[...document.querySelectorAll('.plot.map .mark-symbol path')]"
    sizes = of(browser, f"{wide}.map(one => one.getBoundingClientRect().width)")
    assert sum(size > 2 * min(sizes) for size in sizes) == 2


def test_a_tap_on_the_map_shows_its_text_until_one_elsewhere(browser, pages):
    look(browser, pages["train"], width=PHONE)
    send(browser, "[data-plot='map-before'] .mark-symbol path", "pointerdown", "pointerup", "click")
    assert re.fullmatch(r"a text number \d+\s+(a text|second)", of(browser, SHOWN))
    send(browser, "#map h2", "pointerdown", "pointerup", "click")
    assert of(browser, SHOWN) == ""


SHOWN = "tip.hidden ? '' : tip.innerText"


def send(browser, selector, *kinds):
    """The events of a tap in a browser that makes no movements of a mouse of it."""
    for kind in kinds:
        event = f"new PointerEvent('{kind}', {{bubbles: true, pointerType: 'touch'}})"
        browser.execute_script(
            f"document.querySelector({json.dumps(selector)}).dispatchEvent({event})"
        )


@pytest.mark.parametrize(
    ("plot", "mark", "words"),
    [
        ("length-0", ".mark-rect path", "texts"),
        ("scores-after", ".mark-symbol path", "similarity"),
        ("mixes", ".mark-symbol path", "gain"),
        ("curve-loss", ".mark-symbol path", "step"),
    ],
)
def test_a_mark_of_a_plot_shows_its_values(browser, pages, plot, mark, words):
    look(browser, pages["train"])
    assert words in point_at(browser, f"[data-plot='{plot}'] {mark}", 1)


def test_a_group_of_the_map_can_be_picked(browser, pages):
    look(browser, pages["train"])
    faint = (
        "[...document.querySelectorAll('[data-plot=map-after] .mark-symbol path')]"
        ".filter(one => Number(one.getAttribute('opacity')) < 0.2).length"
    )
    assert of(browser, faint) == 0
    browser.execute_script("document.querySelectorAll('.pick button')[1].click()")
    time.sleep(0.2)
    assert of(browser, faint) == 40  # the larger group


MADE = "document.querySelectorAll('img, iframe, [onerror], [onmouseover]').length"


def test_a_hostile_text_stays_text_on_the_page_and_under_the_pointer(browser, pages):
    look(browser, pages["hostile"])  # an alert would be an error of the driver
    assert (
        of(browser, "document.querySelectorAll('img, iframe, [onerror], [onmouseover]').length")
        == 0
    )
    assert of(browser, "document.querySelectorAll('body > script').length") == 3
    shown = of(browser, "document.querySelector('#neighbours h4').innerText")
    for text in HOSTILE[:4]:
        assert text in shown
    hovered = point_at(browser, "[data-plot='map-before'] .mark-symbol path", 3)
    assert HOSTILE[0] in hovered and "{{7*7}}" in hovered
    point_at(browser, "[data-plot='curve-parts'] .mark-symbol path", 3)
    assert (
        of(browser, "document.querySelectorAll('img, iframe, [onerror], [onmouseover]').length")
        == 0
    )


BACKGROUND = "getComputedStyle(document.body).backgroundColor"
LABEL = "getComputedStyle(document.querySelector('[data-plot] svg .mark-text text')).fill"


def light_of(colour):
    return sum(int(number) for number in re.findall(r"\d+", colour)[:3]) / 3


def test_it_is_light_and_dark_with_the_machine_and_by_the_button(browser, pages):
    look(browser, pages["train"], scheme="dark")
    assert light_of(of(browser, BACKGROUND)) < 50 < light_of(of(browser, LABEL))
    browser.execute_script("document.getElementById('theme').click()")
    assert light_of(of(browser, BACKGROUND)) > 240 and light_of(of(browser, LABEL)) < 130
    look(browser, pages["train"], scheme="dark")
    assert light_of(of(browser, BACKGROUND)) > 240  # remembered
    browser.execute_script("localStorage.clear()")
    look(browser, pages["train"], scheme="light")
    assert light_of(of(browser, BACKGROUND)) > 240


@pytest.mark.parametrize("name", ["train", "hostile", "evaluate"])
def test_a_phone_shows_it_without_scrolling_sideways(browser, pages, name):
    look(browser, pages[name], width=PHONE)
    assert of(browser, "document.documentElement.scrollWidth") <= PHONE
    out = of(
        browser,
        """[...document.querySelectorAll("main *")].filter(one => {
            if (one.closest(".scroll, svg")) return false;
            const box = one.getBoundingClientRect();
            return box.width > 0 && getComputedStyle(one).position !== "absolute"
                && (box.right > innerWidth + 1 || box.left < -1);
        }).map(one => one.outerHTML.slice(0, 200))""",
    )
    assert out == []


def test_it_prints(browser, pages):
    look(browser, pages["train"], scheme="dark")
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    data = base64.b64decode(pdf["data"])
    assert data.startswith(b"%PDF-") and len(data) > 20_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert light_of(of(browser, BACKGROUND)) > 240  # no dark paper
    assert of(browser, "getComputedStyle(document.querySelector('.top')).display") == "none"


def test_a_chart_alone_has_the_width_of_the_paper(browser, pages):
    look(browser, pages["start"])
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    for section in ("scores", "map"):
        wide = f"document.querySelector('#{section} .plot').clientWidth"
        assert of(browser, wide) > 0.95 * of(
            browser, f"document.querySelector('#{section}').clientWidth"
        )
        text = f"document.querySelector('#{section} h2 + p')"
        assert of(browser, f"getComputedStyle({text}).breakAfter") == "avoid"


@pytest.mark.parametrize("name", ["train", "start"])
def test_a_name_is_not_broken_where_there_is_room(browser, pages, name):
    look(browser, pages[name])
    lines = """(() => {
        const name = document.querySelector(".board tr:not(.start) td .text");
        name.textContent = "MultipleNegativesRankingLoss, 0.0001";
        const outcome = name.closest("tr").querySelector("td:last-child");
        outcome.append("too few rows for short runs ".repeat(5));
        const word = document.createRange();
        word.setStart(name.firstChild, 0);
        word.setEnd(name.firstChild, 28);
        return word.getClientRects().length;
    })()"""
    assert of(browser, lines) == 1
    heads = "[...document.querySelectorAll('.board thead th')].map(one => one.clientHeight)"
    assert max(of(browser, heads)) < 40


def test_without_javascript_all_but_the_plots_is_there(browser, pages):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(pages["train"])
        text = browser.find_element("tag name", "body").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "rose from 0.812 to 0.861" in text
