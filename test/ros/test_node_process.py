"""The real node, as a process, with the demo model, over DDS."""

import os
import re
import resource
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import yaml

from .conftest import PATIENCE, WORDS

pytestmark = pytest.mark.usefixtures("dds_environment")


def summary(log: str) -> dict[str, int]:
    counts = re.search(
        r"stopped; frames: (\d+) in = (\d+) out \+ (\d+) dropped \+ (\d+) pending(?:; dropped: ([^;\n]+))?",
        log,
    )
    assert counts, log
    *numbers, reasons = counts.groups()
    told = dict(zip(("received", "answered", "dropped", "pending"), map(int, numbers), strict=True))
    by_reason = {
        reason: int(number) for reason, number in re.findall(r"([a-z ]+?) (\d+)(?:, )?", reasons or "")
    }
    assert sum(by_reason.values()) == told["dropped"]
    assert told["received"] == told["answered"] + told["dropped"] + told["pending"]
    return {**told, **by_reason}


def when(entry) -> tuple[int, int]:
    stamp = entry.message.header.stamp
    return stamp.sec, stamp.nanosec


def end_while_streaming(node, client, rgb, number) -> dict[str, int]:
    """Ends the node with a signal while images come in; whatever was received must have gone somewhere."""
    for _ in range(5):
        client.send(rgb)
    assert node.end(number) == 0
    assert "Traceback" not in node.log
    return summary(node.log)


def test_words_change_live_without_a_mixed_or_lost_frame(start_node, client, street):
    vocabularies = [
        WORDS,
        ["tree", "dog"],
        ["road", "bus", "sky", "fence", "pole", "zebra", "cat", "train"],
        ["sky", "car"],
    ]
    node = start_node("-p", "background_threshold:=0.1")
    client.connect(street)
    small = np.ascontiguousarray(street[::2, ::2])
    stopping, sent = threading.Event(), []

    def stream():
        # One at a time: an image that got lost would never be answered, and the wait would end in a failure.
        while not stopping.is_set():
            sent.append(client.ask(small).stamp)

    camera = threading.Thread(target=stream, daemon=True)
    camera.start()
    for revision, words in enumerate(vocabularies[1:], start=2):
        assert client.set(vocabulary=words) == (True, "")
        assert client.until(
            lambda revision=revision: any(
                entry.message.vocabulary_revision == revision for entry in client.received["active_classes"]
            )
        )
        enough = len(sent) + 2
        assert client.until(lambda enough=enough: len(client.received["labels"]) > enough)
        assert client.set(vocabulary=["road", "Road"])[0] is False
    stopping.set()
    camera.join(PATIENCE)
    assert not camera.is_alive(), node.log
    client.with_stamp("active_classes", sent[-1])
    assert node.end() == 0
    counts = summary(node.log)
    assert counts["pending"] == 0 and counts["dropped"] == counts.get("superseded", 0)
    # What was sent before the first answer that came may have been answered to nobody.
    unheard = client.stamps("labels")[0] - 1
    assert 0 <= counts["answered"] - len(client.received["labels"]) <= unheard

    names = {
        number: [word.split(",")[0] for word in words] for number, words in enumerate(vocabularies, start=1)
    }
    # What comes into force between two images is announced a nanosecond after the one before.
    infos = sorted(client.received["label_info"], key=when)
    assert [[one.class_name for one in entry.message.class_map] for entry in infos] == list(names.values())
    revisions = []
    for entry in client.received["active_classes"]:
        active = entry.message
        revisions.append(active.vocabulary_revision)
        info = [one for one in infos if when(one) <= when(entry)][-1]
        named = {one.class_id: one.class_name for one in info.message.class_map}
        assert list(named.values()) == names[active.vocabulary_revision]
        assert active.vocabulary_size == len(named)
        assert [one.name for one in active.classes] == [named[one.class_id] for one in active.classes]
        labels = client.with_stamp("labels", entry.stamp)
        assert info.sent < labels.sent
        pixels = np.asarray(labels.message.data)
        assert set(np.unique(pixels)) <= {*named, 255}
        for one in active.classes:
            assert one.area == pytest.approx((pixels == one.class_id).mean())
    assert revisions == sorted(revisions) and set(revisions) == set(names)


