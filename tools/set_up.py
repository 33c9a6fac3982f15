"""Set-up of a clone: the virtual environment, the messages, the files `env.sh` reads. See tools/setup.sh."""

import os
import sys
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
    check_python(profile)
    environ = clean_environ(os.environ, profile)
    versions = check_ros_python(profile, virtualenv.base_python(), environ) if profile.ros else None
    plan = virtualenv.plan_venv(profile, root, os.environ, versions)

    changed = False
    with exclusive(plan.path.parent / f"{plan.path.name}.lock", progress):
        if not virtualenv.is_ready(plan):
            progress.say(profile.describe())
            check_tools(profile)
            check_space(plan.path, root)
            virtualenv.create(plan, profile, environ, progress)
            virtualenv.verify(plan, profile, environ, progress)
            virtualenv.finish(plan)
            changed = True
    with exclusive(root / overlay.BUILD_FOLDER / "lock", progress):
        state = overlay.overlay_state(root, plan)
        if not overlay.is_ready(root, state):
            check_tools(profile)
            check_space(None, root)
            overlay.build(root, plan, profile, environ, state, progress)
            overlay.write_environment(root, plan, profile)
            overlay.verify(root, environ, progress)
            overlay.finish(root, state)
            changed = True
        else:
            overlay.write_environment(root, plan, profile)
    if changed:
        progress.say(f"ready; enter the environment with: source {root / 'env.sh'}")
    else:
        print(f"already set up ({progress.elapsed:.1f} s): {plan.path}")


if __name__ == "__main__":
    sys.exit(main())
