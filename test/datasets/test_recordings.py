"""Recordings of every kind, whole, cut and damaged."""

import shutil
import sqlite3
import struct
from collections import Counter

import lz4.frame
import numpy as np
import pytest
import yaml
import zstandard
from mcap.writer import CompressionType

from activesam_ros.datasets.recordings import Recording
from activesam_ros.errors import EvaluationError

FRAMES = 30
TENTH = 100_000_000
SIDE = 64


@pytest.fixture
def frames(bags):
    """A LabelInfo, then images and label images by turns; each pixel value tells the frame."""
    noise = np.random.default_rng(5).integers(0, 256, (FRAMES, SIDE, SIDE, 3), np.uint8)
    messages = [bags.label_info("/truth/label_info", {0: "road", 1: "sky"})]
    for index in range(FRAMES):
        messages.append(bags.image("/camera", noise[index], "rgb8", index * TENTH))
        truth = np.full((SIDE, SIDE), index, np.uint8)
        messages.append(bags.image("/truth/labels", truth, "mono8", index * TENTH, index * TENTH + 1))
    return messages


def everything(source: Recording) -> list[tuple[str, int]]:
    return [(one.topic, one.time_ns) for one in source.messages(source.topics) if one.message is not None]


def recorded(bags, messages) -> list[tuple[str, int]]:
    return [(one.topic, bags.start + one.time) for one in messages]


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        ("mcap", "none"),
        ("mcap", "storage"),
        ("mcap", "file"),
        ("mcap", "message"),
        ("sqlite3", "none"),
        ("sqlite3", "file"),
        ("sqlite3", "message"),
    ],
)
@pytest.mark.parametrize("described", [True, False])
def test_every_kind_of_folder_is_read_also_without_its_description(
    bags, frames, storage, compression, described
):
    path = bags.write(frames, storage, compression)
    if not described:
        (path / "metadata.yaml").unlink()
    with Recording(path) as source:
        assert {name: (topic.type, topic.count) for name, topic in source.topics.items()} == {
            "/camera": (bags.IMAGE, FRAMES),
            "/truth/label_info": (bags.LABEL_INFO, 1),
            "/truth/labels": (bags.IMAGE, FRAMES),
        }
        assert list(source.topics) == sorted(source.topics)
        assert everything(source) == recorded(bags, frames)
        assert (source.start, source.end) == (bags.start, bags.start + (FRAMES - 1) * TENTH + 1)
        assert source.cut is None
        if described:
            assert source.notes == ()
        else:
            (note,) = source.notes
            assert "has no metadata.yaml, as when a recorder was killed" in note


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_storage_file_is_a_recording(bags, frames, storage):
    (file,) = bags.write(frames, storage).glob("recording.*")
    with Recording(str(file)) as source:
        assert everything(source) == recorded(bags, frames) and source.cut is None


@pytest.mark.parametrize("compression", CompressionType)
@pytest.mark.parametrize("profile", ["ros2", ""])
def test_chunks_of_every_kind_are_read_whichever_recorder_wrote_them(bags, frames, compression, profile):
    path = bags.write_mcap(frames, profile=profile, compression=compression, chunk_size=50_000)
    with Recording(path) as source:
        assert everything(source) == recorded(bags, frames) and source.cut is None


