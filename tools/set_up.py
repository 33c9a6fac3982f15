"""Set-up of a clone: the virtual environment, the messages, the files `env.sh` reads. See tools/setup.sh."""

import os
import sys
from datetime import date
from pathlib import Path

from devsetup import overlay, virtualenv
from devsetup.machine import (
    check_python,
    check_ros_python,
    check_space,
    check_tools,
    clean_environ,
    detect_profile,
)
from devsetup.progress import Progress, SetupError, exclusive


def main() -> int:
    """Run the set-up for the clone that this file belongs to; the exit code."""
    root = Path(__file__).resolve().parents[1]
    progress = Progress(root / overlay.BUILD_FOLDER / "setup.log")
    try:
        set_up(root, progress)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nerror: interrupted; run `make setup` again to go on.", file=sys.stderr)
        return 130
    return 0


def set_up(root: Path, progress: Progress) -> None:
    """Bring the clone to the state in which `source env.sh` works; quick where that is so already."""
    profile = detect_profile(os.environ)
    for warning in profile.warnings(date.today()):
        progress.say(f"warning: {warning}")
    check_python(profile)
    environ = clean_environ(os.environ, profile)
    versions = check_ros_python(profile, virtualenv.base_python(), environ) if profile.ros else None
    plan = virtualenv.plan_venv(profile, root, os.environ, versions)

    changed = False
    for step in plan.steps:
        with exclusive(step.path.parent / f"{step.path.name}.lock", progress):
            if not virtualenv.is_ready(step):
                progress.say(profile.describe())
                check_tools(profile)
                check_space(step.path, root, step.size)
                virtualenv.create(step, environ, progress)
                virtualenv.verify(step, environ, progress)
                virtualenv.finish(step)
                changed = True
    place = overlay.Overlay(root, profile)
    with exclusive(root / overlay.BUILD_FOLDER / "lock", progress):
        state = place.state(plan)
        if not place.is_ready(state):
            check_tools(profile)
            check_space(None, root)
            place.build(plan, environ, state, progress)
            place.write_environment(plan)
            place.verify(environ, progress)
            place.finish(state)
            changed = True
        else:
            place.write_environment(plan)
    if changed:
        progress.say(f"ready; enter the environment with: source {root / 'env.sh'}")
    else:
        print(f"already set up for ROS 2 {profile.distro} ({progress.elapsed:.1f} s): {plan.path}")


if __name__ == "__main__":
    sys.exit(main())
