"""The files of a run's figures, and that they are what the documentation says."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import pytest

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation import metrics, results, summary
from activesam_ros.evaluation.records import FrameRecord, TruthScores
from activesam_ros.evaluation.results import (
    COLUMNS,
    read_results,
    results_to_json,
    write_frames,
    write_results,
)
from activesam_ros.evaluation.summary import summarise

DOCUMENT = Path(__file__).parents[2] / "docs" / "evaluation-results.md"
CLASSES = ("road", "car")
RECORDS = [
    FrameRecord(
        index=4,
        stamp=1_700_000_000_000_000_001,
        method="active",
        width=20,
        height=10,
        active=(7,),
        presence=(0.5,),
        pixels=(150,),
        unlabeled=50,
        truth=TruthScores(2, (0,), ((0, 0, 150), (0, 2, 30), (1, 2, 20)), ((0, 5, 10), (1, 0, 5)), 2, 100),
        agreement=1 / 3,
        timings={"decode": 0.25, "total": 0.5},
        latency=0.75,
        work=2.5e12,
        work_split={"decode": 2.5e12},
        peak_memory=1_000_000,
    ),
    FrameRecord(4, 1_700_000_000_000_000_001, "active", "fog:1", error='no "memory", sorry'),
]


def cells(tmp_path):
    path = tmp_path / "frames.csv"
    write_frames(path, RECORDS, CLASSES, {7: "road"})
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_frames(tmp_path):
    first, second = cells(tmp_path)
    assert tuple(first) == (*COLUMNS, "decode_s", "total_s")
    expected = {
        "stamp_ns": "1700000000000000001",
        "error": "",
        "active": "1",
        "active_classes": "road",
        "unlabeled_share": "0.25",
        "mean_iou": f"{(150 / 180 + 0) / 2:.6g}",
        "pixel_accuracy": "0.75",
        "boundary_iou": "0.25",
        "present": "2",
        "missed": "1",
        "missed_classes": "car",
        "recall": "0.5",
        "precision": "1",
        "lost_share": "0.1",
        "flicker": "0.02",
        "agreement": "0.333333",
        "latency_s": "0.75",
        "work": "2.5e+12",
        "peak_memory": "1000000",
        "decode_s": "0.25",
        "total_s": "0.5",
    }
    assert {name: first[name] for name in expected} == expected
    assert (second["corruption"], second["error"]) == ("fog:1", 'no "memory", sorry')
    known = {"method", "corruption", "index", "stamp_ns", "error"}
    assert all(value == "" for name, value in second.items() if name not in known)


def test_frames_name_ids_that_have_no_name(tmp_path):
    write_frames(tmp_path / "frames.csv", RECORDS[:1], CLASSES, {})
    assert ",1,7,0.25," in (tmp_path / "frames.csv").read_text()


def test_frames_have_plain_line_ends(tmp_path):
    cells(tmp_path)
    assert (tmp_path / "frames.csv").read_bytes().count(b"\n") == 3
    assert b"\r" not in (tmp_path / "frames.csv").read_bytes()


def test_results_are_written_and_read(tmp_path):
    path = tmp_path / "results.json"
    found = summarise(RECORDS, CLASSES)
    write_results(path, found, {"command": "activesam-evaluate straße"})
    plain = read_results(path)
    assert plain == json.loads(json.dumps(results_to_json(found, {"command": "activesam-evaluate straße"})))
    assert plain["version"] == 2
    assert plain["run"]["command"].endswith("straße")
    assert plain["summaries"][0]["truth"]["mean_iou"] == found.summary("active").truth.mean_iou
    assert plain["summaries"][1]["errors"] == [['no "memory", sorry', 1]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ('{"version": 1}', "version 1; expected 2"),
        ("[]", "version None"),
    ],
)
def test_other_files_are_refused(tmp_path, content, said):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EvaluationError, match=said):
        read_results(path)


def documented(heading):
    """The names in the first column of the table under a heading."""
    section = (
        DOCUMENT.read_text(encoding="utf-8")
        .split(f"## {heading}\n", 1)[1]
        .split("\n## ", 1)[0]
        .split("\n#", 1)[0]
    )
    return [
        name
        for row in re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
        for name in re.findall(r"`([^`]*)`", row)
    ]


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("A summary", summary.Summary),
        ("`truth`", summary.TruthSummary),
        ("`classes` of `truth`", summary.ClassScores),
        ("`active_set`", metrics.ActiveSetScores),
        ("`classes` of `active_set`", metrics.ClassRecall),
        ("`decoded`", summary.Decoded),
        ("A comparison", summary.Comparison),
        ("A spread", metrics.Percentiles),
        ("`robustness`", summary.Robustness),
    ],
)
def test_every_field_is_documented(heading, kind):
    assert documented(heading) == [field.name for field in dataclasses.fields(kind)]


def test_the_outermost_fields_are_documented():
    assert documented("`results.json`") == list(results_to_json(summarise(RECORDS, CLASSES), {}))


def test_every_column_is_documented():
    assert documented("`frames.csv`") == [*results.COLUMNS, "<stage>_s"]


def test_every_field_of_a_record_is_documented():
    assert documented("`records.jsonl`") == [field.name for field in dataclasses.fields(FrameRecord)]
    assert documented("`truth` of a record") == [field.name for field in dataclasses.fields(TruthScores)]
