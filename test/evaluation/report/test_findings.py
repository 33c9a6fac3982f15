"""What the page says first, on a made-up run whose truth is known."""

from dataclasses import replace

import pytest

from activesam_ros.evaluation.report.findings import (
    LIVE_METHOD,
    NO_CLASS,
    confusions,
    findings,
    pixel_outcomes,
)
from activesam_ros.evaluation.summary import summarise

SIZE = 5
"""Classes in the vocabulary of the made-up run."""


def decoding(record, number):
    """The record with the first so many classes decoded."""
    return replace(record, active=tuple(range(number)), presence=(0.9,) * number, pixels=(1,) * number)


def test_the_three_questions_are_answered_with_numbers(made_up_run):
    run = made_up_run()
    right, cost, wrong = findings(run.results, run.records, SIZE)
    first = run.results.summary("active")
    assert right.figure == f"{100 * first.truth.mean_iou:.1f} %" and right.unit == "mIoU"
    full = run.results.summary("full-vocabulary")
    assert full.truth.mean_iou == 1.0
    lost = 100 * (1 - first.truth.mean_iou)
    assert cost.figure == f"{lost:.1f} points worse"
    assert cost.unit == "in mIoU: the difference to full-vocabulary"
    assert "context tokens and calibration" in " ".join(cost.sentences)
    assert "--compare no-preview" in " ".join(cost.sentences)
    assert "49 % of the computation" in " ".join(cost.sentences)
    assert "75.0 % of the classes" in " ".join(cost.sentences), "the person is one of four, and never decoded"
    assert wrong.figure == "0 %" and "person" in wrong.unit
    assert "100 % of the pixels of person are labelled road." in wrong.sentences
    assert "person was not decoded in 29 of the 29 images that show it." in wrong.sentences
    assert "1 of 30 frames could not be labelled or scored." in wrong.sentences


def test_the_pixels_add_up_to_all_that_count(made_up_run):
    run = made_up_run()
    own = [record for record in run.records if record.method == "active" and not record.corruption]
    shares = {entry.name: entry.labels for entry in pixel_outcomes(own)}
    assert sum(shares.values()) == pytest.approx(1)
    truth = run.results.summary("active").truth
    assert shares["right"] == pytest.approx(truth.pixel_accuracy)
    assert shares["class was not decoded"] == pytest.approx(truth.active_set.lost_share)


def test_only_the_method_that_differs_in_pruning_alone_is_taken_for_what_pruning_cost(made_up_run):
    run = made_up_run()
    own = [record for record in run.records if not record.corruption]
    alone = [
        replace(record, method="no-preview") if record.method == "full-vocabulary" else record
        for record in own
    ]
    _, cost, _ = findings(summarise(alone, run.results.classes), alone, SIZE)
    assert cost.figure.endswith("points worse") and cost.unit.endswith("no-preview")
    assert "context tokens" not in " ".join(cost.sentences) and "--compare" not in " ".join(cost.sentences)


def test_a_gain_is_called_one(made_up_run):
    run = made_up_run()
    swapped = {"active": "full-vocabulary", "full-vocabulary": "active"}
    own = [
        decoding(replace(record, method=swapped[record.method]), SIZE - 1)
        for record in run.records
        if not record.corruption and not record.error
    ]
    results = summarise(own, run.results.classes, ("active", "full-vocabulary"))
    gained = 100 * (1 - results.summary("full-vocabulary").truth.mean_iou)
    assert findings(results, own, SIZE)[1].figure == f"{gained:.1f} points better"


def test_without_a_method_that_decodes_every_class_the_gain_is_not_claimed(made_up_run):
    run = made_up_run()
    alone = [record for record in run.records if record.method == "active"]
    _, cost, _ = findings(summarise(alone, run.results.classes), alone, SIZE)
    assert "missed classes" in cost.unit and "--compare no-preview" in " ".join(cost.sentences)


@pytest.mark.parametrize("stages", [None, ("total",)])
def test_what_was_pruned_is_told_by_the_active_sets_and_not_by_the_stages(made_up_run, stages):
    run = made_up_run()
    own = [record for record in run.records if record.method == "active"]
    if stages is not None:
        own = [
            replace(record, timings={name: record.timings[name] for name in stages if name in record.timings})
            for record in own
        ]

    def cost(records, size=SIZE):
        return findings(summarise(records, run.results.classes), records, size)[1]

    assert "missed classes" in cost(own).unit

    whole = [record if record.error else decoding(record, SIZE) for record in own]
    assert cost(whole).figure == "0" and cost(whole).unit == "classes pruned"
    one_less = [decoding(record, SIZE - 1) if record.index == 7 else record for record in whole]
    assert cost(one_less).unit != "classes pruned", "one image with a class less is enough"

    unknown = [replace(record, active=None, presence=(), pixels=()) for record in own]
    assert cost(unknown).figure == "Not known"
    assert cost(own, None).figure == "Not known", "of how many classes it is not known"


def test_the_running_node_is_not_told_to_compare(made_up_run):
    run = made_up_run()
    node = [
        replace(record, method=LIVE_METHOD, timings={"total": 0.1})
        for record in run.records
        if record.method == "active" and not record.corruption
    ]
    told = " ".join(findings(summarise(node, run.results.classes), node, SIZE)[1].sentences)
    assert "75.0 % of the classes" in told and "Nothing was pruned" not in told
    assert "--compare" not in told and "not known" in told


def test_without_truth_agreement_is_told_and_not_called_right(made_up_run):
    run = made_up_run(with_truth=False)
    right, cost, wrong = findings(run.results, run.records, SIZE)
    assert right.figure == "Not known" and "not what is right" in " ".join(right.sentences)
    agreement = run.results.summary("active").agreement
    assert cost.figure == f"{100 * (1 - agreement):.1f} %" and cost.unit.endswith("full-vocabulary")
    assert "context tokens and calibration" in " ".join(cost.sentences)
    assert wrong.figure == ""


def test_nothing_labelled_is_nothing_answered(made_up_run):
    run = made_up_run()
    failed = [record for record in run.records if record.error]
    assert findings(summarise(failed, run.results.classes), failed) == ()
    assert findings(summarise([]), []) == ()


def test_mix_ups_are_shares_of_the_true_class(made_up_run):
    run = made_up_run()
    pairs = confusions(run.results.summary("active").truth, run.results.classes)
    assert (pairs[0].truth, pairs[0].label, pairs[0].of_class) == ("person", "road", 1.0)
    assert (pairs[1].truth, pairs[1].label) == ("sky", NO_CLASS)


def test_a_class_that_the_truth_never_shows_is_named_with_its_effect(made_up_run):
    run = made_up_run()
    # Without the frames' persons in the truth, what full-vocabulary labels so is of no true class.
    own = []
    for record in run.records:
        if record.method == "full-vocabulary" and record.truth is not None:
            confusion = ((0, 0, 60), (1, 1, 60), (2, 2, 60), (2, 3, 40))
            own.append(replace(record, truth=replace(record.truth, confusion=confusion, boundary=())))
    results = summarise(own, run.results.classes)
    told = " ".join(findings(results, own, SIZE)[2].sentences)
    assert "In the labels and never in the truth: person." in told
    assert "as 0 in the mIoU of 65.0 %" in told, "(1 + 1 + 0.6 + 0) / 4"
    assert "over the classes of the truth it is 86.7 %" in told, "(1 + 1 + 0.6) / 3"
    shown = " ".join(findings(run.results, run.records, SIZE)[2].sentences)
    assert "never in the truth" not in shown
