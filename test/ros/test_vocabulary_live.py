"""Vocabularies that change while images stream: the real node with the demo model, over DDS."""

import random
import re
import shutil
import threading
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest

from .conftest import PATIENCE, WORDS

pytestmark = pytest.mark.usefixtures("dds_environment")

SHOWN = ("vocabulary_file", "vocabulary", "background_class", "background_threshold", "max_active")


@contextmanager
def streaming(client, rgb):
    """Images come and are answered, one at a time: one that got lost would never be answered."""
    stopping, failures = threading.Event(), []

    def stream():
        while not stopping.is_set():
            try:
                client.ask(rgb)
            except AssertionError as error:
                failures.append(str(error))
                return

    camera = threading.Thread(target=stream, daemon=True)
    camera.start()
    yield
    stopping.set()
    camera.join(2 * PATIENCE)
    assert not camera.is_alive() and not failures, failures
    last = client.stamps("labels")[-1]
    client.with_stamp("active_classes", last)


def in_force(client, revision):
    """Wait until an image was labelled with this revision."""
    assert client.until(
        lambda: any(
            entry.message.vocabulary_revision == revision for entry in client.received["active_classes"]
        )
    ), f"revision {revision} never came into force"


def colour(one):
    return one.color.r, one.color.g, one.color.b


def check_the_record(client):
    """What must hold for everything that was received, whatever the edits were."""
    vocabularies = {entry.message.revision: entry for entry in client.received["vocabulary"]}
    # Both come in pairs; several may have one stamp, when nothing was labelled in between.
    infos = dict(zip(vocabularies, client.received["label_info"], strict=True))
    assert len(vocabularies) == len(client.received["vocabulary"])
    revisions = [entry.message.revision for entry in client.received["vocabulary"]]
    assert revisions == sorted(revisions)
    for revision, entry in vocabularies.items():
        classes = entry.message.classes
        info = infos[revision].message
        assert info.header.stamp == entry.message.header.stamp
        assert [(one.class_id, one.class_name) for one in info.class_map] == [
            (one.class_id, one.name) for one in classes
        ]
        assert len({one.class_id for one in classes}) == len(classes)
    labelled = []
    for entry in sorted(client.received["active_classes"], key=lambda entry: entry.stamp):
        active = entry.message
        labelled.append(active.vocabulary_revision)
        vocabulary = vocabularies[active.vocabulary_revision]
        labels = client.with_stamp("labels", entry.stamp)
        assert vocabulary.stamp <= entry.stamp
        assert vocabulary.sent < labels.sent
        assert infos[vocabulary.message.revision].sent < labels.sent
        names = {one.class_id: one.name for one in vocabulary.message.classes}
        assert active.vocabulary_size == len(names)
        assert [one.name for one in active.classes] == [names[one.class_id] for one in active.classes]
        pixels = np.asarray(labels.message.data)
        assert {*np.unique(pixels)} <= {*names, vocabulary.message.unlabeled_id}
    assert labelled == sorted(labelled)
    return [vocabularies[revision].message for revision in revisions]


