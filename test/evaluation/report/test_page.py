"""The page: one file that needs no other, and says what was found."""

import re
from html.parser import HTMLParser

import pytest

from activesam_ros.evaluation.report.page import write_report
from activesam_ros.evaluation.summary import summarise


class Seen(HTMLParser):
    """Collects what a browser would load, the texts, and tags that are never closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.anchors: set[str] = set()
        self.ids: set[str] = set()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("meta", "img", "link", "br", "input"):
            self.open.append(tag)
        for name, value in attributes:
            if name == "href" and value.startswith("#"):
                self.anchors.add(value[1:])
            elif name in ("src", "href"):
                self.references.append(value)
            elif name == "id":
                self.ids.add(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def written(made_up_run):
    run = made_up_run()
    path = write_report(run.folder, run.results, run.records, run.run, ["The recording was cut off."])
    return run, path, path.read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(written):
    _, _, html = written
    seen = Seen(html)
    assert seen.references and all(re.match("data:image/(png|jpeg);base64,", one) for one in seen.references)
    assert "url(" not in html and "@import" not in html and "http" not in html
    assert seen.open == [], "every tag is closed"
    assert seen.anchors <= seen.ids, "every link within the page leads somewhere"


def test_the_page_says_what_was_found(written):
    run, _, html = written
    text = Seen(html).text
    first = run.results.summary("active")
    for expected in (
        "The recording was cut off.",
        f"{100 * first.truth.mean_iou:.1f} %",
        "33.3 TFLOP",
        "68.4 TFLOP",
        "images clean severity 1 severity 3 mean points to clean",
        "jpeg compression",
        "the image cannot be read",
        "tram",
        "max active 40",
        "activesam-evaluate bags/street --compare full-vocabulary",
        "30 over 2.9 s, 32 × 24 pixels",
        "1.2.3",
        "not decoded: person",
    ):
        assert expected in text, expected
    assert text.index("Is it right") < text.index("Methods") < text.index("The 12 worst frames")


def test_names_are_texts_and_never_markup(written):
    _, _, html = written
    seen = Seen(html)
    assert "<b>dragon</b>" in seen.text and "street <1>" in seen.text
    assert "<b>dragon" not in html


def test_every_frame_has_its_four_pictures(written):
    _, _, html = written
    pictures = re.findall(r'<figure><figcaption>(\w+)</figcaption><img src="data:', html)
    assert pictures == ["input", "truth", "prediction", "error"] * 13, "a typical frame and the 12 worst"


def test_pictures_are_files_too_and_those_of_an_earlier_page_go(written):
    run, path, _ = written
    pictures = path.parent / "pictures"
    names = {one.name for one in pictures.glob("*.png")}
    plots = {"methods", "classes", "confusion", "active_set", "latency", "stages", "robustness"}
    assert {f"plot_{name}.png" for name in plots} <= names
    assert sum(name.startswith("worst_") for name in names) == 12
    (pictures / "worst_99_frame_000099.png").write_bytes(b"")
    write_report(run.folder, run.results, run.records, run.run)
    assert not (pictures / "worst_99_frame_000099.png").exists()


def test_the_same_run_gives_the_same_page(written):
    run, path, _ = written
    write_report(run.folder, run.results, run.records, run.run)
    before = path.read_bytes()
    write_report(run.folder, run.results, run.records, run.run)
    assert path.read_bytes() == before


def test_without_truth(made_up_run):
    run = made_up_run(with_truth=False)
    path = write_report(run.folder, run.results, run.records, run.run)
    seen = Seen(path.read_text(encoding="utf-8"))
    assert seen.anchors <= seen.ids
    assert "mIoU" not in seen.text.replace("mIoU, %", "")
    assert "Without ground truth, nothing was scored." in seen.text
    assert "differ most" in seen.text and "full-vocabulary" in seen.text


def test_one_method_without_corruptions(made_up_run):
    run = made_up_run(frames=2)
    alone = [record for record in run.records if record.method == "active" and not record.corruption]
    results = summarise(alone, run.results.classes)
    seen = Seen(write_report(run.folder, results, alone, run.run).read_text(encoding="utf-8"))
    assert "Bad images" not in seen.text and seen.anchors <= seen.ids


def test_a_run_in_which_every_frame_failed(made_up_run):
    run = made_up_run()
    failed = [record for record in run.records if record.error]
    results = summarise(failed, run.results.classes, run.results.methods, run.results.corruptions)
    text = Seen(write_report(run.folder, results, failed, run.run).read_text(encoding="utf-8")).text
    assert "1 of 1 frames could not be labelled or scored" in text
    assert "the image cannot be read 1 every method" in text


def test_a_description_that_lacks_parts(made_up_run):
    run = made_up_run(frames=2)
    text = Seen(write_report(run.folder, run.results, run.records, {}).read_text(encoding="utf-8")).text
    assert "Evaluation of a recording" in text
