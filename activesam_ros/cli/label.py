"""The command `activesam-label`: label recordings and folders of images, and write recordings and data sets."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from activesam_ros.cli import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activesam_ros.labelling.label import LabelOutcome
    from activesam_ros.labelling.work import Shard

NAME = "activesam-label"
_FEW = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return command.run(
        _parser(), _label, arguments, interrupted="interrupted; the same command goes on with what was done"
    )


def _label(given: argparse.Namespace) -> int:
    _require_agreement(given)
    if given.merge:
        with command.loading():
            from activesam_ros.labelling.label import merge

        return _tell(merge(given.out, command.say, given.overwrite))
    from activesam_ros.configuration.segmenter_parameters import read_parameters
    from activesam_ros.labelling.job import LabelConfig
    from activesam_ros.labelling.sources import Part
    from activesam_ros.model.folder import local_folder

    assigned = ([f"profile={given.profile}"] if given.profile else []) + given.param
    asked = read_parameters(given.params, assigned, given.vocabulary)
    local_folder(given.model or asked.model)
    with command.loading():
        from activesam_ros.labelling.label import label
        from activesam_ros.labelling.work import Shard
    config = LabelConfig(
        sources=tuple(path.expanduser() for path in given.sources),
        out=given.out,
        model=given.model or asked.model,
        device=given.device or asked.device,
        dtype=given.dtype or asked.dtype,
        vocabulary=asked.vocabulary,
        settings=asked.settings,
        format=given.to,
        topics=_cameras(given.image),
        part=Part(given.every, given.start, given.end),
        keep=given.keep,
        prefix=given.prefix,
        instances=given.instances,
        stuff=given.stuff,
        review=given.review,
        threads=given.threads,
        prompt_cache=given.prompt_cache,
    )
    if given.ray is not None:
        from activesam_ros.labelling.on_ray import Cluster, label_on_ray

        cluster = Cluster(None if given.ray == "local" else given.ray, given.workers)
        return _tell(label_on_ray(config, cluster, given.overwrite, command.say))
    shard = Shard(*given.shard) if given.shard else None
    return _tell(label(config, shard, given.overwrite, command.say), shard)


def _require_agreement(given: argparse.Namespace) -> None:
    """Refuse options that contradict each other, or would be without effect.

    Raises:
        UsageError: there are such.
    """
    parser = _parser()
    if given.merge:
        beside = [
            name
            for name, value in vars(given).items()
            if name not in ("sources", "merge", "out", "overwrite") and value != parser.get_default(name)
        ]
        if given.sources or beside:
            said = "recordings" if given.sources else f"--{beside[0].replace('_', '-')}"
            raise command.UsageError(
                f"--merge writes what the shards were asked for; leave out {said}, expected {NAME} --merge --out DIR"
            )
        return
    if not given.sources:
        raise command.UsageError(f"nothing to label is given; expected {NAME} RECORDING … --out DIR")
    if given.ray is not None and given.shard:
        raise command.UsageError("--ray deals out shards itself; leave out --shard")
    if given.ray is None and given.workers:
        raise command.UsageError("--workers says how many segmenters --ray has; give --ray, or leave it out")
    if given.shard and given.overwrite:
        raise command.UsageError(
            "--overwrite would remove what other shards have labelled; remove the folder of an earlier job yourself"
        )
    if given.stuff and not (given.instances and given.to in ("coco", "yolo")):
        raise command.UsageError(
            "--stuff says which things a data set does not tell apart; give --instances and --to coco or yolo, or "
            "leave it out"
        )
    if given.to != "bag" and given.prefix != parser.get_default("prefix"):
        raise command.UsageError("--prefix names topics of a recording; leave it out, or write --to bag")
    if None not in (given.start, given.end) and given.start >= given.end:
        raise command.UsageError(f"--start {given.start:g} is not before --end {given.end:g}; expected less")


def _tell(outcome: LabelOutcome, shard: Shard | None = None) -> int:
    """Print what was done; return the exit code."""
    for name, error in outcome.failed[:_FEW]:
        command.complain(NAME, f"{name}: {error}")
    if shard is not None and outcome.out is None and not outcome.failed and shard.count > 1:
        print(f"shard      {shard} is labelled; {NAME} --merge --out DIR writes all of them")
        return command.DONE
    if outcome.out is None:
        command.complain(NAME, f"no image of {outcome.images} could be labelled, so nothing was written")
        return command.FAILED
    print(f"labels     {outcome.out}")
    print(f"images     {outcome.images - len(outcome.failed)}")
    if outcome.failed:
        command.complain(
            NAME,
            f"{len(outcome.failed)} of {outcome.images} images could not be labelled; "
            f"{outcome.out / 'label.json'} lists them",
        )
        return command.FAILED
    if outcome.shortage:
        command.complain(NAME, f"{outcome.shortage}; those that could be read are labelled")
        return command.UNFIT
    return command.DONE


def _cameras(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return names of cameras and topics of their images, of TOPIC and NAME=TOPIC."""
    cameras: dict[str, str] = {}
    for text in given:
        name, separator, topic = text.partition("=")
        if not separator:
            name, topic = "", text
            if len(given) > 1:
                name = re.sub(r"\W+", "_", text).strip("_")
        named = re.fullmatch(r"[A-Za-z_]\w*" if separator else r"\w*", name, re.ASCII)
        if not re.fullmatch(r"/[\w/]+", topic) or not named:
            raise command.UsageError(
                f"--image {text!r}; expected a topic such as /camera/image, or NAME=TOPIC"
            )
        if name in cameras or topic in cameras.values():
            raise command.UsageError(f"--image {text!r} is given twice; give each camera once")
        cameras[name] = topic
    return tuple(cameras.items())