def test_messages_are_whole_and_numpy(bags, frames):
    with Recording(bags.write(frames)) as source:
        image = next(source.messages(["/camera"]))
        assert image.topic == "/camera" and image.error is None and image.time_ns == bags.start
        assert isinstance(image.message.data, np.ndarray)
        assert np.array_equal(image.message.data, frames[1].message.data)
        info = next(source.messages(["/truth/label_info"])).message
        assert [(one.class_id, one.class_name) for one in info.class_map] == [(0, "road"), (1, "sky")]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_part_in_seconds_after_the_start(bags, frames, storage):
    with Recording(bags.write(frames, storage)) as source:
        part = [(one.time_ns - bags.start) // TENTH for one in source.messages(["/camera"], 0.5, 1.0)]
        assert part == [5, 6, 7, 8, 9]
        assert len(list(source.messages(["/camera"], start_s=2.0))) == 10
        assert len(list(source.messages(["/camera"], end_s=2.0))) == 20


def test_a_missing_topic_lists_those_that_there_are(bags, frames):
    with Recording(bags.write(frames)) as source:
        with pytest.raises(EvaluationError) as refusal:
            source.messages(["/camera", "/front"])
        assert str(refusal.value) == (
            f"{source.path} has no topic /front; it has /camera (sensor_msgs/msg/Image), /truth/label_info "
            "(vision_msgs/msg/LabelInfo), /truth/labels (sensor_msgs/msg/Image)"
        )
        assert source.topics_of(bags.IMAGE) == ("/camera", "/truth/labels")
        assert list(source.messages([])) == []


@pytest.mark.parametrize(
    "options",
    [
        {"compression": CompressionType.ZSTD},
        {"compression": CompressionType.LZ4},
        {"compression": CompressionType.NONE},
        {"use_chunking": False},
    ],
    ids=["zstd", "lz4", "plain", "unchunked"],
)
@pytest.mark.parametrize("share", [0.03, 0.2, 0.35, 0.5, 0.77, 0.95])
def test_a_cut_mcap_is_read_up_to_the_cut(bags, frames, options, share):
    path = bags.write_mcap(frames, chunk_size=50_000, **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with Recording(path) as source:
        assert "the recording is incomplete" in source.cut and "recording.mcap" in source.cut
        assert "the file ends" in source.cut
        got = everything(source)
        assert got == recorded(bags, frames)[: len(got)]
        # Frames are of equal size and hardly shrink, so the cut tells how many there are.
        pairs = share * FRAMES
        assert pairs - 4 <= len(got) / 2 <= pairs + 4
        assert sum(topic.count for topic in source.topics.values()) == len(got)
        assert source.end == (got[-1][1] if got else None)


@pytest.mark.parametrize("compression", ["none", "storage"])
def test_wherever_an_mcap_is_cut_it_is_read_or_refused_in_one_sentence(bags, frames, compression):
    (path,) = bags.write(frames[:9], compression=compression).glob("*.mcap")
    whole = path.read_bytes()
    expected = recorded(bags, frames[:9])
    before = 0
    for cut in [
        *range(0, 300, 19),
        *range(300, len(whole) - 700, 3511),
        *range(len(whole) - 700, len(whole), 31),
    ]:
        path.write_bytes(whole[:cut])
        if cut < 8:
            with pytest.raises(EvaluationError, match=r"^[^\n]*$"):
                Recording(path)
            continue
        with Recording(path) as source:
            got = everything(source)
            assert source.cut and got == expected[: len(got)] and len(got) >= before
            before = len(got)
    assert before == len(expected)


def test_of_an_unfinished_chunk_what_is_whole_is_read(bags, frames):
    for compression in CompressionType:
        path = bags.write_mcap(frames, f"{compression.name}.mcap", compression=compression, chunk_size=10**9)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with Recording(path) as source:
            got = everything(source)
            assert got == recorded(bags, frames)[: len(got)] and FRAMES - 12 <= len(got) <= FRAMES + 12


def test_a_cut_bag_can_be_read_in_part(bags, frames):
    path = bags.write_mcap(frames, chunk_size=50_000)
    path.write_bytes(path.read_bytes()[:-3000])
    with Recording(path) as source:
        part = [(one.time_ns - bags.start) // TENTH for one in source.messages(["/camera"], 0.5, 1.0)]
        assert part == [5, 6, 7, 8, 9]


def test_a_folder_whose_file_is_cut_is_read_up_to_the_cut(bags, frames):
    path = bags.write(frames)
    (file,) = path.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-100])
    with Recording(path) as source:
        assert "recording.mcap is incomplete (its index is missing or damaged)" in source.cut
        assert everything(source) == recorded(bags, frames)


def test_split_recordings_are_read_in_order_also_when_the_last_part_is_empty(bags, frames):
    folder = bags.folder / "split"
    folder.mkdir()
    for index, number in enumerate((9, 10, 11)):
        part = bags.write(frames[index * 20 : index * 20 + 20], name=f"part{number}")
        shutil.move(part / f"part{number}.mcap", folder / f"split_{number}.mcap")
    with Recording(folder) as source:
        assert everything(source) == recorded(bags, frames[:60])
        assert source.topics["/camera"].count == 30
    (folder / "split_11.mcap").write_bytes(b"")
    with Recording(folder) as source:
        assert everything(source) == recorded(bags, frames[:40])
        assert "split_11.mcap is empty" in source.cut


def test_damage_in_the_middle_ends_the_reading_and_is_told(bags, frames):
    path = bags.write_mcap(frames, compression=CompressionType.ZSTD, chunk_size=50_000)
    content = bytearray(path.read_bytes())
    for position in range(len(content) // 2, len(content) // 2 + 40):
        content[position] ^= 0x5A
    path.write_bytes(content)
    with Recording(path) as source:
        got = everything(source)
        assert got == recorded(bags, frames)[: len(got)] and 10 < len(got) < 50
        assert "it is damaged in the middle" in source.cut


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("described", [True, False])
def test_a_truncated_database_names_the_way_out(bags, frames, share, described):
    path = bags.write(frames, "sqlite3")
    (file,) = path.glob("*.db3")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    if not described:
        (path / "metadata.yaml").unlink()
    with pytest.raises(EvaluationError) as refusal:
        Recording(path)
    assert "recording.db3 is truncated" in str(refusal.value) and "\n" not in str(refusal.value)
    assert f"sqlite3 {file} .recover | sqlite3 recording_recovered.db3" in str(refusal.value)


def test_a_damaged_database_is_told(bags, frames):
    (file,) = bags.write(frames, "sqlite3").glob("*.db3")
    content = bytearray(file.read_bytes())
    content[100:4096] = bytes(3996)
    file.write_bytes(content)
    with pytest.raises(EvaluationError, match=r"is damaged .*\.recover"):
        Recording(file)


@pytest.mark.parametrize(
    "damage", [(b"CREATE TABLE topics", b"CREATE \xff\xfe\xffLE topics"), (b"  name TEXT", b"  n\xffme TEXT")]
)
def test_a_damaged_schema_is_one_sentence(bags, frames, damage):
    (file,) = bags.write(frames, "sqlite3").glob("*.db3")
    content = file.read_bytes()
    assert damage[0] in content
    file.write_bytes(content.replace(*damage))
    with pytest.raises(EvaluationError, match=r"recording\.db3 (is damaged|cannot be read).*"):
        Recording(file)


def test_a_database_with_a_log_says_how_to_merge_it(bags, frames):
    (file,) = bags.write(frames, "sqlite3").glob("*.db3")
    killed = bags.folder / "killed.db3"
    database = sqlite3.connect(file)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (1, 1, x'00')")
    database.commit()
    shutil.copy(file, killed)
    shutil.copy(f"{file}-wal", f"{killed}-wal")
    database.close()
    with Recording(killed) as source:
        assert everything(source) == recorded(bags, frames)
        assert "lacks what is in its log" in source.cut and "wal_checkpoint(TRUNCATE)" in source.cut


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_any_path_can_be_read(bags, frames, storage):
    path = bags.write(frames, storage).rename(bags.folder / "drive #1? 50%")
    with Recording(path) as source:
        assert everything(source) == recorded(bags, frames)


def test_a_disk_that_fails_is_told(bags, frames, monkeypatch):
    path = bags.write(frames)

    def fail(folder):
        raise OSError(5, "Input/output error", str(folder))

    monkeypatch.setattr(type(path), "iterdir", fail)
    with pytest.raises(EvaluationError, match=r"recording cannot be read: .* Input/output error"):
        Recording(path)


def test_what_is_no_recording_is_refused_in_one_sentence(bags, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    (tmp_path / "film.mp4").write_bytes(b"film")
    (tmp_path / "none.mcap").write_bytes(b"")
    (tmp_path / "none.db3").write_bytes(b"")
    (tmp_path / "text.mcap").write_bytes(b"hello, this is no recording" * 9)
    (tmp_path / "text.db3").write_bytes(b"hello, this is no recording" * 9)
    for name, said in {
        "gone": "there is no recording",
        "empty": "expected metadata.yaml, and files that end in .mcap or .db3",
        "old.bag": "rosbags-convert --src",
        "film.mp4": "expected a rosbag2 folder, or an .mcap or .db3 file",
        "none.mcap": "is empty: the recorder stopped before it wrote anything",
        "none.db3": "is empty",
        "text.mcap": "is no MCAP file",
        "text.db3": "is no SQLite file",
    }.items():
        with pytest.raises(EvaluationError) as refusal:
            Recording(tmp_path / name)
        assert said in str(refusal.value) and str(tmp_path / name) in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_an_unreadable_message_is_told_and_the_others_are_read(bags, frames):
    def damage(index, raw):
        return {1: raw[:40], 3: b"", 5: bytes(20), 7: raw[:-1]}.get(index, raw)

    with Recording(bags.write(frames, damage=damage)) as source:
        messages = list(source.messages(["/camera"]))
        assert len(messages) == FRAMES
        assert [index for index, one in enumerate(messages) if one.message is None] == [0, 1, 2, 3]
        for one in messages[:4]:
            assert "is no sensor_msgs/msg/Image" in one.error and "\n" not in one.error


def test_the_recordings_own_definition_wins(bags):
    """The same name, another meaning: what the recorder wrote down is what is in the bytes."""
    from mcap.writer import Writer

    path = bags.folder / "own.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2")
        other = writer.register_schema("vision_msgs/msg/LabelInfo", "ros2msg", b"uint32 answer")
        broken = writer.register_schema("robot_msgs/msg/Thing", "ros2msg", b"this is ( no definition")
        alien = writer.register_schema("robot.Thing", "protobuf", b"\0\1")
        channels = [
            writer.register_channel("/own", "cdr", other),
            writer.register_channel("/broken", "cdr", broken),
            writer.register_channel("/alien", "protobuf", alien),
        ]
        for channel in channels:
            writer.add_message(channel, 5, b"\0\1\0\0" + struct.pack("<I", 42), 5)
        writer.finish()
    with Recording(path) as source:
        assert next(source.messages(["/own"])).message.answer == 42
        assert (
            "definition of the type robot_msgs/msg/Thing cannot be read"
            in next(source.messages(["/broken"])).error
        )
        assert "serialised as 'protobuf'; expected cdr" in next(source.messages(["/alien"])).error


def test_types_that_the_recording_does_not_define_are_known(bags, frames):
    path = bags.write(frames, "sqlite3")
    (file,) = path.glob("*.db3")
    with sqlite3.connect(file) as database:
        database.execute("DELETE FROM message_definitions")
        database.execute("UPDATE topics SET type = 'robot_msgs/msg/Thing' WHERE name = '/truth/labels'")
    database.close()
    with Recording(file) as source:
        assert next(source.messages(["/camera"])).message.width == SIDE
        assert next(source.messages(["/truth/label_info"])).message.class_map[1].class_name == "sky"
        assert "robot_msgs/msg/Thing is not known" in next(source.messages(["/truth/labels"])).error


def test_this_packages_own_messages_are_known(bags):
    types = bags.store.types
    active = types["activesam_ros/msg/ActiveClass"](class_id=3, name="road", presence=0.5, area=0.25)
    raw = bags.store.serialize_cdr(active, "activesam_ros/msg/ActiveClass")
    assert bags.store.deserialize_cdr(raw, "activesam_ros/msg/ActiveClass").name == "road"
    assert "activesam_ros/msg/Vocabulary" in types


# metadata.yaml against the files.


def amend(path, change) -> None:
    """Changes what metadata.yaml states of a recording."""
    file = path / "metadata.yaml"
    content = yaml.safe_load(file.read_text())
    change(content["rosbag2_bagfile_information"])
    file.write_text(yaml.safe_dump(content))


def each_topic(**changed):
    """Changes the fields of every topic; a field that is None is left out."""

    def change(stated):
        for entry in stated["topics_with_message_count"]:
            for name, value in changed.items():
                entry["topic_metadata"].pop(name, None)
                if value is not None:
                    entry["topic_metadata"][name] = value

    return change


def each_count(count):
    def change(stated):
        stated["message_count"] = 0
        for entry in stated["topics_with_message_count"]:
            entry["message_count"] = count

    return change


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (each_topic(offered_qos_profiles=""), ""),
        (each_topic(offered_qos_profiles=None), ""),
        (each_topic(offered_qos_profiles="- history: [what"), "another quality of service of /camera"),
        (each_topic(type_description_hash="RIHS01_00"), "type hash RIHS01_00"),
        (each_topic(type_description_hash=None), ""),
        (each_topic(name="/other"), "it names /other, which the files do not have"),
        (each_topic(type="a_msgs/msg/B"), "it states the type a_msgs/msg/B of /camera, and the files"),
        (
            each_topic(serialization_format="protobuf"),
            "it states the encoding protobuf of /camera, and the files cdr",
        ),
        (each_count(0), f"it states 0 messages of /camera, and the files have {FRAMES}"),
        (lambda stated: stated.update(topics_with_message_count=[]), "it leaves out /camera"),
        (
            lambda stated: stated.update(relative_file_paths=["gone.mcap"]),
            "it lists gone.mcap, which is missing",
        ),
        (lambda stated: stated.update(version=17, storage_identifier="tape", compression_mode="FILE"), ""),
        (lambda stated: [stated.pop(key) for key in list(stated) if key != "version"], "it leaves out"),
        (lambda stated: stated.update(starting_time={"nanoseconds_since_epoch": 5}, duration=None), ""),
    ],
)
def test_the_files_are_believed_against_metadata_yaml(bags, frames, storage, change, told):
    path = bags.write(frames, storage)
    amend(path, change)
    with Recording(path) as source:
        assert everything(source) == recorded(bags, frames) and source.cut is None
        assert (source.start, source.topics["/camera"].count) == (bags.start, FRAMES)
        assert source.shortage(*source.topics) is None
        assert all(
            "metadata.yaml does not describe the files, which were followed" in one for one in source.notes
        )
        if told and not ("hash" in told and storage == "mcap"):  # rosbags writes no hash into an MCAP
            assert told in source.notes[0]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"a: [", b"7", b"\xff\xfe", b"rosbag2_bagfile_information: 3"]
)
def test_a_metadata_yaml_without_meaning_is_told(bags, frames, content):
    path = bags.write(frames)
    (path / "metadata.yaml").write_bytes(content)
    with Recording(path) as source:
        assert everything(source) == recorded(bags, frames) and source.cut is None
        assert len(source.notes) == 1 and "read from its files alone" in source.notes[0]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_files_that_are_not_listed_are_read_in_order_of_time(bags, frames, storage):
    """Joined by hand; the later part sorts first, and its connections have other numbers."""
    path = bags.write(frames[:30], storage, name="z")
    (later,) = bags.write(frames[:29:-1], storage, name="part").glob("part.*")
    later.rename(path / f"a{later.suffix}")
    with Recording(path) as source:
        assert everything(source) == recorded(bags, frames)
        assert source.topics["/camera"].count == FRAMES and source.cut is None
        (note,) = source.notes
        assert f"it leaves out a{later.suffix}" in note and "it states 15 messages of /camera" in note
        assert [one.time_ns for one in source.messages(["/camera"], 1.3, 1.7)] == [
            bags.start + index * TENTH for index in (13, 14, 15, 16)
        ]