def test_words_files_and_presets_change_in_one_revision_each(start_node, client, small, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "background: sky\nbackground_threshold: 0.25\nclasses:\n"
        "  - road, street\n  - {name: sky, prompts: [air]}\n  - car\n  - bus\n"
        "groups:\n  vehicle: [car, bus]\n"
    )
    node = start_node()
    client.connect(small)

    def shows(*values):
        assert tuple(client.get(name) for name in SHOWN[: len(values)]) == values

    with streaming(client, small):
        assert client.set(vocabulary_file="cityscapes") == (True, "")
        in_force(client, 2)
        assert client.get("vocabulary_file") == "cityscapes" and client.get("background_threshold") == 0.0
        assert client.get("vocabulary")[:2] == ["road", "sidewalk"] and len(client.get("vocabulary")) == 19

        assert client.set(vocabulary_file=str(mine)) == (True, "")
        in_force(client, 3)
        shows(str(mine), ["road, street", "sky", "vehicle"], "sky", 0.25)

        assert client.set(background_class="road", max_active=2) == (True, "")
        in_force(client, 4)
        shows(str(mine), ["road, street", "sky", "vehicle"], "road", 0.25, 2)

        # The same file again is read again.
        mine.write_text("- nonsense")
        successful, reason = client.set(vocabulary_file=str(mine))
        assert not successful and "mine.yaml" in reason and "line 1" in reason
        mine.write_text("classes: [road, tree]\n")
        assert client.set(vocabulary_file=str(mine), background_threshold=0.5) == (True, "")
        in_force(client, 5)
        shows(str(mine), ["road", "tree"], "", 0.5)

        for values, said in (
            ({"vocabulary": ["road"], "vocabulary_file": str(mine)}, "both"),
            ({"vocabulary_file": "no_such_preset"}, "no_such_preset"),
            ({"vocabulary_file": str(tmp_path)}, "not a file"),
            ({"vocabulary_file": str(mine), "background_class": "sky"}, "sky"),
            ({"vocabulary": ["road", "a word that goes on and on " * 9]}, "tokens"),
            ({"vocabulary": ["Road", "road, street"]}, "road"),
        ):
            successful, reason = client.set(**values)
            assert not successful and said in reason, (values, reason)
        shows(str(mine), ["road", "tree"], "", 0.5)

        assert client.set(vocabulary=["tree", "car", "road"]) == (True, "")
        in_force(client, 6)
        shows("", ["tree", "car", "road"], "", 0.5)
        told = client.diagnosed(lambda level, message, values: values.get("revision") == "6")
        assert told["classes"] == "3" and told["revision accepted"] == "6"
    assert node.end() == 0

    seen = check_the_record(client)
    assert [message.revision for message in seen] == [1, 2, 3, 4, 5, 6]
    for before, after in pairwise(seen):
        kept = {one.name: one for one in before.classes}
        for one in after.classes:
            if one.name in kept:
                assert one.class_id == kept[one.name].class_id
                if after.revision != 2:  # Cityscapes brings colours of its own
                    assert colour(one) == colour(kept[one.name])
    vehicle = seen[2].classes[-1]
    assert (vehicle.prompts, vehicle.members) == (["car", "bus"], ["car", "bus"])
    background = {one.name: one.class_id for one in seen[2].classes}["sky"]
    assert seen[2].background_id == background and seen[4].background_id == -1


def test_random_edits_end_where_the_parameters_say(start_node, client, small):
    from activesam_ros.configuration.configuration import first_configuration, next_configuration
    from activesam_ros.errors import ActiveSamError

    node = start_node()
    client.connect(small)
    chance = random.Random(20)
    words = [*WORDS, "tree", "dog", "bus", "fence", "grass, lawn", "traffic light", "bench"]
    expected = first_configuration({"vocabulary": WORDS})
    revision = 1
    with streaming(client, small):
        for _ in range(15):
            changes = chance.choice(
                [
                    {"vocabulary": chance.sample(words, chance.randint(1, 7))},
                    {"vocabulary": chance.sample(words, 4), "background_class": ""},
                    {"vocabulary_file": chance.choice(["voc20", "voc21", "outdoor_navigation", "nowhere"])},
                    {"background_class": chance.choice(["", "road", "sky", "car"])},
                    {"max_active": chance.randint(1, 40)},
                    {"vocabulary": ["road", chance.choice([" ", "ROAD", "..."])]},
                ]
            )
            refusal = ""
            try:
                expected = next_configuration(expected, changes, revision + 1)
            except ActiveSamError as error:
                refusal = str(error)
            assert client.set(**changes) == (not refusal, refusal), changes
            if not refusal:
                revision = max(revision, expected.revision)
                in_force(client, expected.revision)
            values = dict(expected.values)
            values["vocabulary"] = list(values["vocabulary"])
            assert [client.get(name) for name in SHOWN] == [values[name] for name in SHOWN]
        told = client.diagnosed(lambda level, message, values: level == 0)
        assert told["revision"] == told["revision accepted"] == str(revision)
    assert node.end() == 0

    last = check_the_record(client)[-1]
    assert last.revision == revision
    assert [(one.class_id, one.name, tuple(one.prompts)) for one in last.classes] == [
        (one.class_id, one.name, one.prompts) for one in expected.vocabulary.classes
    ]
    assert [colour(one) for one in last.classes] == [
        pytest.approx(tuple(part / 255 for part in one.colour)) for one in expected.vocabulary.classes
    ]


