"""Records of frames: what follows from the counts, and the file that survives a kill."""

import json

import numpy as np
import pytest

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.records import FrameRecord, RecordFile, TruthScores, read_records

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
RECORD = FrameRecord(
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


@pytest.mark.parametrize("record", [RECORD, EMPTY, FrameRecord(1, 2, "no-preview", active=())])
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
        file.append(RECORD)
        assert read_records(path) == [RECORD], "a record is there as soon as it is appended"
    with RecordFile(path) as file:
        file.append(EMPTY)
    assert read_records(path) == [RECORD, EMPTY]


def test_half_a_line_of_a_killed_run_is_done_again(tmp_path):
    path = tmp_path / "records.jsonl"
    with RecordFile(path) as file:
        file.append(RECORD)
        file.append(EMPTY)
    path.write_bytes(path.read_bytes()[:-10])
    assert read_records(path) == [RECORD]
    with RecordFile(path) as file:
        file.append(EMPTY)
    assert read_records(path) == [RECORD, EMPTY]


def test_the_last_record_of_a_frame_stands(tmp_path):
    path = tmp_path / "records.jsonl"
    again = FrameRecord(index=0, stamp=0, method="paper", active=(1,), presence=(1.0,), pixels=(9,))
    with RecordFile(path) as file:
        for record in (EMPTY, RECORD, again):
            file.append(record)
    assert read_records(path) == [again, RECORD]


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text("{}\n{\n")
    with pytest.raises(EvaluationError, match="line 1 of .*records.jsonl"):
        read_records(path)


def test_a_file_that_is_not_open_takes_nothing(tmp_path):
    with pytest.raises(ValueError, match="not open"):
        RecordFile(tmp_path / "records.jsonl").append(EMPTY)


def test_numbers_that_json_does_not_know_are_refused(tmp_path):
    with RecordFile(tmp_path / "records.jsonl") as file, pytest.raises(ValueError):
        file.append(FrameRecord(0, 0, "active", work=float(np.nan)))
