"""The command `activesam-evaluate-toytown`: measure a Toy Town model on held-out scenes."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from activesam_ros.cli import command

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="activesam-evaluate-toytown", description="Measure a Toy Town model on held-out scenes."
    )
    command.add_model(parser, "toytown")
    positive = command.whole_number(1)
    parser.add_argument(
        "--scenes", type=positive, default=200, help="number of held-out scenes (default 200)"
    )
    command.add_json(parser)
    processes = "how many processes share the scenes (default 2)"
    parser.add_argument("--processes", type=positive, default=2, help=processes)
    return command.run(parser, _evaluate, arguments)


def _evaluate(given: argparse.Namespace) -> int:
    with command.loading():
        from activesam_ros.benchmarks.toytown import as_json, evaluate, table

    metrics = evaluate(given.model, given.scenes, given.processes)
    print(table(metrics))
    if given.json:
        given.json.write_text(as_json(metrics), encoding="utf-8")
    return command.DONE


if __name__ == "__main__":
    sys.exit(main())
