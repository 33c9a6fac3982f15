"""The loop of an evaluation: what is labelled, what is kept of it, and how it ends."""

import json
import shutil
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rosbags")

from activesam_ros.datasets.labelled_bag import IMAGE_TOPIC, TRUTH_TOPIC, LabelledBag
from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import SampleReader
from activesam_ros.errors import EvaluationError, ImageError
from activesam_ros.evaluation import results, runner
from activesam_ros.evaluation.config import EvaluationConfig
from activesam_ros.evaluation.corruptions import Corrupted, corrupt
from activesam_ros.evaluation.methods import METHODS, FlopsCounter, Method
from activesam_ros.evaluation.records import read_records
from activesam_ros.evaluation.run_folder import RunFolder
from activesam_ros.evaluation.runner import MethodRun
from activesam_ros.model.flops import FrameFlops
from activesam_ros.prompts.hypernyms import TableHypernyms
from activesam_ros.results import ActiveClass, SegmentationResult
from activesam_ros.segmenter import ActiveSegmenter
from activesam_ros.settings import SegmenterSettings
from activesam_ros.vocabulary import Vocabulary

NAMES = ("road", "car", "sky")
WORDS = Vocabulary.from_names(NAMES)
FRAMES = 5
FOG = Corrupted("fog", 3)
NOISE = Corrupted("gaussian_noise", 1)


