"""The page in a real browser: needs Chromium, and says so where it is missing."""

import json
import re
import shutil
import subprocess

import pytest

import boltzspike as bs

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FRAME = """<body style="margin:0"><iframe id="f" src="run.html"
  style="border:0;width:{width}px;height:800px"></iframe>
<script>
document.getElementById("f").onload = event => {{
  const page = event.target.contentDocument, images = [...page.images];
  Promise.all(images.map(image => image.decode().catch(() => null))).then(() => {{
    const found = {{
      inner: event.target.contentWindow.innerWidth,
      scroll: page.documentElement.scrollWidth,
      images: images.map(image => image.naturalWidth),
      widest: Math.max(...images.map(image => image.getBoundingClientRect().right)),
      alert: page.querySelectorAll("script").length,
      text: page.body.innerText.length,
    }};
    document.title = JSON.stringify(found);
  }});
}};
</script>"""


@pytest.fixture(scope="module")
def browser():
    for name in NAMES:
        if path := shutil.which(name):
            return path
    pytest.fail("the browser tests need Chromium: apt-get install chromium (or any of " + ", ".join(NAMES) + ")")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, s1_calibration):
    machine = bs.BoltzmannMachine(
        weights=[[0, 0.8, 0], [0.8, 0, -0.4], [0, -0.4, 0]], biases=[0.1, -0.2, 0.3],
        names=["<script>document.title='broken'</script>", "a_very_long_name_" * 6, "c"],
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("browser")
    bs.sample(machine, calibration=s1_calibration, duration=2000, chains=16, rule="psp").report(
        folder / "run.html"
    )
    return folder


def chromium(browser, folder, *arguments):
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", *arguments],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_the_screen_and_shows_all_its_pictures(browser, folder, width):
    frame = folder / f"frame-{width}.html"
    frame.write_text(FRAME.format(width=width))
    seen = chromium(browser, folder, "--dump-dom", f"--window-size={max(width, 600)},900", frame.as_uri())
    found = json.loads(re.search(r"<title>(.*?)</title>", seen)[1].replace("&quot;", '"'))
    assert found["inner"] == width
    assert found["scroll"] <= width, "the page scrolls sideways"
    assert found["widest"] <= width, "a picture is wider than the screen"
    assert len(found["images"]) >= 8
    assert min(found["images"]) > 100, "a picture did not load"
    assert found["alert"] == 0
    assert found["text"] > 2000