def test_refused_parameters_leave_the_old_in_force_and_say_why(start_node, client, street):
    node = start_node()
    client.connect(street)
    refusals = [
        ({"vocabulary": ["road", " "]}, "blank"),
        ({"vocabulary": []}, "empty"),
        ({"vocabulary": "road"}, "list"),
        ({"vocabulary": ["car", "sky", "automobile, Car"]}, "'car'"),
        ({"background_class": "zebra"}, "zebra"),
        ({"vocabulary": ["road"], "background_class": "sky"}, "sky"),
        ({"keep_fraction": 1.5}, "keep_fraction"),
        ({"max_active": 0}, "max_active"),
        ({"preview_resolution": 67}, "patch size 8"),
        ({"model": "other"}, "model"),
        ({"device": "cuda"}, "device"),
        ({"max_active": 3, "keep_fraction": 0.0}, "keep_fraction"),
    ]
    for values, said in refusals:
        successful, reason = client.set(**values)
        assert not successful and said in reason, (values, reason)
    assert client.get("vocabulary") == WORDS
    assert client.get("background_class") == "" and client.get("max_active") == 40
    answer = client.ask(street)
    assert client.with_stamp("active_classes", answer.stamp).message.vocabulary_revision == 1

    assert client.set(vocabulary=["road", "other"], background_class="other") == (True, "")
    assert client.set(vocabulary=["road", "sky"])[0] is False
    assert client.set(background_class="", background_threshold=1.0, confidence_threshold=0.9) == (True, "")
    client.eventually(
        lambda: client.with_stamp("active_classes", client.ask(street).stamp).message.vocabulary_revision > 1
    )
    # At threshold 1 and without a background class next to nothing is certain enough.
    client.eventually(lambda: (np.asarray(client.ask(street).message.data) == 255).mean() > 0.5)
    assert node.end() == 0


def test_bad_images_are_refused_by_name_and_the_next_good_one_is_answered(start_node, client, street):
    node = start_node("-p", "max_pixels:=80000")
    client.connect(street)
    row = bytes(30)
    bad = [
        ({}, "image is empty"),
        ({"height": 2, "width": 10, "encoding": "rgb8", "step": 29, "data": row + row}, "step is 29 bytes"),
        ({"height": 3, "width": 10, "encoding": "rgb8", "step": 30, "data": row + row}, "data is 60 bytes"),
        (
            {"height": 1, "width": 10, "encoding": "no such", "step": 30, "data": row},
            "'no such' is not known",
        ),
        ({"height": 1, "width": 5, "encoding": "32FC1", "step": 20, "data": row}, "holds measurements"),
        ({"height": 1, "width": 10, "encoding": "", "step": 30, "data": row}, "'' is not known"),
        (
            {"height": 300, "width": 300, "encoding": "mono8", "step": 300, "data": bytes(90_000)},
            "max_pixels",
        ),
    ]
    for fields, said in bad:
        client.send(**fields)
        node.wait_for_log(f"frame refused: .*{said}")
        client.ask(street)
    assert end_while_streaming(node, client, street, signal.SIGINT)["bad image"] == len(bad)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_loading_node_cleanly(start_node, number):
    node = start_node()
    node.wait_for_log("loading the model")
    assert node.end(number) == 0
    assert "Traceback" not in node.log


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"model": "/no/such/folder"}, "/no/such/folder"),
        ({"words": ["road", "Road"]}, "'road'"),
        ({"words": []}, "empty"),
        ({"words": None, "given": ["-p", "vocabulary:=[road, no]"]}, "put words such as no or 7 into quotes"),
        ({"words": None, "given": ["-p", "vocabulary:=[road, 7]"]}, "put words such as no or 7 into quotes"),
        ({"given": ["-p", "vocabulary"]}, "expected NAME:=VALUE"),
        ({"given": ["--params-file", "/no/such.yaml"]}, "/no/such.yaml"),
        ({"given": ["-p", "use_sim_time:=5"]}, "use_sim_time"),
        ({"given": ["--unheard-of"]}, "--unheard-of"),
    ],
)
def test_what_cannot_be_served_ends_with_one_sentence(start_node, arguments, said):
    others = {name: value for name, value in arguments.items() if name != "given"}
    node = start_node(*arguments.get("given", ()), **others)
    assert node.process.wait(PATIENCE) == 1
    (sentence,) = re.findall(r"\[FATAL\].*", node.log)
    assert said in sentence and ".c:" not in sentence
    assert "Traceback" not in node.log


@pytest.mark.parametrize("argument", ["keep_fraction:=2.0", "keep_fraction:=much", "preview_resolution:=67"])
def test_a_bad_number_at_the_start_is_refused_by_name(start_node, argument):
    node = start_node("-p", argument)
    assert node.process.wait(PATIENCE) == 1
    assert argument.split(":")[0] in re.search(r"\[FATAL\].*", node.log).group()
    assert "Traceback" not in node.log


def test_a_second_node_of_the_same_name_is_noticed_by_both(start_node):
    pair = [start_node("-p", "autostart:=false", namespace="twins") for _ in range(2)]
    for node in pair:
        node.wait_for_log("2 nodes are called /twins/activesam: ")
    assert pair[0].end() == 0
    assert pair[1].end() == 0 and pair[1].log.count("nodes are called") == 1


