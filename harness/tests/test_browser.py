#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The HTML pages as their readers meet them: in Chromium, on a phone and on a desktop.

Usage: test_browser.py BINDIR SOURCEDIR [unittest arguments]
With GDN_SCREENSHOTS=DIR the pictures are kept there.
"""
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

BIN, SOURCE = sys.argv[1:3]
PROGRAM = os.path.join(BIN, "gdn-conform")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import browser  # noqa: E402
import report_maker  # noqa: E402

PHONE, DESKTOP = 390, 1280


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="gdn-pages-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.browser = browser.Browser()
        cls.addClassCleanup(cls.browser.close)

    def path(self, name):
        return os.path.join(self.folder, name)

    def render(self, report, name="page"):
        report_maker.write(report, self.path(name + ".json"))
        subprocess.run([PROGRAM, "report", self.path(name + ".json"), "--html",
                        self.path(name + ".html")], check=True, timeout=120)
        return self.path(name + ".html")

    def show(self, page, width, scheme="light", name=None):
        self.browser.open(page, width, scheme=scheme)
        self.assertEqual(self.browser.complaints(), [])
        if os.environ.get("GDN_SCREENSHOTS"):
            name = f"{name or os.path.basename(page)[:-5]}-{width}-{scheme}.png"
            self.browser.screenshot(os.path.join(os.environ["GDN_SCREENSHOTS"], name))

    def value(self, expression):
        return self.browser.evaluate(expression)

    def tile(self, label):
        return self.value("[...document.querySelectorAll('.tiles li')].filter(t => "
                          f"t.querySelector('span').textContent === '{label}')"
                          ".map(t => t.querySelector('b').textContent)[0]")

    def check_numbers(self, report):
        self.assertEqual(self.tile("planned"), str(report["planned"]))
        self.assertEqual(self.tile("pass"), str(report["verdicts"]["pass"]))
        self.assertEqual(self.tile("fail"), str(report["verdicts"]["fail"]))
        self.assertEqual(self.value("document.querySelectorAll('#all tbody tr').length"),
                         report["planned"])
        # The matrix holds every case once.
        self.assertEqual(
            self.value("[...document.querySelectorAll('.matrix a')].reduce((n, a) => "
                       "n + parseInt(a.title), 0)"), report["planned"])
        self.assertEqual(
            self.value("[...document.querySelectorAll('.matrix a')].every(a => "
                       "document.querySelector(a.getAttribute('href')))"), True)

    def check_layout(self):
        """The page does not scroll sideways; what is wide scrolls in itself."""
        self.assertLessEqual(self.value("document.documentElement.scrollWidth"),
                             self.value("window.innerWidth"))
        self.assertEqual(self.value("[...document.querySelectorAll('.scroll')].every(e => "
                                    "e.tabIndex === 0 && e.getAttribute('aria-label'))"), True)

    def test_one_case_and_five_thousand(self):
        for count, failing in ((1, 0.0), (1, 1.0), (5000, 0.02)):
            report = report_maker.make(count, failing=failing)
            page = self.render(report, f"cases{count}-{int(failing * 100)}")
            for width in (PHONE, DESKTOP):
                self.show(page, width)
                self.check_numbers(report)
                self.check_layout()

    def test_pictures_say_what_the_report_says(self):
        report = report_maker.make(200, failing=0.1)
        self.show(self.render(report), DESKTOP)
        self.assertEqual(
            self.value("[...document.querySelectorAll('figure')].filter(f => "
                       "f.textContent.includes('cases, at most')).reduce((n, f) => n + "
                       "parseInt(f.textContent.match(/: (\\d+) cases/)[1]), 0)"), 200)
        maps = sum(len(c.get("maps", [])) for c in report["cases"])
        self.assertGreater(maps, 5)
        self.assertEqual(
            self.value("document.querySelectorAll('svg[aria-label^=\"heat map\"]').length"), maps)
        self.assertEqual(self.value("document.querySelectorAll('svg .ring').length"), 2 * maps)
        self.assertIn("first divergence (ring): token 512, head 10",
                      self.value("document.body.textContent"))

    def test_dark_light_and_paper(self):
        page = self.render(report_maker.make(40, failing=0.1))
        grounds = {}
        for scheme in ("light", "dark"):
            self.show(page, DESKTOP, scheme)
            grounds[scheme] = self.value("getComputedStyle(document.body).backgroundColor")
        self.assertEqual(grounds, {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 20, 25)"})
        self.assertEqual(self.browser.pdf()[:5], b"%PDF-")

    def test_text_has_contrast_in_both_schemes(self):
        """WCAG 2 AA: 4.5 to 1, for the text in every colour of the matrix and of the page."""
        page = self.render(report_maker.make(600, failing=0.2))
        luminance = ("c => { const p = c.match(/[\\d.]+/g).slice(0, 3).map(v => { v /= 255; "
                     "return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); "
                     "return .2126 * p[0] + .7152 * p[1] + .0722 * p[2]; }")
        for scheme in ("light", "dark"):
            self.show(page, DESKTOP, scheme)
            poor = self.value(
                f"(() => {{ const lum = {luminance}; const poor = []; "
                "const ground = e => { for (; e; e = e.parentElement) { const c = "
                "getComputedStyle(e).backgroundColor; if (!c.endsWith(', 0)')) return c; } "
                "return 'rgb(255,255,255)'; }; "
                "for (const e of document.querySelectorAll('.matrix a, .dim, .bad, .good, th, "
                "td, figcaption, summary, a')) { const s = getComputedStyle(e); "
                "const a = lum(s.color), b = lum(ground(e)); "
                "const r = (Math.max(a, b) + .05) / (Math.min(a, b) + .05); "
                "if (r < 4.5) poor.push(`${e.className} ${s.color} ${ground(e)} "
                "${r.toFixed(2)}`); } return [...new Set(poor)]; })()")
            self.assertEqual(poor, [], scheme)

    def test_keyboard_reaches_everything(self):
        self.show(self.render(report_maker.make(40, failing=0.1)), DESKTOP)
        self.browser.press_tab()
        self.assertEqual(self.value("document.activeElement.className"), "skip")
        seen = set()
        for _ in range(60):
            self.browser.press_tab()
            seen.add(self.value("document.activeElement.tagName + "
                                "document.activeElement.className"))
        self.assertTrue(any(s.startswith("Am-") for s in seen), seen)
        self.assertTrue(any(s.startswith("DIVscroll") for s in seen), seen)
        self.assertIn("SUMMARY", seen)

    def test_names_cannot_break_out(self):
        page = self.render(report_maker.make_hostile())
        self.show(page, DESKTOP)
        self.check_escaped(3)
        report_maker.write(report_maker.make(3, failing=0.0), self.path("base.json"))
        base = report_maker.make_hostile()
        for case in base["cases"]:
            case["verdict"], case["message"] = "pass", None
        report_maker.write(report_maker.finish(base), self.path("base.json"))
        subprocess.run([PROGRAM, "diff", self.path("base.json"), self.path("page.json"),
                        "--html", self.path("diff.html")], stdout=subprocess.DEVNULL,
                       check=False, timeout=120)
        self.show(self.path("diff.html"), DESKTOP)
        self.check_escaped(3)

    def check_escaped(self, cases):
        self.assertIsNone(self.value("window.pwned || null"))
        self.assertEqual(self.value("document.querySelectorAll('script, img, iframe, b b, "
                                    "figcaption i').length"), 0)
        self.assertGreaterEqual(
            self.value("document.body.textContent.split('<script>window.pwned=1').length"),
            cases)

    def test_diff_page(self):
        examples = os.path.join(SOURCE, "reports/tests/examples")
        code = subprocess.run([PROGRAM, "diff", os.path.join(examples, "base.json"),
                               os.path.join(examples, "new.json"), "--html",
                               self.path("diff.html")], stdout=subprocess.DEVNULL, check=False,
                              timeout=120).returncode
        self.assertEqual(code, 1)
        for width in (PHONE, DESKTOP):
            self.show(self.path("diff.html"), width)
            self.check_layout()
            self.assertEqual(self.tile("cases in both"), "11")
            self.assertEqual(self.tile("new failure"), "1")
        points = self.value("document.querySelectorAll('svg .dot, svg .up, svg .down').length")
        self.assertEqual(points, 7)  # ten comparable less three without a budget on one side

    def test_big_diff_page(self):
        for name, seed, worse in (("base", 1, 1.0), ("new", 1, 1.02)):
            report_maker.write(report_maker.make(5000, seed=seed, worse=worse),
                               self.path(name + ".json"))
        subprocess.run([PROGRAM, "diff", self.path("base.json"), self.path("new.json"), "--html",
                        self.path("bigdiff.html")], stdout=subprocess.DEVNULL, check=False,
                       timeout=120)
        self.show(self.path("bigdiff.html"), DESKTOP)
        self.assertEqual(
            self.value("document.querySelectorAll('svg .dot, svg .up, svg .down').length"), 5000)

    def test_five_thousand_cases_in_little_memory(self):
        report_maker.write(report_maker.make(5000), self.path("big.json"))
        start = time.monotonic()
        pid = os.posix_spawn(PROGRAM, [PROGRAM, "report", self.path("big.json"), "--html",
                                       self.path("big.html")], os.environ)
        _, status, usage = os.wait4(pid, 0)
        seconds = time.monotonic() - start
        self.assertEqual(status, 0)
        mib = usage.ru_maxrss * resource.getpagesize() / resource.getpagesize() / 1024
        size = os.path.getsize(self.path("big.json")) / 2**20
        print(f"5000 cases, {size:.1f} MiB of JSON: {seconds:.2f} s, {mib:.0f} MiB, page of "
              f"{os.path.getsize(self.path('big.html')) / 2**20:.1f} MiB", file=sys.stderr)
        self.assertLess(mib, 200)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