def test_files_in_a_folder_below_are_read_if_they_are_listed(bags, frames):
    path = bags.write(frames)
    (path / "data").mkdir()
    shutil.move(path / "recording.mcap", path / "data")
    amend(path, lambda stated: stated.update(relative_file_paths=["data/recording.mcap"]))
    with Recording(path) as source:
        assert everything(source) == recorded(bags, frames) and source.notes == ()


def test_two_recorders_at_once_are_read_by_turns(bags, frames):
    folder = bags.write(frames[1::2], name="camera")
    shutil.move(bags.write(frames[2::2], name="truth") / "truth.mcap", folder)
    with Recording(folder) as source:
        assert everything(source) == recorded(bags, frames[1:])


def test_less_than_is_stated_is_a_shortage(bags, frames):
    path = bags.write(frames)
    amend(path, each_count(FRAMES + 2))
    with Recording(path) as source:
        assert f"/camera has {FRAMES} of {FRAMES + 2} messages" in source.cut
        assert source.shortage("/camera") == f"/camera has {FRAMES} of {FRAMES + 2} messages"


def test_what_could_not_be_read_is_a_shortage(bags, frames):
    path = bags.write_mcap(frames, chunk_size=50_000)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x5A  # the index stays whole
    path.write_bytes(content)
    with Recording(path) as source:
        assert source.shortage("/camera") is None
        read = sum(1 for one in everything(source) if one[0] == "/camera")
        assert source.shortage("/camera") == f"/camera has {read} of {FRAMES} messages" and read < FRAMES


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_copy_is_read_once(bags, frames, storage):
    path = bags.write(frames, storage)
    (file,) = path.glob("recording.*")
    shutil.copy(file, path / f"a copy{file.suffix}")
    with Recording(path) as source:
        assert everything(source) == recorded(bags, frames)
        assert source.notes[0] == f"a copy{file.suffix} is a copy of {file.name}, and was left out"


