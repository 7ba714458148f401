"""What a reader of a page of `ckptfs report` would see, checked against the data in the page."""

import json
import pathlib
import re
from urllib.parse import urlencode

from chromium import Browser, Page

PHONE, DESK = (390, 844), (1280, 900)
# Loading on a machine that does other work; on one that does not it is a tenth of it.
LOAD_MS = 8000

RULES = (pathlib.Path(__file__).parent / "rules.js").read_text()


class Report:
    """One page under test."""

    def __init__(self, browser: Browser, path: pathlib.Path, pictures: pathlib.Path | None) -> None:
        self.browser, self.path, self.pictures = browser, path, pictures
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
        if found is None:
            raise SystemExit(f"error: {path} has no data; is it a page of ckptfs report?")
        self.data = json.loads(found[1])
        self.wrong: list[str] = []
        self.where = ""

    def check(self, is_right: bool, what: object) -> None:
        if not is_right:
            self.wrong.append(f"{self.path.name}, {self.where}: {what}")

    def open(self, where: str, size: tuple[int, int], fragment: str = "", **how: bool) -> Page:
        self.where = where
        return Page(self.browser, self.path.as_uri() + fragment, width=size[0], height=size[1], **how)

    def done(self, page: Page) -> None:
        for found in page.run(RULES):
            self.check(False, found)
        for found in page.complaints():
            self.check(False, found)
        if self.pictures:
            page.picture(self.pictures / f"{self.path.stem}-{self.where.replace(' ', '-')}.png")
        page.close()

    def newest(self) -> dict | None:
        """The run that is shown first."""
        runs = [run for run in self.data["runs"] if run["versions"]]
        return max(runs, key=lambda run: run["versions"][0]["time"], default=next(iter(self.data["runs"]), None))

    def everything(self) -> None:
        for name, size in (("phone", PHONE), ("desk", DESK)):
            for dark in (False, True):
                page = self.open(f"{name} {'dark' if dark else 'light'}", size, dark=dark)
                self.loaded(page)
                if self.pictures:
                    page.settle()
                    page.picture(
                        self.pictures / f"{self.path.stem}-{self.where.replace(' ', '-')}-whole.png", whole=True
                    )
                self.done(page)
        self.no_script()
        self.missing()
        if self.data["runs"] and self.newest()["versions"]:
            self.details()
            self.reading()
            self.charts()

    def loaded(self, page: Page) -> None:
        took = page.run("performance.getEntriesByType('navigation')[0].loadEventEnd")
        size = self.path.stat().st_size / 1024
        print(f"{self.path.name}, {self.where}: {size:.0f} KiB, loaded in {took:.0f} ms")
        self.check(took < LOAD_MS, f"loading took {took:.0f} ms")
        versions = sum(len(run["versions"]) for run in self.data["runs"])
        self.check(
            page.run("document.querySelector('.tile b').textContent") == f"{versions:,}",
            "the number of versions is wrong",
        )
        run = self.newest()
        self.check(
            page.run("document.querySelectorAll('.run').length")
            == (len(self.data["runs"]) if len(self.data["runs"]) > 1 else 0),
            "the runs are not listed",
        )
        if run is None:
            self.check("no runs yet" in page.run("document.body.innerText"), "nothing says that there are no runs")
            return
        rows = "document.querySelectorAll('#rows tr').length"
        # Far rows come when they are scrolled to, or, on a phone, asked for.
        on = ".scrollTo(0, 1e9)" if "desk" in self.where else ".querySelector('.more').click()"
        is_short = len(run["versions"]) <= 2000
        while is_short and page.run("document.querySelector('.tall .more')?.hidden === false"):
            before = page.run(rows)
            page.run(f"document.querySelector('.tall'){on}")
            page.settle()
            if page.run(rows) == before:
                break
        there = page.run(rows)
        self.check(there == len(run["versions"]) if is_short else 0 < there <= 2000, f"{there} rows")
        if self.pictures:
            page.run(
                "document.querySelector('.tall')?.scrollTo(0, 0); document.getElementById('versions').scrollIntoView()"
            )
            page.picture(self.pictures / f"{self.path.stem}-{self.where.replace(' ', '-')}-rows.png")
        page.run("scrollTo(0, 0)")

    def no_script(self) -> None:
        page = self.open("no script", DESK, scripts=False)
        self.check(
            "switch JavaScript on" in page.run("document.body.innerText"), "nothing says that the page needs scripts"
        )
        page.close()

    def details(self) -> None:
        """The versions of each run that have most to say, by the address."""
        for run in self.data["runs"]:
            chosen = {
                version["number"]: version
                for version in [
                    *run["versions"][:1],
                    *[one for one in run["versions"] if not one["valid"]][:1],
                    *[one for one in run["versions"] if one["expired"]][:1],
                ]
            }
            for version in chosen.values():
                self.detail(run, version)

    def missing(self) -> None:
        """An address of a version that is not there says so."""
        page = self.open("missing", PHONE, "#run=no-such-run&version=1")
        self.check(
            "no such version of no-such-run" in page.run("document.body.innerText"),
            "nothing says that a version is missing",
        )
        self.done(page)

    def detail(self, run: dict, version: dict) -> None:
        fragment = "#" + urlencode({"run": run["run"], "version": version["number"]})
        page = self.open(
            f"detail {self.data['runs'].index(run)} {version['number']}",
            PHONE if version["number"] % 2 else DESK,
            fragment,
            dark=version["number"] % 3 == 0,
        )
        self.check(page.run("document.getElementById('detail').open"), "the address does not open the version")
        text = page.run("document.getElementById('detail').textContent") or ""
        files = [file["path"] for part in ("diff", "inside") for file in self.files(run, version, part)]
        wanted = [f"{version['number']:06}", version["trigger"], *version["tags"], *version["why"], *files]
        wanted += [] if version["expired"] else version["kept_by"] or [version["goes"]]
        wanted += [value for value in (version["provenance"] or {}).values() if isinstance(value, str)]
        for words in wanted:
            self.check(seen(words) in text, f"the detail lacks {words!r}")
        page.run("document.querySelectorAll('#detail details').forEach(one => { one.open = true; })")
        page.settle()
        held = sum(
            min(100, len(file["tensors"])) for part in ("diff", "inside") for file in self.files(run, version, part)
        )
        self.check(
            held <= page.run("document.querySelectorAll('#detail .tensors tbody tr').length") <= held * 3,
            "tensors are missing, or all in the document at once",
        )
        self.done(page)

    def files(self, run: dict, version: dict, part: str) -> list[dict]:
        of = (
            version["diff"]
            if part == "diff"
            else run["inside"] if (run["inside"] or {}).get("number") == version["number"] else None
        )
        return of["files"] if of else []

    def reading(self) -> None:
        """Search, filter, sort, open by the keyboard, close, theme."""
        run, page = self.newest(), self.open("reading", DESK)
        versions = run["versions"]
        first = "document.querySelector('#rows a').textContent"
        told = "document.querySelector('[role=status]').textContent"
        typed = "(text => { const box = document.querySelector('input[type=search]'); box.value = text; box.dispatchEvent(new Event('input')); })"
        chosen = "(at => { const box = document.querySelector('[aria-label=Show]'); box.value = at; box.dispatchEvent(new Event('change')); })"
        number = f"{versions[len(versions) // 2]['number']:06}"
        page.run(f"{typed}('{number}')")
        self.check(
            number in page.run("[...document.querySelectorAll('#rows a')].map(one => one.textContent)"),
            f"the search for {number} does not find it",
        )
        page.run(f"{typed}('no such thing anywhere')")
        self.check(page.run(told).startswith("0 of "), "a search for nothing finds something")
        page.run(f"{typed}('')")
        going = sum(not one["expired"] and not one["kept_by"] for one in versions)
        page.run(f"{chosen}(4)")
        self.check(page.run(told).startswith(f"{going:,} "), f"of {going} that go the filter shows {page.run(told)}")
        page.run(f"{chosen}(0)")
        page.run(
            "[...document.querySelectorAll('.rows th button')].find(one => one.textContent.startsWith('Size')).click()"
        )
        largest = max(versions, key=lambda one: (one["logical_bytes"], one["number"]))
        self.check(page.run(first) == f"{largest['number']:06}", "sorting by size does not bring the largest first")
        page.run("document.querySelector('#rows a').focus()")
        page.key("Enter", 13)
        self.check(page.run("document.getElementById('detail').open"), "Enter on a version does not open it")
        page.click(600, 40)
        self.check(page.run("document.getElementById('detail').open"), "a click into the version closes it")
        page.click(200, 400)
        self.check(
            not page.run("document.getElementById('detail').open"), "a click beside the version does not close it"
        )
        page.run("document.querySelector('#rows a').click()")
        page.settle()
        page.key("Escape", 27)
        self.check(
            page.run("!document.getElementById('detail').open && !location.hash.includes('version=')"),
            "Escape does not close the version",
        )
        ground = "getComputedStyle(document.body).backgroundColor"
        before = page.run(ground)
        page.run("document.querySelector('.theme').click(); document.querySelector('.theme').click()")
        self.check(page.run(ground) != before, "the theme does not change")
        self.done(page)

    def charts(self) -> None:
        """Each chart says the version under the pointer, and opens it by a click."""
        page = self.open("charts", DESK)
        page.settle()
        live = [one for one in self.newest()["versions"] if not one["expired"]]
        has_metric = any(one["metrics"] for one in live)
        places = page.run(
            "[...document.querySelectorAll('.chart svg')].map(one => { const box = one.getBoundingClientRect(); return [box.left + scrollX, box.top + scrollY, box.width, box.height]; })"
        )
        self.check(len(places) == 2 + has_metric, f"{len(places)} charts")
        self.check(
            page.run(
                "[...document.querySelectorAll('.chart .line, .chart .bars')].every(one => one.getAttribute('d').length > 5 && !/NaN|Infinity/.test(one.getAttribute('d')))"
            ),
            "a series is not drawn",
        )
        self.check(
            page.run(
                "[...document.querySelectorAll('.chart svg')].every(one => one.querySelectorAll('.tick').length >= 4)"
            ),
            "an axis has no ticks",
        )
        for at, (left, top, width, height) in enumerate(places):
            page.run(f"scrollTo(0, {top - 100})")
            page.settle()
            x, y = left + width * 0.7, 100 + height / 2
            page.mouse("mouseMoved", x, y)
            page.settle()
            tip = page.run("(document.querySelectorAll('.tip:not([hidden]) strong')[0] ?? {}).textContent")
            self.check(bool(tip), f"chart {at} says nothing under the pointer")
            if self.pictures and at == 0:
                page.picture(self.pictures / f"{self.path.stem}-hover.png")
            page.click(x, y)
            opened = page.run("document.querySelector('#detail[open] h2')?.textContent") or ""
            self.check(bool(tip) and tip in opened, f"a click into chart {at} does not open {tip}")
            page.key("Escape", 27)
        self.metrics(page)
        page.run("document.querySelector('.chart svg').focus()")
        for key, code in (("Home", 36), ("ArrowRight", 39), ("Enter", 13)):
            page.key(key, code)
        self.check(page.run("document.getElementById('detail').open"), "the keys do not open a version from a chart")
        self.done(page)
        self.touch()

    def metrics(self, page: Page) -> None:
        """Each metric is drawn when it is chosen, or the page says that no version has it; so over each axis, and log."""
        chosen = "((at, index) => { const box = document.querySelectorAll('.figure select')[at]; box.selectedIndex = index; box.dispatchEvent(new Event('change', { bubbles: true })); return box.selectedOptions[0].text; })"
        drawn = "document.querySelector('.figure:first-child svg')?.getAttribute('aria-label') ?? document.querySelector('.figure:first-child .empty').textContent"
        if page.run("document.querySelectorAll('.figure select').length") == 0:
            return
        for at in (0, 1):
            for index in reversed(
                range(page.run(f"document.querySelectorAll('.figure select')[{at}].options.length"))
            ):
                name = page.run(f"{chosen}({at}, {index})")
                page.settle()
                self.check(name in page.run(drawn), f"{name} is chosen, but {page.run(drawn)} is drawn")
        values = {
            one["metrics"].get(self.newest()["monitor"]) for one in self.newest()["versions"] if not one["expired"]
        }
        line = "document.querySelector('.chart .line').getAttribute('d')"
        before = page.run(line)
        page.run("document.querySelector('.figure input[type=checkbox]').click()")
        page.settle()
        positive = [value for value in values if value is not None and value > 0]
        if len(positive) > 2 and all(value is None or value > 0 for value in values):
            self.check(page.run(line) != before, "the log scale changes nothing")
        self.check("NaN" not in page.run(line), "the log scale is not drawn")

    def touch(self) -> None:
        """A tap shows a version, a second one at the same place opens it."""
        page = self.open("touch", PHONE)
        page.call("Emulation.setTouchEmulationEnabled", enabled=True)
        page.settle()
        page.run("document.querySelector('.chart svg').scrollIntoView({ block: 'center' })")
        box = page.run(
            "(({ left, top, width }) => [left + width / 2, top + 90])(CHART.getBoundingClientRect())".replace(
                "CHART", "document.querySelector('.chart svg')"
            )
        )
        page.tap(*box)
        self.check(page.run("!!document.querySelector('.tip:not([hidden])')"), "a tap on a chart shows nothing")
        self.check(not page.run("document.getElementById('detail').open"), "the first tap on a chart opens a version")
        page.tap(*box)
        self.check(page.run("document.getElementById('detail').open"), "the second tap on a chart opens no version")
        self.done(page)


def seen(text: str) -> str:
    """What a reader sees of `text`: hidden characters by their numbers."""
    hidden = r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]"
    return re.sub(hidden, lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)