def dump(client, file):
    """Write the node's parameters into a file as `ros2 param dump` does, and return the content."""
    from rclpy.parameter import parameter_value_to_python

    client.introduce()
    names = sorted(client.result(client.parameters.list_parameters()).result.names)
    values = client.result(client.parameters.get_parameters(names)).values
    tree: dict = {}
    for name, value in zip(names, values, strict=True):
        *path, leaf = name.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[leaf] = parameter_value_to_python(value)
    file.write_text(yaml.dump({"/activesam": {"ros__parameters": tree}}, default_flow_style=False))
    return tree


def test_a_dump_restores_the_node_and_starts_the_same_one(start_node, make_client, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "background: sky\nbackground_threshold: 0.25\nclasses:\n  - {name: road, prompts: [asphalt, lane]}\n"
        "  - car, automobile\n  - {name: sky, colour: [16, 32, 48]}\n  - bus\ngroups:\n  vehicle: [car, bus]\n"
    )
    changes = [
        {"vocabulary_file": "voc21", "background_threshold": 0.3, "profile": "realtime"},
        {"vocabulary": ["no", "7", "car, automobile"], "background_class": "", "max_rate": 2.5},
        {"vocabulary_file": str(mine), "background_class": "", "keep_fraction": 0.5},
    ]
    # Nodes that wait to be configured start quickly; the first one serves.
    first = start_node("-p", "background_class:=sky", "-p", "autostart:=false")
    client, dumps = make_client(topics=()), {}
    assert client.change_state("configure") and client.change_state("activate")
    for number, values in enumerate(changes):
        assert client.set(**values) == (True, "")
        file = tmp_path / f"dump{number}.yaml"
        dumps[file] = dump(client, file)
        assert values.items() <= dumps[file].items()
    # Each after another one than the one before which it was written.
    for file in dumps:
        results = client.result(client.parameters.load_parameter_file(str(file))).results
        assert [one.reason for one in results if not one.successful] == []
        assert dump(client, tmp_path / "loaded.yaml") == dumps[file]
    first.wait_for_log("vocabulary revision 7 in force: 3 classes")
    assert "undone" not in first.log and first.end() == 0
    preset, _, own = dumps  # Each start costs seconds, and the one left out has nothing that these lack.
    for file in (preset, own):
        again = start_node("--params-file", str(file), words=None)
        client = make_client(topics=())
        assert dump(client, tmp_path / "started.yaml") == dumps[file]
        assert again.end() == 0


@pytest.fixture(scope="module")
def limited():
    """Command under which a process may be denied threads; whoever runs it may deny them to what it has started."""
    # No limit of processes holds for root, who keeps here what is needed to read its own files.
    rights = ("--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override")
    command = ("setpriv", "--reuid=65534", *rights) if os.geteuid() == 0 else ("env",)
    thread = "import threading; threading.Thread(target=int).start()"
    try:
        tried = subprocess.run(
            [*command, "prlimit", "--nproc=0:", sys.executable, "-c", thread], capture_output=True, text=True
        )
    except FileNotFoundError as error:
        pytest.skip(f"threads cannot be denied here: {error}")
    if "can't start new thread" not in tried.stderr:
        pytest.skip(f"threads cannot be denied here: {tried.stderr.strip() or 'the limit does not hold'}")
    return command


def test_without_a_thread_left_a_request_fails_and_the_node_goes_on(start_node, client, small, limited):
    from activesam_ros.srv import Segment

    def allow(threads):
        subprocess.run([*limited, "prlimit", f"--pid={node.process.pid}", f"--nproc={threads}:"], check=True)

    before, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    node = start_node(under=limited)
    client.connect(small)
    service = client.node.create_client(Segment, "activesam/segment")
    assert service.wait_for_service(PATIENCE)
    image = client.ask(small).message
    allow(0)
    assert client.set(vocabulary=["road", "tree"]) == (True, "")
    node.wait_for_log(r"\[ERROR\].*the change failed and is undone \(vocabulary as before\): no thread could")
    assert client.get("vocabulary") == WORDS
    answer = client.result(service.call_async(Segment.Request(image=image, vocabulary=["zebra"])))
    assert not answer.success and "no thread could be started" in answer.message
    stamp = client.ask(small).stamp
    assert client.with_stamp("active_classes", stamp).message.vocabulary_revision == 1
    assert node.log.count("the change failed") == 1
    allow("unlimited" if before == resource.RLIM_INFINITY else before)
    assert client.set(vocabulary=["road", "tree"]) == (True, "")
    node.wait_for_log("vocabulary revision 3 in force: 2 classes")
    client.ask(small)
    assert node.end() == 0
    assert "Traceback" not in node.log
