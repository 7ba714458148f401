"""Opens pages of `ckptfs report` in a real browser, and says what a reader of them would miss.

    report.py [--pictures DIR] [PAGE.html | --only NAME]

Without a page: pages made of the report's files and made-up histories; NAME is one of samples.py. What is expected
comes from the data in the page. Exit 1 when anything is wrong.
"""

import argparse
import pathlib
import sys
import tempfile

import samples
from chromium import Browser, BrowserError
from reader import PHONE, Report


def calibrate(browser: Browser, folder: pathlib.Path) -> list[str]:
    """The checks that pass when nothing is wrong, on a page where everything is."""
    bad = (
        "<div style='width:600px'>wide</div><p style='color:#bbb'>faint</p><img src='http://127.0.0.1:9/x' onerror='0'>\u202eturned"
        "<script>console.error('said'); window.harmed = 1; setTimeout(() => { throw new Error('thrown'); });</script></body>"
    )
    path = folder / "bad.html"
    path.write_text(
        samples.page(samples.store([])).replace("</body>", bad).replace("img-src data:", "img-src data: http:")
    )
    report = Report(browser, path, None)
    report.done(report.open("calibration", PHONE))
    found = "\n".join(report.wrong)
    wanted = (
        "600 wide",
        "cut off: DIV",
        "contrast 1",
        "element: <img",
        "attribute: onerror",
        "hidden characters",
        "console:",
        "exception:",
        "request: http://127.0.0.1:9/x",
        "ran as script",
    )
    path.write_text(samples.page(samples.store([])).replace("</body>", "<img src='http://127.0.0.1:9/x'></body>"))
    report = Report(browser, path, None)
    report.done(report.open("calibration", PHONE))
    refused = any("log: " in one and "Content Security Policy" in one for one in report.wrong)
    return [f"calibration: a page that is wrong passes; not found: {one}" for one in wanted if one not in found] + (
        [] if refused else ["calibration: the policy of the page does not refuse a request"]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=pathlib.Path, help="keep screenshots in this folder")
    parser.add_argument("--only", choices=sorted(samples.all_samples()), help="only this made-up history")
    parser.add_argument("page", type=pathlib.Path, nargs="?")
    asked = parser.parse_args()
    if asked.pictures:
        asked.pictures.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="ckptfs-report.") as folder, Browser() as browser:
        wrong += calibrate(browser, pathlib.Path(folder))
        paths = [asked.page.resolve()] if asked.page else []
        for name, data in {} if asked.page else samples.all_samples().items():
            if asked.only not in (None, name):
                continue
            path = pathlib.Path(folder) / f"{name}.html"
            path.write_text(samples.page(data))
            paths.append(path)
        for path in paths:
            report = Report(browser, path, asked.pictures)
            report.everything()
            wrong += report.wrong
    for one in wrong:
        print(f"wrong: {one}", file=sys.stderr)
    if wrong:
        raise SystemExit(1)
    print("all pages are as they should be")


if __name__ == "__main__":
    try:
        main()
    except BrowserError as error:
        raise SystemExit(f"error: {error}") from error