def test_a_storm_of_edits_leaves_the_last_one_in_force(start_node, client, small):
    from rclpy.parameter import Parameter

    node = start_node()
    client.connect(small)
    with streaming(client, small):
        # Not waiting for the answers; each call takes something out and puts something in.
        edits = [["road", ("blue car", "red car")[number % 2], f"thing {number}"] for number in range(60)]
        asked = [
            client.parameters.set_parameters_atomically([Parameter("vocabulary", value=words)])
            for words in edits
        ]
        assert client.until(lambda: all(future.done() for future in asked))
        assert all(future.result().result.successful for future in asked)
        in_force(client, 61)
        assert client.get("vocabulary") == ["road", "red car", "thing 59"]
        told = client.diagnosed(lambda level, message, values: values.get("revision") == "61")
        assert told["revision accepted"] == "61"
    assert node.end() == 0
    seen = check_the_record(client)
    assert [one.name for one in seen[-1].classes] == ["road", "red car", "thing 59"]
    # Names and ids of things that never labelled an image are not used again.
    assert seen[-1].classes[0].class_id == 0 and seen[-1].classes[2].class_id == 5 + 60 + 60 - 1


def test_words_that_cannot_be_encoded_are_written_back_and_diagnosed(
    start_node, client, small, tmp_path, toytown_folder
):
    model = tmp_path / "model"
    shutil.copytree(toytown_folder, model)
    node = start_node("-p", f"prompt_cache:={tmp_path / 'prompts'}", model=model)
    client.connect(small)
    with streaming(client, small):
        assert client.set(vocabulary=["sky", "road"], background_class="sky") == (True, "")
        in_force(client, 2)
        # From now on no unknown word can be encoded.
        (model / "model.safetensors").unlink()
        successful, _ = client.set(vocabulary=["road", "zebra"], background_class="road", max_active=7)
        assert successful
        told = client.diagnosed(lambda level, message, values: level == 2)
        assert str(model) in told["last error"] and told["revision"] == "2"
        client.eventually(lambda: client.get("vocabulary") == ["sky", "road"])
        assert client.get("background_class") == "sky" and client.get("max_active") == 40
        assert client.diagnosed(lambda level, message, values: level == 2)["revision accepted"] == "2"
        undone = "vocabulary, background_class, max_active as before"
        node.wait_for_log(rf"\[ERROR\].*the change failed and is undone \({undone}\)")
        assert len(re.findall(r"\[ERROR\]", node.log)) == 1

        # Known words can still be had, and their revision is a new one.
        assert client.set(vocabulary=["car", "sky"]) == (True, "")
        in_force(client, 4)
        told = client.diagnosed(lambda level, message, values: level == 0)
        assert told["revision"] == "4" and "last error" not in told
    assert node.end() == 0
    seen = check_the_record(client)
    assert [message.revision for message in seen] == [1, 2, 4]
    # "zebra" never labelled a pixel; its id was never seen and is free for the next new name.
    assert {one.name: one.class_id for one in seen[-1].classes} == {"car": 5, "sky": 2}
    assert "Traceback" not in node.log