def test_a_file_that_lies_there_packed_and_unpacked_is_read_once(bags, frames):
    path = bags.write(frames, "sqlite3", "file")
    (packed,) = path.glob("*.zstd")
    packed.with_suffix("").write_bytes(zstandard.decompress(packed.read_bytes(), 10**8))
    with Recording(path) as source:
        assert everything(source) == recorded(bags, frames) and source.notes == ()


@pytest.mark.parametrize("format", ["zstd", "lz4"])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_files_that_were_compressed_by_hand(bags, frames, storage, format):
    (file,) = bags.write(frames, storage).glob("recording.*")
    pack = lz4.frame.compress if format == "lz4" else zstandard.compress
    half = file.stat().st_size // 2
    content = file.read_bytes()
    # In two frames, as parallel compressors write.
    packed = bags.folder / f"{file.name}.{format}"
    packed.write_bytes(pack(content[:half]) + pack(content[half:]))
    with Recording(packed) as source:
        assert everything(source) == recorded(bags, frames) and source.notes == ()


@pytest.mark.parametrize("format", ["zstd", "lz4"])
def test_messages_that_were_compressed_one_by_one(bags, frames, format):
    pack = (
        lz4.frame.compress if format == "lz4" else zstandard.ZstdCompressor(write_content_size=False).compress
    )
    with Recording(bags.write(frames, damage=lambda index, raw: pack(raw))) as source:
        assert everything(source) == recorded(bags, frames)
        stamps = [stamp for topic, _, stamp in source.stamps(["/camera"])]
        assert stamps == [bags.start + index * TENTH for index in range(FRAMES)]


