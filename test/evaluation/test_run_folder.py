"""The folder of a run: who may use it, what it keeps, and its records, which survive a kill."""

import json
from dataclasses import replace

import numpy as np
import pytest

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.records import FrameRecord, RecordFile, TruthScores, read_records
from activesam_ros.evaluation.results import read_notes, write_results
from activesam_ros.evaluation.run_folder import RunFolder
from activesam_ros.evaluation.summary import summarise

ASKED = {
    "recording": {"path": "street", "every": 1},
    "methods": [{"name": "active"}],
    "command": "activesam-evaluate street",
    "made": "2025-01-01T00:00:00+00:00",
    "machine": "a computer",
    "versions": {"torch": "2.9"},
}
RECORD = FrameRecord(0, 5, "active", active=(1,), presence=(0.5,), pixels=(9,), unlabeled=3)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / "one")


@pytest.fixture
def begun(folder) -> RunFolder:
    assert folder.begin(ASKED) == []
    with folder.append_to() as file:
        file.append(RECORD)
    return folder


def test_a_run_begins_with_what_was_asked(folder):
    assert folder.begin(ASKED) == []
    assert folder.description() == ASKED


def test_the_same_request_takes_up_what_was_done(begun):
    assert begun.begin(ASKED) == [RECORD]
    with begun.append_to() as file:
        file.append(replace(RECORD, index=1))
    assert [one.index for one in begun.begin(ASKED)] == [0, 1]


@pytest.mark.parametrize("name", ["command", "made", "machine", "versions"])
def test_what_labels_do_not_depend_on_may_differ(begun, name):
    assert begun.begin({**ASKED, name: "another"}) == [RECORD]


@pytest.mark.parametrize(
    "changed", [{"recording": {"path": "street", "every": 2}}, {"methods": []}, {"seed": 0}]
)
def test_another_request_is_refused(begun, changed):
    (name,) = changed
    with pytest.raises(EvaluationError, match=f"another {name}; .*--out.*--overwrite"):
        begun.begin({**ASKED, **changed})
    assert begun.description() == ASKED and begun.begin(ASKED) == [RECORD]


def test_a_request_with_less_is_another_one(begun):
    with pytest.raises(EvaluationError, match="another recording"):
        begun.begin({name: value for name, value in ASKED.items() if name != "recording"})


def test_plain_data_is_compared_as_json_has_it(begun):
    # Tuples become lists on their way to the disk.
    begun.begin({**ASKED, "seed": 0, "corruptions": ("fog:3",)}, overwrite=True)
    with begun.append_to() as file:
        file.append(RECORD)
    assert begun.begin({**ASKED, "seed": 0, "corruptions": ("fog:3",)}) == [RECORD]


def test_a_run_without_a_frame_gives_way(folder):
    folder.begin(ASKED)
    folder.save_prediction("active", "", 0, np.zeros((2, 2), np.uint8))
    assert folder.begin({**ASKED, "seed": 1}) == []
    assert folder.description()["seed"] == 1
    assert folder.prediction("active", "", 0) is None