def test_a_known_vocabulary_starts_without_the_text_encoder(start_node, client, small, tmp_path):
    cache = tmp_path / "prompts"
    arguments = ("-p", f"prompt_cache:={cache}", "-p", "text_encoder:=keep")
    first = start_node(*arguments)
    client.connect(small)
    told = client.diagnosed(lambda level, message, values: level == 0)
    assert (told["text encoder loaded"], told["prompt cache"]) == ("yes", str(cache))
    assert int(told["phrases encoded"]) >= 6 and told["phrases from the cache"] == "0"
    first.wait_for_log("loaded the text encoder")
    assert first.end() == 0

    second = start_node(*arguments)
    client.connect(small)
    told = client.diagnosed(lambda level, message, values: level == 0)
    assert (told["text encoder loaded"], told["phrases encoded"]) == ("no", "0")
    assert "loaded the text encoder" not in second.log

    assert client.set(vocabulary=[*WORDS, "zebra"]) == (True, "")
    with streaming(client, small):
        in_force(client, 2)
    told = client.diagnosed(lambda level, message, values: values.get("revision") == "2")
    assert told["text encoder loaded"] == "yes" and int(told["phrases encoded"]) >= 1
    assert int(told["phrases from the cache"]) >= 6
    assert second.end() == 0


def test_a_gap_while_a_word_is_encoded_is_reported(start_node, client, small, tmp_path, record_property):
    node = start_node("-p", f"prompt_cache:={tmp_path / 'prompts'}")
    client.connect(small)
    with streaming(client, small):
        enough = len(client.received["labels"]) + 20
        assert client.until(lambda: len(client.received["labels"]) > enough)
        assert client.set(vocabulary=[*WORDS, "zebra"]) == (True, "")
        in_force(client, 2)
        enough = len(client.received["labels"]) + 5
        assert client.until(lambda: len(client.received["labels"]) > enough)
    assert node.end() == 0
    check_the_record(client)
    sent = sorted(entry.sent for entry in client.received["labels"])
    gaps = 1e-6 * np.diff(sent)[2:]
    (changed,) = (one.sent for one in client.received["vocabulary"] if one.message.revision == 2)
    around = np.searchsorted(sent[3:], changed) + np.array([-2, -1, 0])
    figures = (
        f"ms between label images: median {np.median(gaps):.0f}, largest {gaps.max():.0f} of {len(gaps)}; "
        f"the three up to the change {', '.join(f'{gap:.0f}' for gap in gaps[around])}"
    )
    record_property("gap", figures)
    print(figures)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-p", "vocabulary_file:=indoor"), "vocabulary and vocabulary_file are both given"),
        (("-p", "text_encoder:=gone"), "expected one of release, offload, keep"),
    ],
)
def test_contradictions_at_the_start_end_with_one_sentence(start_node, arguments, said):
    node = start_node(*arguments)
    assert node.process.wait(PATIENCE) == 1
    (line,) = re.findall(r"\[FATAL\].*", node.log)
    assert said in line and "Traceback" not in node.log


def test_a_prompt_that_is_too_long_at_the_start_ends_with_one_sentence(start_node):
    node = start_node(words=["road", "a word that goes on and on " * 9])
    assert node.process.wait(PATIENCE) == 1
    (line,) = re.findall(r"\[FATAL\].*", node.log)
    assert "tokens" in line and "Traceback" not in node.log


def test_a_preset_at_the_start(start_node, client, small):
    node = start_node("-p", "vocabulary_file:=voc21", words=None)
    client.connect(small)
    assert client.get("vocabulary_file") == "voc21" and client.get("background_class") == "background"
    assert len(client.get("vocabulary")) == 21 and client.get("background_threshold") == 0.4
    assert node.end() == 0
    (message,) = check_the_record(client)
    assert message.revision == 1 and message.background_id == 0
    assert [one.class_id for one in message.classes] == list(range(21))
