"""The report: whole, self-contained, safe with any text, and drawn by a real browser without complaint."""

import html.parser
import json
import random
import shutil
import subprocess

import numpy as np
import pytest

from taggen_jax import predictions, report
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.errors import UserError
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.reports.plots import COLOURS

EVIL = "<script>document.title='owned'</script><img src=x onerror=alert(1)> & \"'"
COUNTS = {"red": 300, "lamp": 40, EVIL: 12, "rare & old": 3}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)


def workdir(folder, right: float, products: int = 80):
    """A workdir as evaluation leaves it, with what a report reads."""
    rng, gold_rng = random.Random(right), random.Random(0)
    folder.mkdir()
    lines = []
    for i in range(products):
        gold = gold_rng.sample(list(COUNTS), gold_rng.randint(0, 3))
        scores = {tag: rng.uniform(0.5, 1) for tag in gold if rng.random() < right}
        scores |= {tag: rng.random() for tag in rng.sample(list(COUNTS), 2) if tag not in scores}
        ranked = sorted(scores, key=lambda tag: -scores[tag])
        item = Prediction(
            gold=tuple(gold),
            tags=tuple(tag for tag in ranked if scores[tag] >= 0.5),
            ranked=tuple(ranked),
            scores=tuple(scores[tag] for tag in ranked),
            text=f"product {i} {EVIL}",
            language=("en", EVIL)[i % 2],
        )
        lines.append(predictions.to_line(f"id-{i}", item))
    (folder / predictions.NAME).write_text("".join(lines), encoding="utf-8")
    Vocabulary.from_counts(COUNTS).save(folder / "vocabulary.json")
    steps = [{"step": step, "train/loss": 3 / step, "train/nll": None} for step in range(1, 20)]
    steps += [{"step": step, "validation/loss": 4 / step} for step in (9, 19)]
    steps.append({"step": 19, "validation/micro_f1": 0.5})  # one point is no curve
    text = "".join(json.dumps(line) + "\n" for line in steps) + '{"step": 20, "tra'  # still being written
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    return folder


class Page(html.parser.HTMLParser):
    """What a browser would make of the page: its elements, its texts, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.texts: list[str] = []
        self.loaded: list[str] = []
        self.alts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append(tag)
        self.loaded += [attributes[key] for key in ("src", "href") if key in attributes]
        self.alts += [attributes["alt"]] if "alt" in attributes else []

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    a, b = workdir(root / "first", 0.6), workdir(root / "second", 0.9)
    report.run(f"{a},{b}", root / "report.html")
    return root / "report.html"


def test_every_section_and_plot_is_there(written):
    page = Page(written.read_text(encoding="utf-8"))
    for heading in (
        "Tag report",
        "Runs compared",
        "second against first",
        "Training",
        "Quality",
        "Most confused tags",
        "Worst products",
        "Best products",
        "Every measure: second",
    ):
        assert heading in page.texts
    assert page.alts[:3] == [
        "Loss in training",
        "Loss on validation",
        "Precision and recall, all pairs pooled",
    ]
    assert len(page.alts) == 9


def test_nothing_is_loaded_from_elsewhere(written):
    page = Page(written.read_text(encoding="utf-8"))
    assert page.loaded and all(link.startswith("data:image/svg+xml;base64,") for link in page.loaded)
    assert not {"script", "link", "iframe"}.intersection(page.elements)


def test_texts_of_the_catalog_stay_texts(written):
    page = Page(written.read_text(encoding="utf-8"))
    assert EVIL in page.texts
    assert any(text.startswith("product ") and text.endswith(f" {EVIL}") for text in page.texts)
    assert page.elements.count("img") == len(page.alts)


def test_the_same_runs_give_the_same_bytes(written, tmp_path):
    root = written.parent
    report.run(f"{root / 'first'},{root / 'second'}", tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == written.read_bytes()


def test_one_run_without_training_has_no_comparison(written, tmp_path):
    folder = tmp_path / "alone"
    shutil.copytree(written.parent / "first", folder)
    (folder / "metrics.jsonl").unlink()
    report.run(folder, tmp_path / "alone.html")
    page = Page((tmp_path / "alone.html").read_text(encoding="utf-8"))
    assert not {"Runs compared", "Training"}.intersection(page.texts) and "Quality" in page.texts


def test_other_products_are_not_paired(written, tmp_path):
    fewer = workdir(tmp_path / "fewer", 0.5, products=40)
    report.run(f"{written.parent / 'first'},{fewer}", tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Not of the same products, so not to be paired." in page.texts


def test_a_workdir_that_was_not_evaluated_says_so(tmp_path):
    with pytest.raises(UserError, match="run `taggen evaluate` first"):
        report.run(tmp_path, tmp_path / "report.html")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to render the report with (Debian: chromium)")
def test_a_browser_draws_the_plots_and_complains_of_nothing(written, tmp_path):
    picture = tmp_path / "report.png"
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1180,3000"]
    command += [f"--screenshot={picture}", written.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
    image = pytest.importorskip("matplotlib.image").imread(picture)
    assert image.shape[:2] == (3000, 1180)
    pixels = np.round(image[..., :3] * 255).astype(int).reshape(-1, 3)
    for colour in COLOURS[:2]:  # one a run
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        drawn = (np.abs(pixels - wanted).max(axis=1) <= 2).reshape(3000, 1180)
        assert drawn.any(axis=1).sum() > 600, "the plots fill at least a fifth of the page's height"