@pytest.mark.parametrize("compression", ["storage", "file", "message"])
def test_what_is_compressed_is_unpacked_once(bags, frames, compression, monkeypatch):
    """Six readings, two of them at the same time."""
    from activesam_ros.datasets import mcap_file, recordings

    counted = Counter()

    def count(module, name):
        called = getattr(module, name)

        def counting(*arguments, **options):
            counted[name] += 1
            return called(*arguments, **options)

        monkeypatch.setattr(module, name, counting)

    path = bags.write(frames, compression=compression)
    count(recordings, "_unpack")
    count(mcap_file, "breakup_chunk")
    with Recording(path) as source:
        for _ in range(2):
            list(source.stamps(["/camera", "/truth/labels"]))
            pairs = zip(source.messages(["/camera"]), source.messages(["/truth/labels"]), strict=True)
            assert len(list(pairs)) == FRAMES
    chunks = -(-sum(len(bags.raw(one)) for one in frames) // 2**20)
    assert counted["_unpack"] == (compression == "file")
    assert counted["breakup_chunk"] <= chunks + 1


def test_a_full_temporary_folder_is_named(bags, frames, monkeypatch):
    def full(source, target, length):
        raise OSError(28, "No space left on device")

    path = bags.write(frames, compression="file")
    shutil.copy(next(bags.write(frames[:5], name="plain").glob("*.mcap")), path)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(EvaluationError, match=r"unpacked to the temporary folder .*No space left.*TMPDIR"):
        Recording(path)


# Types and encodings beside the images.


@pytest.mark.parametrize("encoding", ["ros2msg", "unknown", "", "protobuf", "ros2idl"])
@pytest.mark.parametrize("message_encoding", ["cdr", "protobuf", "ros1", "json", ""])
def test_other_topics_do_not_damage_a_recording(bags, frames, encoding, message_encoding):
    from mcap.writer import Writer

    path = bags.folder / "other.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2")
        radar = writer.register_schema("robot_msgs/msg/Radar", encoding, b"")
        # The images' type is known, so they need no definition.
        image = writer.register_schema(bags.IMAGE, encoding, b"")
        channels = {
            "/radar": writer.register_channel("/radar", message_encoding, radar),
            "/camera": writer.register_channel("/camera", "cdr", image),
            "/none": writer.register_channel("/none", message_encoding, 0),
        }
        for one in frames[1:]:
            if one.topic == "/camera":
                writer.add_message(channels["/camera"], bags.start + one.time, bags.raw(one), 0)
            writer.add_message(channels["/radar"], bags.start + one.time, b"\0\1\0\0ab", 0)
        writer.finish()
    with Recording(path) as source:
        assert len(list(source.messages(["/camera"]))) == FRAMES
        assert all(one.message is not None for one in source.messages(["/camera"]))
        assert source.cut is None and source.notes == ()
        assert len(list(source.messages(["/radar"]))) == 2 * FRAMES


