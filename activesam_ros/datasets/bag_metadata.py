"""What `metadata.yaml` states of a recording, and where its files say otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml
from rosbags.rosbag2.metadata import parse_qos

from activesam_ros.errors import EvaluationError, reason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from activesam_ros.datasets.storage import Connection

_MOST_TOLD = 6


@dataclass(frozen=True)
class StatedTopic:
    """A topic as `metadata.yaml` has it; what it does not state is empty."""

    type: str = ""
    encoding: str = ""
    hash: str = ""
    qos: Any = None
    count: int = 0


@dataclass(frozen=True)
class BagMetadata:
    """A `metadata.yaml` of any version.

    Attributes:
        paths: of the storage files, below the folder or, in old versions, beside it.
        topics: by name.
        custom_data: what the recorder was told to keep, by key.
    """

    paths: tuple[str, ...] = ()
    topics: Mapping[str, StatedTopic] = field(default_factory=dict)
    custom_data: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the storage files."""
        return tuple(PurePosixPath(one).name for one in self.paths)

    def disagreements(self, files: Collection[str], connections: Sequence[Connection]) -> list[str]:
        """Say in a few words each where the recording's files and their connections say otherwise."""
        found = [f"it lists {name}, which is missing" for name in self.files if name not in files]
        found += [f"it leaves out {name}" for name in sorted(files) if name not in self.files]
        held = {one.topic: one for one in sorted(connections, key=lambda one: one.count)}
        for name, stated in self.topics.items():
            if name not in held:
                found.append(f"it names {name}, which the files do not have")
                continue
            one = held[name]
            count = sum(other.count for other in connections if other.topic == name)
            if stated.count < count:  # where there are more, messages are missing
                found.append(f"it states {stated.count} messages of {name}, and the files have {count}")
            for what, said, true in (
                ("type", stated.type, one.type),
                ("encoding", stated.encoding, one.encoding),
                ("type hash", stated.hash, one.hash),
            ):
                if said != true and said and true:
                    found.append(f"it states the {what} {said} of {name}, and the files {true}")
            offered = [other.qos for other in connections if other.topic == name and other.qos]
            if any(_quality(stated.qos) != _quality(one) for one in offered):
                found.append(f"it states another quality of service of {name}")
        found += [f"it leaves out {name}" for name in sorted(held) if name not in self.topics]
        more = len(found) - _MOST_TOLD
        return found if more <= 0 else [*found[:_MOST_TOLD], f"and {more} more"]


def read_metadata(folder: Path) -> BagMetadata:
    """Read the `metadata.yaml` of a folder; what is not as expected there is left out.

    Raises:
        EvaluationError: it cannot be read, or states nothing of a recording.
    """
    path = folder / "metadata.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EvaluationError(f"{folder} has no metadata.yaml, as when a recorder was killed") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise EvaluationError(f"{path} cannot be read: {reason(error)}") from error
    stated = _get(content, "rosbag2_bagfile_information", dict)
    if not stated:
        what = (
            "is empty, as when a recorder was killed" if content is None else "states nothing of a recording"
        )
        raise EvaluationError(f"{path} {what}")
    paths = [one for one in _get(stated, "relative_file_paths", list) if isinstance(one, str)]
    topics: dict[str, StatedTopic] = {}
    for entry in _get(stated, "topics_with_message_count", list):
        topic = _get(entry, "topic_metadata", dict)
        name = _get(topic, "name", str)
        one = StatedTopic(
            _get(topic, "type", str),
            _get(topic, "serialization_format", str),
            _get(topic, "type_description_hash", str),
            topic.get("offered_qos_profiles"),
            _get(entry, "message_count", int),
        )
        # A topic of two types has two entries.
        topics[name] = replace(one, count=one.count + topics[name].count) if name in topics else one
    custom_data = {str(key): str(value) for key, value in _get(stated, "custom_data", dict).items()}
    return BagMetadata(tuple(paths), topics, custom_data)


def _get(mapping: Any, key: str, kind: type) -> Any:
    value = mapping.get(key) if isinstance(mapping, dict) else None
    return value if isinstance(value, kind) else kind()


def _quality(profiles: Any) -> Any:
    """Return quality of service in one form; its text where it has none."""
    try:
        return parse_qos(profiles)
    except Exception:  # the parser raises nearly anything on text from outside
        return str(profiles)