def test_overwriting_removes_what_the_run_left_and_nothing_else(begun):
    begun.save_prediction("active", "", 0, np.zeros((2, 2), np.uint8))
    (begun.path / "pictures").mkdir()
    for name in ("report.html", "results.json", "frames.csv", "pictures/a.png", "notes of mine.txt"):
        (begun.path / name).write_text("left")
    assert begun.begin({**ASKED, "seed": 1}, overwrite=True) == []
    assert sorted(path.name for path in begun.path.iterdir()) == ["notes of mine.txt", "run.json"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_something_else_are_never_touched(folder, overwrite):
    folder.path.mkdir(parents=True)
    (folder.path / "thesis.txt").write_text("years of work")
    with pytest.raises(EvaluationError, match=r"files that are no evaluation.*--out"):
        folder.begin(ASKED, overwrite)
    assert [path.name for path in folder.path.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_folder(folder):
    folder.path.parent.mkdir()
    folder.path.write_text("years of work")
    with pytest.raises(EvaluationError, match="is a file; give another folder with --out"):
        folder.begin(ASKED, overwrite=True)
    assert folder.path.read_text() == "years of work"


def test_an_empty_folder_is_fine(folder):
    folder.path.mkdir(parents=True)
    assert folder.begin(ASKED) == []


@pytest.mark.parametrize("content", [None, "{", "\udcff"])
def test_a_folder_without_a_run_says_so(folder, content):
    folder.path.mkdir(parents=True)
    if content is not None:
        (folder.path / "run.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(EvaluationError, match=r"no folder of an evaluation: run.json is missing or damaged"):
        folder.description()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_labels_come_back_exactly(folder, kind):
    labels = np.random.default_rng(1).integers(0, np.iinfo(kind).max, (7, 5), kind, endpoint=True)
    folder.save_prediction("active", "fog:3", 12, labels)
    assert np.array_equal(folder.prediction("active", "fog:3", 12), labels)
    assert folder.prediction("active", "fog:3", 12).dtype == kind
    assert (folder.path / "predictions" / "active+fog-3" / "000012.png").exists()
    assert folder.prediction("active", "", 12) is None and folder.prediction("active", "fog:3", 1) is None


def test_labels_that_cannot_be_written_are_told(folder):
    folder.path.mkdir(parents=True)
    # A folder is where the file would be.
    folder._prediction_path("active", "", 0).mkdir(parents=True)
    with pytest.raises(EvaluationError, match=r"000000.png cannot be written; see that the disk has room"):
        folder.save_prediction("active", "", 0, np.zeros((2, 2), np.uint8))


def test_notes_are_those_of_the_last_report(begun):
    assert read_notes(begun) == []
    results = summarise([RECORD], [], ["active"], [""])
    write_results(begun.path / "results.json", results, {**ASKED, "notes": ["it was cut"]})
    assert read_notes(begun) == ["it was cut"]
    (begun.path / "results.json").write_text('{"version": 99}')
    assert read_notes(begun) == []


# Of 400 counted pixels class 0 has 297, class 1 has 100 and class 2, which was not decoded, 3.
SCORES = TruthScores(
    classes=3,
    active=(0, 1),
    confusion=((0, 0, 290), (0, 3, 7), (1, 0, 20), (1, 1, 80), (2, 1, 3)),
    boundary=((0, 40, 60), (1, 10, 30)),
    changed=5,
    compared=250,
    unknown=((9, 3),),
)
FULL = FrameRecord(
    index=7,
    stamp=1_700_000_000_123_456_789,
    method="active",
    corruption="fog:3",
    width=20,
    height=20,
    active=(4, 0),
    presence=(0.75, 0.5),
    pixels=(310, 83),
    unlabeled=7,
    truth=SCORES,
    agreement=0.9,
    timings={"decode": 0.25, "total": 0.5},
    latency=0.625,
    work=1.5e12,
    work_split={"decode": 1e12, "encode": 5e11},
    peak_memory=2**30,
)
EMPTY = FrameRecord(index=0, stamp=0, method="paper", error="the image of frame 0 cannot be read")


def test_what_follows_from_the_confusion():
    assert SCORES.truth_pixels == {0: 297, 1: 100, 2: 3}
    assert SCORES.counted == 400
    assert SCORES.present == (0, 1, 2)
    assert SCORES.prominent == (0, 1), "class 2 has less than 4 of 400 pixels"
    assert SCORES.missed == (2,)
    assert SCORES.lost_pixels == {2: 3}
    assert SCORES.flicker == 5 / 250
    assert SCORES.matrix.counts.tolist() == [[290, 0, 0, 7], [20, 80, 0, 0], [0, 3, 0, 0]]


def test_the_background_is_not_missed_where_pixels_became_it():
    scores = TruthScores(2, active=(1,), confusion=((0, 0, 5), (1, 0, 5)))
    assert scores.present == (0, 1)
    assert scores.missed == ()


def test_prominent_begins_at_one_percent():
    assert TruthScores(2, (), ((0, 0, 99), (1, 1, 1))).prominent == (0, 1)
    assert TruthScores(2, (), ((0, 0, 100), (1, 1, 1))).prominent == (0,)


@pytest.mark.parametrize(("changed", "compared"), [(None, None), (0, 0)])
def test_no_flicker_where_nothing_was_compared(changed, compared):
    assert TruthScores(1, (), ((0, 0, 1),), changed=changed, compared=compared).flicker is None


@pytest.mark.parametrize("record", [FULL, EMPTY, FrameRecord(1, 2, "no-preview", active=())])
def test_json_keeps_everything(record):
    assert FrameRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_json_leaves_out_what_is_not_known():
    assert set(EMPTY.to_json()) == {"index", "stamp", "method", "error"}
    assert FrameRecord(1, 2, "no-preview", active=()).to_json()["active"] == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "red"}, "colour"),
        ({"truth": {"classes": 3}}, "active"),
        ({"truth": {"classes": 1, "active": [], "confusion": [[0, 1]]}}, "unpack"),
    ],
)
def test_other_json_is_refused(change, said):
    with pytest.raises(EvaluationError, match=f"no record of a frame.*{said}"):
        FrameRecord.from_json({**EMPTY.to_json(), **change})


def test_file_grows_and_is_read_again(tmp_path):
    path = tmp_path / "records.jsonl"
    assert read_records(path) == []
    with RecordFile(path) as file:
        file.append(FULL)
        assert read_records(path) == [FULL], "a record is there as soon as it is appended"
    with RecordFile(path) as file:
        file.append(EMPTY)
    assert read_records(path) == [FULL, EMPTY]


def test_half_a_line_of_a_killed_run_is_done_again(tmp_path):
    path = tmp_path / "records.jsonl"
    with RecordFile(path) as file:
        file.append(FULL)
        file.append(EMPTY)
    path.write_bytes(path.read_bytes()[:-10])
    assert read_records(path) == [FULL]
    with RecordFile(path) as file:
        file.append(EMPTY)
    assert read_records(path) == [FULL, EMPTY]


def test_the_last_record_of_a_frame_stands(tmp_path):
    path = tmp_path / "records.jsonl"
    again = FrameRecord(index=0, stamp=0, method="paper", active=(1,), presence=(1.0,), pixels=(9,))
    with RecordFile(path) as file:
        for record in (EMPTY, FULL, again):
            file.append(record)
    assert read_records(path) == [again, FULL]


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text("{}\n{\n")
    with pytest.raises(EvaluationError, match=r"line 1 of .*records.jsonl"):
        read_records(path)


def test_a_file_that_is_not_open_takes_nothing(tmp_path):
    with pytest.raises(ValueError, match="not open"):
        RecordFile(tmp_path / "records.jsonl").append(EMPTY)


def test_numbers_that_json_does_not_know_are_refused(tmp_path):
    with RecordFile(tmp_path / "records.jsonl") as file, pytest.raises(ValueError, match="JSON compliant"):
        file.append(FrameRecord(0, 0, "active", work=float(np.nan)))