@pytest.mark.parametrize("name", ["sensor_msgs/Image", "sensor_msgs::msg::dds_::Image_"])
def test_types_by_other_names(bags, frames, name):
    (file,) = bags.write(frames, "sqlite3").glob("*.db3")
    with sqlite3.connect(file) as database:
        database.execute(
            "UPDATE topics SET type = ?, offered_qos_profiles = '' WHERE name = '/camera'", (name,)
        )
    database.close()
    with Recording(file) as source:
        assert source.topics["/camera"].type == bags.IMAGE
        assert next(source.messages(["/camera"])).message.width == SIDE


def test_a_topic_with_two_types_has_that_of_most_messages(bags, frames):
    (file,) = bags.write(frames, "sqlite3").glob("*.db3")
    with sqlite3.connect(file) as database:
        database.execute("INSERT INTO topics VALUES (9, '/camera', 'robot_msgs/msg/Old', 'cdr', '', '')")
        database.execute("INSERT INTO messages VALUES (999, 9, ?, x'0001')", (bags.start,))
    database.close()
    with Recording(file) as source:
        assert source.topics["/camera"].type == bags.IMAGE and source.topics["/camera"].count == FRAMES + 1
        read = list(source.messages(["/camera"]))
        assert [one.error for one in read if one.error] == [
            f"the message is of type robot_msgs/msg/Old, the topic's others {bags.IMAGE}"
        ]