def _prefix(text: str) -> str:
    """Return the beginning of topics, without a slash at its end; "" is the root."""
    if text != "/" and not re.fullmatch(r"(/(?!\w*__)[A-Za-z_]\w*)+/?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r}; expected the beginning of topics such as /activesam")
    return text.rstrip("/")


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r}; expected I/N such as 1/4, I from 1 to N")
    return int(found[1]), int(found[2])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME,
        usage=f"{NAME} RECORDING … --vocabulary V --model M --out DIR [options]\n       {NAME} --merge --out DIR",
        description="Label the images of recordings or folders with the segmenter of the node, and write the labels as "
        "a recording or a data set. Goes on where an interrupted run of the same command ended.",
    )
    parser.add_argument(
        "sources",
        nargs="*",
        type=Path,
        metavar="RECORDING",
        help="rosbag2 folder, .mcap or .db3 file, or a folder of images",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--to",
        choices=("bag", "masks", "coco", "yolo"),
        default="bag",
        help="bag: a recording with the node's topics (default); masks: images and indexed PNGs with a class table; "
        "coco: regions as run-length masks, and panoptic PNGs; yolo: polygons",
    )
    parser.add_argument(
        "--instances", action="store_true", help="tell single things apart, and write each of them"
    )
    parser.add_argument(
        "--stuff",
        type=command.names,
        default=(),
        metavar="NAME,…",
        help="classes whose things are not told apart in a data set, such as road,sky",
    )
    parser.add_argument("--overwrite", action="store_true", help="begin anew, and replace what is in --out")
    parser.add_argument(
        "--review",
        type=command.whole_number(1),
        default=0,
        metavar="N",
        help="list the N images with the lowest confidence",
    )

    what = parser.add_argument_group("the recordings")
    what.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="[NAME=]TOPIC",
        help="images, raw or compressed (default: the only ones); may be given for several cameras",
    )
    command.add_part(what)
    what.add_argument(
        "--keep",
        type=command.names,
        default=(),
        metavar="TOPIC,…",
        help="topics to copy beside the labels of a recording, such as '/tf*'",
    )
    what.add_argument(
        "--prefix",
        type=_prefix,
        default="/activesam",
        metavar="NAME",
        help="of the topics of the labels (default: /activesam, as the node's)",
    )

    model = parser.add_argument_group("the segmenter")
    command.add_model(model, note=" (default: facebook/sam3, as the node's)")
    command.add_vocabulary(model)
    model.add_argument(
        "--profile",
        metavar="NAME",
        help="the node's parameter: paper, or realtime for recordings of a camera",
    )
    command.add_parameters(model)
    command.add_device(model, None)
    command.add_dtype(model, None)
    command.add_threads(model)
    command.add_prompt_cache(model)

    several = parser.add_argument_group("several machines")
    several.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="label the I-th of N parts of the images, and write nothing yet",
    )
    several.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="label on a cluster of Ray, auto for the one that runs here (default: workers on this machine)",
    )
    several.add_argument(
        "--workers",
        type=command.whole_number(1),
        metavar="N",
        help="segmenters on the cluster (default: one for each GPU)",
    )
    several.add_argument("--merge", action="store_true", help="write what all shards have labelled")
    return parser


if __name__ == "__main__":
    sys.exit(main())