def write_bag(path: Path, frames: int = FRAMES, size: tuple[int, int] = (48, 32)) -> Path:
    """Frames of noise, no two alike; the truth shows all classes and hardly changes."""
    width, height = size
    random = np.random.default_rng(7)
    with LabelledBag(path, dict(enumerate(NAMES))) as bag:
        for index in range(frames):
            truth = np.repeat(np.arange(height) * 3 // height, width).reshape(height, width).astype(np.uint8)
            truth[0, index] = 255
            bag.write(1_700_000_000_000_000_000 + index * 100_000_000, pixels(random, height, width), truth)
    return path


def pixels(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    return random.integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "street")


class Stub:
    """Labels by the brightness of pixels, a little differently with each method; `before` may raise."""

    settings = SegmenterSettings()

    def __init__(self, name: str, studio: "Studio") -> None:
        self.name = name
        self.studio = studio

    def segment(self, rgb: np.ndarray, memory: None = None, *, instances: bool) -> SegmentationResult:
        assert not instances and memory is None
        self.studio.before(self.name, rgb)
        self.studio.calls.append((self.name, rgb.tobytes()))
        labels = ((rgb[:, :, 0].astype(int) + 11 * len(self.name)) // 86 % 3).astype(np.uint8)
        active = tuple(
            ActiveClass(number, name, 0.5, None, int(np.sum(labels == number)))
            for number, name in enumerate(NAMES)
        )
        return SegmentationResult(
            labels=labels,
            unlabeled_id=255,
            confidence=np.ones(labels.shape, np.float32),
            active=active,
            preview_presence=None,
            active_prompts=(0, 1, 2),
            timings={"decode": 0.25, "total": 0.5},
            vocabulary=WORDS,
        )


class Studio:
    """The stand-in for model and methods: every call of a labeller, and what happens before it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes]] = []
        self.before = lambda name, rgb: None
        self.loaded = 0

    def from_pretrained(self, *arguments, **options):
        self.loaded += 1
        return SimpleNamespace(
            device="cpu",
            dtype="float32",
            full_resolution=192,
            preview_resolution=128,
            checkpoint=SimpleNamespace(config=None),
        )


@pytest.fixture
def quick_page(monkeypatch):
    """The page has its own tests, and takes seconds."""

    def write_report(folder, results, records, description, notes):
        page = folder / "report.html"
        page.write_text("\n".join(notes))
        return page

    monkeypatch.setattr(results, "write_report", write_report)


@pytest.fixture
def studio(monkeypatch, quick_page) -> Studio:
    made = Studio()
    monkeypatch.setattr(runner, "ActiveSegmenter", made)
    monkeypatch.setattr(Method, "build", lambda method, *_: Stub(method.name, made))
    monkeypatch.setattr(FlopsCounter, "count", lambda *_: FrameFlops(1, 2, 3))
    return made


@pytest.fixture
def request_of(bag, tmp_path):
    def make(**changed) -> EvaluationConfig:
        given = {
            "bag": bag,
            "out": tmp_path / "out",
            "model": "stub",
            "vocabulary": WORDS,
            "settings": SegmenterSettings(),
            "labels_topic": TRUTH_TOPIC,
        }
        return EvaluationConfig(**{**given, **changed})

    return make


def records_of(folder: Path):
    """What must not depend on how long anything took, in order of their keys."""
    records = read_records(folder / "records.jsonl")
    return sorted((replace(one, latency=None, peak_memory=None) for one in records), key=lambda one: one.key)


def results_of(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def frames_of(bag: Path) -> list[np.ndarray]:
    with Recording(bag) as source:
        return [sample.rgb for sample in SampleReader(source, IMAGE_TOPIC)]


def predictions(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in (folder / "predictions").rglob("*.png")
    }


def test_every_job_is_done_once_for_each_frame(studio, request_of, bag):
    request = request_of(methods=("active", "paper"), corruptions=(FOG, NOISE))
    finished = runner.evaluate(request)
    jobs = [("active", ""), ("paper", ""), ("active", "fog:3"), ("active", "gaussian_noise:1")]
    records = read_records(request.out / "records.jsonl")
    assert Counter(one.key for one in records) == {
        (*job, index): 1 for job in jobs for index in range(FRAMES)
    }
    assert not finished.interrupted and finished.report == request.out / "report.html"
    assert [line.split("  ")[0].strip() for line in finished.table.splitlines()] == [
        "",
        "active",
        "active fog:3",
        "active gaussian_noise:1",
        "paper",
    ]
    assert len(predictions(request.out)) == len(jobs) * FRAMES
    # Each frame once with each job; each method labels its first image once more, to warm up.
    seen = Counter(studio.calls)
    first, *rest = frames_of(bag)
    for index, rgb in enumerate([first, *rest]):
        warm = index == 0
        assert seen.pop(("paper", rgb.tobytes())) == 1 + warm
        assert seen.pop(("active", rgb.tobytes())) == 1 + warm
        for one in (FOG, NOISE):
            assert seen.pop(("active", corrupt(rgb, one.name, one.severity, 0, index).tobytes())) == 1
    assert not seen


def test_records_are_the_judgement_of_what_was_labelled(studio, request_of):
    request = request_of(corruptions=(FOG,))
    runner.evaluate(request)
    records = {one.key: one for one in read_records(request.out / "records.jsonl")}
    folder = RunFolder(request.out)
    for (method, corruption, index), record in records.items():
        labels = folder.prediction(method, corruption, index)
        truth = np.repeat(np.arange(32) * 3 // 32, 48).reshape(32, 48)
        counted = np.ones(truth.shape, bool)
        counted[0, index] = False
        right = sum(pixels for true, predicted, pixels in record.truth.confusion if true == predicted)
        assert right == np.sum(labels[counted] == truth[counted])
        assert record.truth.counted == counted.sum()
        assert (record.work, record.timings["total"]) == (6, 0.5)
        assert record.peak_memory > 1_000_000 and record.latency >= 0
        if index == 0:
            assert record.truth.flicker is None
            continue
        counted[0, index - 1] = False
        before = folder.prediction(method, corruption, index - 1)
        assert record.truth.compared == counted.sum()
        assert record.truth.changed == np.sum(labels[counted] != before[counted])


@pytest.mark.parametrize("calls", [3, 8, 11])
def test_an_interrupted_run_is_gone_on_with(studio, request_of, tmp_path, calls):
    whole = request_of(out=tmp_path / "whole", methods=("active", "full-vocabulary"), corruptions=(FOG,))

    def fail_one_frame(name, rgb):
        # Also around a frame that failed, what the next is compared with is the same.
        if name == "active" and rgb.tobytes() == bad:
            raise ImageError("this frame is refused")

    bad = frames_of(whole.bag)[1].tobytes()
    studio.before = fail_one_frame
    runner.evaluate(whole)
    studio.calls.clear()

    def interrupt(name, rgb):
        if len(studio.calls) == calls:
            # What Ctrl-C does, also where the tests run in the background, which ignores it.
            signal.default_int_handler(signal.SIGINT, None)
        fail_one_frame(name, rgb)

    part = replace(whole, out=tmp_path / "part")
    studio.before = interrupt
    finished = runner.evaluate(part)
    assert finished.interrupted and finished.report.read_text().startswith("The run was interrupted")
    done = records_of(part.out)
    assert 0 < len(done) < 3 * FRAMES
    assert results_of(part.out)["run"]["notes"][0].startswith("The run was interrupted")

    studio.calls.clear()
    studio.before = fail_one_frame
    finished = runner.evaluate(part)
    assert not finished.interrupted and "interrupted" not in finished.report.read_text()
    assert records_of(part.out) == records_of(whole.out)
    assert predictions(part.out) == predictions(whole.out)
    assert any(one.truth is not None and one.truth.flicker for one in records_of(part.out))
    again = {
        (record.method, record.index) for record in done if record.error is None and not record.corruption
    }
    images = [rgb.tobytes() for rgb in frames_of(part.bag)]
    repeated = Counter(studio.calls)
    # Once at most: each method's first image again warms it up.
    assert sum(repeated[name, images[index]] for name, index in again) == 0
    summaries = {(one["method"], one["corruption"]): one for one in results_of(part.out)["summaries"]}
    for one in results_of(whole.out)["summaries"]:
        other = summaries[one["method"], one["corruption"]]
        assert other["truth"] == one["truth"] and other["agreement"] == one["agreement"]


def test_the_same_is_not_done_twice(studio, request_of):
    runner.evaluate(request_of())
    studio.calls.clear()
    runner.evaluate(request_of(command="the same in other words"))
    assert not studio.calls


def test_an_interruption_before_the_first_frame_leaves_nothing_to_report(studio, request_of):
    request = request_of()

    def interrupt(name, rgb):
        raise KeyboardInterrupt

    studio.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        runner.evaluate(request)
    assert not (request.out / "report.html").exists()
    # Whoever changes their mind then is free to.
    studio.before = lambda name, rgb: None
    runner.evaluate(replace(request, every=2))
    assert len(records_of(request.out)) == 3


def test_a_failing_frame_is_recorded_and_the_run_goes_on(studio, request_of):
    bad = frames_of(request_of().bag)[2].tobytes()

    def fail(name, rgb):
        if name == "paper" and rgb.tobytes() == bad:
            raise RuntimeError("no\nmemory")

    studio.before = fail
    request = request_of(methods=("active", "paper"))
    finished = runner.evaluate(request)
    records = {one.key: one for one in records_of(request.out)}
    assert {key for key, one in records.items() if one.error} == {("paper", "", 2)}
    failed = records["paper", "", 2]
    assert failed.error == "RuntimeError: no memory"
    assert failed.truth is None and failed.unlabeled is None and failed.width == 48
    # Flicker needs the frame just before.
    assert records["paper", "", 3].truth.flicker is None
    assert records["active", "", 3].truth.flicker is not None
    assert "4 (+1 failed)" in finished.table


def test_a_method_that_always_fails_spoils_no_other(studio, request_of):
    def fail(name, rgb):
        if name == "per-class":
            raise ImageError("never")

    studio.before = fail
    request = request_of(methods=("active", "per-class"))
    runner.evaluate(request)
    assert {one.method for one in records_of(request.out) if one.error} == {"per-class"}
    assert len([one for one in records_of(request.out) if one.error is None]) == FRAMES


def test_a_run_without_any_labels_says_so(studio, request_of):
    def fail(name, rgb):
        raise ImageError("too large")

    studio.before = fail
    request = request_of()
    for _ in range(2):
        finished = runner.evaluate(request)
        assert not finished.labelled and not finished.interrupted
        assert "5 with an error, most often (5): too large" in finished.table
    studio.before = lambda name, rgb: None
    # What failed has its record; only beginning anew tries again.
    assert not runner.evaluate(request).labelled
    assert runner.evaluate(request, overwrite=True).labelled
    assert runner.evaluate(request).labelled


def test_an_unreadable_image_is_a_failed_frame_of_every_job(studio, request_of, bags):
    truth = np.zeros((8, 8), np.uint8)
    written = [bags.label_info("/truth_info", dict(enumerate(NAMES)))]
    for index in range(3):
        image = np.full((8, 8, 3), index, np.uint8)
        encoding = "nothing" if index == 1 else "rgb8"
        written.append(bags.image("/camera", image, encoding, index * 10**8))
        written.append(bags.image("/truth", truth, "mono8", index * 10**8))
    request = request_of(
        bag=bags.write(written),
        labels_topic="/truth",
        class_map="/truth_info",
        image_topic="/camera",
        methods=("active", "paper"),
        corruptions=(FOG,),
    )
    runner.evaluate(request)
    failed = [one for one in records_of(request.out) if one.error]
    assert [one.key for one in failed] == [("active", "", 1), ("active", "fog:3", 1), ("paper", "", 1)]
    assert all("nothing" in one.error for one in failed)
    assert len(records_of(request.out)) == 9


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"methods": ("active", "paper")}, "methods"),
        ({"corruptions": (FOG,)}, "corruptions"),
        ({"seed": 3}, "seed"),
        ({"every": 2}, "recording"),
        ({"vocabulary": Vocabulary.from_names(("car", "road", "sky"))}, "vocabulary"),
        ({"labels_topic": "none", "image_topic": IMAGE_TOPIC}, "recording"),
        ({"model": "another"}, "model"),
    ],
)
def test_another_request_for_the_same_folder_is_refused(studio, request_of, changed, what):
    request = request_of()
    runner.evaluate(request)
    before = records_of(request.out)
    studio.calls.clear()
    with pytest.raises(EvaluationError, match=f"holds a run with another {what}.*--overwrite"):
        runner.evaluate(replace(request, **changed))
    assert not studio.calls and records_of(request.out) == before


def test_a_folder_with_something_else_is_refused_before_the_model_is_loaded(studio, request_of):
    request = request_of()
    request.out.mkdir(parents=True)
    (request.out / "thesis.txt").write_text("years of work")
    said = []
    with pytest.raises(EvaluationError, match="holds files that are no evaluation"):
        runner.evaluate(request, overwrite=True, say=said.append)
    assert not said and [path.name for path in request.out.iterdir()] == ["thesis.txt"]


def test_a_recording_that_took_the_place_of_another_is_another(studio, request_of, tmp_path):
    bag = write_bag(tmp_path / "bag")
    request = request_of(bag=bag)
    runner.evaluate(request)
    shutil.rmtree(bag)
    write_bag(bag, size=(40, 32))
    with pytest.raises(EvaluationError, match="another recording"):
        runner.evaluate(request)


def test_the_path_that_work_was_counted_on_is_said_of_every_method(studio, request_of):
    request = request_of(methods=("active", "paper", "per-class", "full-vocabulary"))
    runner.evaluate(request)
    described = results_of(request.out)["run"]["methods"]
    assert [one["path"] for one in described] == [
        "plain" if METHODS[one["name"]].plain else "lean" for one in described
    ]
    assert described[0]["path"] == "lean" and described[2]["path"] == "plain"


def test_overwrite_begins_anew(studio, request_of):
    runner.evaluate(request_of(methods=("active", "paper")))
    studio.calls.clear()
    request = request_of(every=2)
    runner.evaluate(request, overwrite=True)
    assert [one.key for one in records_of(request.out)] == [("active", "", index) for index in (0, 2, 4)]
    assert len(predictions(request.out)) == 3
    assert len(studio.calls) == 3 + 1


def test_without_truth_the_full_vocabulary_joins_as_reference(studio, request_of):
    request = request_of(labels_topic="none", image_topic=IMAGE_TOPIC, corruptions=(FOG,))
    finished = runner.evaluate(request)
    records = {one.key: one for one in records_of(request.out)}
    folder = RunFolder(request.out)
    for index in range(FRAMES):
        reference = folder.prediction("full-vocabulary", "", index)
        assert records["full-vocabulary", "", index].agreement is None
        for corruption in ("", "fog:3"):
            labels = folder.prediction("active", corruption, index)
            assert records["active", corruption, index].agreement == pytest.approx(
                np.mean(labels == reference)
            )
            assert records["active", corruption, index].truth is None
    assert results_of(request.out)["methods"] == ["active", "full-vocabulary"]
    assert "full-vocabulary" in finished.table


def test_with_truth_only_what_is_asked_for_runs(studio, request_of):
    runner.evaluate(request_of())
    assert {name for name, _ in studio.calls} == {"active"}


def test_part_of_a_recording(studio, request_of):
    request = request_of(start=0.15, end=0.45, every=2)
    runner.evaluate(request)
    # Three images lie between; the truth of the first of them is its own.
    assert [one.index for one in records_of(request.out)] == [0, 2]
    assert all(one.truth is not None for one in records_of(request.out))
    assert len(studio.calls) == 2 + 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"image_topic": "/camera/rear"}, f"no topic /camera/rear; it has {IMAGE_TOPIC} .sensor_msgs"),
        ({"labels_topic": "/truth"}, f"no topic /truth; it has .*{TRUTH_TOPIC}"),
        ({"class_map": "/nowhere"}, "neither a file nor a topic of the recording"),
        ({"class_map": IMAGE_TOPIC}, "neither a file nor a topic of the recording|is of type"),
        ({"start": 60.0}, "no message on /camera/image in the part"),
        ({"methods": ("active", "magic")}, "no method 'magic'"),
    ],
)
def test_what_is_wrong_is_said_before_the_model_is_loaded(studio, request_of, changed, said):
    request = request_of(**changed)
    with pytest.raises(EvaluationError, match=said):
        runner.evaluate(request)
    assert not studio.loaded and not request.out.exists()


def test_a_report_is_made_anew_with_what_its_reader_was_told(studio, request_of, bags):
    written = [
        bags.image("/camera", np.full((8, 8, 3), index, np.uint8), "rgb8", index * 10**8)
        for index in range(40)
    ]
    whole = bags.write_mcap(written, chunk_size=2000)
    cut = whole.with_name("cut.mcap")
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    request = request_of(bag=cut, labels_topic="none")
    finished = runner.evaluate(request)
    assert "the recording is incomplete" in finished.report.read_text()
    assert 0 < results_of(request.out)["summaries"][0]["frames"] < 40
    told, figures = finished.report.read_text(), results_of(request.out)
    for name in ("report.html", "frames.csv"):
        (request.out / name).unlink()
    assert runner.rewrite_report(request.out) == finished.report
    assert finished.report.read_text() == told
    assert results_of(request.out) == figures
    assert (request.out / "frames.csv").exists()


def test_a_shortage_is_told_and_is_no_success(studio, request_of, bags):
    images = [bags.image("/camera", np.full((8, 8, 3), index, np.uint8), "rgb8", index) for index in range(3)]
    path = bags.write(images)
    metadata = path / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("message_count: 3", "message_count: 7"))
    finished = runner.evaluate(request_of(bag=path, labels_topic=None))
    assert finished.labelled and finished.shortage == "/camera has 3 of 7 messages"
    assert (
        "the recording is incomplete, and what is there is used: /camera has 3 of 7"
        in finished.report.read_text()
    )


def test_a_report_of_no_run_cannot_be_made(tmp_path):
    with pytest.raises(EvaluationError, match="no folder of an evaluation"):
        runner.rewrite_report(tmp_path)


def test_labels_are_those_of_the_segmenter(tmp_path, quick_page):
    bag = write_bag(tmp_path / "bag", frames=2, size=(64, 48))
    settings = SegmenterSettings(full_resolution=128, preview_resolution=96, max_active=2)
    request = EvaluationConfig(
        bag=bag,
        out=tmp_path / "out",
        model="toytown",
        vocabulary=WORDS,
        settings=settings,
        device="cpu",
        labels_topic=TRUTH_TOPIC,
        corruptions=(FOG,),
        seed=4,
        threads=1,
    )
    runner.evaluate(request)
    segmenter = ActiveSegmenter.from_pretrained("toytown", "cpu", settings=settings)
    segmenter.set_vocabulary(WORDS)
    folder = RunFolder(request.out)
    records = {one.key: one for one in read_records(folder.records_path)}
    assert len(records) == 4
    for index, rgb in enumerate(frames_of(bag)):
        for corruption, picture in (("", rgb), ("fog:3", corrupt(rgb, "fog", 3, 4, index))):
            expected = segmenter.segment(picture)
            assert np.array_equal(folder.prediction("active", corruption, index), expected.labels)
            record = records["active", corruption, index]
            assert record.active == tuple(one.class_id for one in expected.active)
            assert set(record.timings) == set(expected.timings)
            assert record.work == sum(record.work_split.values()) > 1e9


ROLLING = SegmenterSettings(
    full_resolution=128,
    preview_resolution=96,
    presence_floor=0.99,
    change_threshold=1.0,
    preview_period=3,
    keep_fraction=1.0,
)


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_stream_that_was_interrupted_is_gone_on_with_as_if_it_was_not(
    tmp_path, quick_page, monkeypatch, toytown_checkpoint, forgotten
):
    segmenter = ActiveSegmenter(toytown_checkpoint, ROLLING, TableHypernyms.shipped())
    segmenter.set_vocabulary(WORDS)
    monkeypatch.setattr(
        runner, "ActiveSegmenter", SimpleNamespace(from_pretrained=lambda *_, **__: segmenter)
    )
    monkeypatch.setattr(FlopsCounter, "count", lambda *_: FrameFlops(1, 2, 3))
    bag = write_bag(tmp_path / "bag", frames=4, size=(64, 48))
    whole = EvaluationConfig(
        bag=bag,
        out=tmp_path / "whole",
        model="toytown",
        vocabulary=WORDS,
        settings=ROLLING,
        device="cpu",
        corruptions=(FOG,),
        methods=("active",),
        labels_topic=TRUTH_TOPIC,
        threads=1,
    )
    runner.evaluate(whole)
    schedules = []
    streamed = MethodRun.label

    def segment(stream, rgb, stamp):
        result = streamed(stream, rgb, stamp)
        schedules.append(result.schedule)
        return result

    def interrupted(stream, rgb, stamp):
        if len(schedules) == 5:
            raise KeyboardInterrupt
        return segment(stream, rgb, stamp)

    part = replace(whole, out=tmp_path / "part")
    monkeypatch.setattr(MethodRun, "label", interrupted)
    assert runner.evaluate(part).interrupted
    monkeypatch.setattr(MethodRun, "label", segment)
    if forgotten:
        (part.out / "memories" / "active.json").unlink()
        (part.out / "memories" / "active+fog-3.json").write_text("damaged")
    runner.evaluate(part)
    assert len(schedules) == 8 + 5 * forgotten
    assert schedules[0].mode == "full" and "share" in {schedule.mode for schedule in schedules}
    known = [[replace(one, timings={}) for one in records_of(each.out)] for each in (part, whole)]
    assert known[0] == known[1]
    assert predictions(part.out) == predictions(whole.out)