@pytest.mark.parametrize("column", ["offered_qos_profiles", "type_description_hash", "serialization_format"])
def test_databases_of_old_versions(bags, frames, column):
    (file,) = bags.write(frames, "sqlite3").glob("*.db3")
    with sqlite3.connect(file) as database:
        database.execute(f"ALTER TABLE topics DROP COLUMN {column}")
        database.execute("DROP TABLE message_definitions")
        database.execute("DROP TABLE schema")
        database.execute("DROP INDEX timestamp_idx")
    database.close()
    with Recording(file) as source:
        assert everything(source) == recorded(bags, frames) and source.notes == ()


def test_a_database_that_is_no_recording_is_not_called_damaged(tmp_path):
    with sqlite3.connect(tmp_path / "birds.db3") as database:
        database.execute("CREATE TABLE birds(name)")
    database.close()
    with pytest.raises(
        EvaluationError, match="no recording: it has no tables topics and messages"
    ) as refusal:
        Recording(tmp_path / "birds.db3")
    assert "recover" not in str(refusal.value)


def test_the_bytes_tell_what_a_file_is(bags, frames):
    (file,) = bags.write(frames, "sqlite3").glob("*.db3")
    with Recording(file.rename(file.with_suffix(".mcap"))) as source:
        assert everything(source) == recorded(bags, frames)
    (bags.folder / "drive").mkdir()
    (bags.folder / "drive" / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(EvaluationError, match=r"old\.bag is a ROS 1 bag; .*rosbags-convert --src .*old\.bag"):
        Recording(bags.folder / "drive")
    with pytest.raises(EvaluationError, match="give one of the folders in it: recording"):
        Recording(bags.folder)


def test_statistics_that_count_nothing_are_not_believed(bags, frames, monkeypatch):
    from mcap.writer import Writer

    finish = Writer.finish

    def forget(writer):
        writer._Writer__statistics.channel_message_counts.clear()
        writer._Writer__statistics.message_count = 0
        finish(writer)

    monkeypatch.setattr(Writer, "finish", forget)
    with Recording(bags.write_mcap(frames)) as source:
        assert source.topics["/camera"].count == FRAMES and everything(source) == recorded(bags, frames)
