"""What `env.sh` reads: a clone's environment as code for bash and zsh, and the commands on its PATH."""

import configparser
import os
import shlex
from pathlib import Path

from devsetup.overlay import BUILD_FOLDER, ENVIRONMENT, PACKAGE, prefix
from devsetup.profiles import Profile
from devsetup.virtualenv import VenvPlan, library_folders

_COMMAND = """\
#!/usr/bin/env python3
import sys

from {module} import {function}

# A process that it starts with "spawn" imports this file too.
if __name__ == "__main__":
    sys.exit({function}())
"""


def console_scripts(root: Path) -> dict[str, tuple[str, str]]:
    """Command name -> (module, function), as setup.cfg declares them."""
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg", encoding="utf-8")
    commands = {}
    for line in config["options.entry_points"]["console_scripts"].strip().splitlines():
        name, target = (part.strip() for part in line.split("=", 1))
        module, function = target.split(":")
        commands[name] = (module, function)
    return commands


def write_commands(root: Path) -> None:
    """Write one small program per console script.

    pip would install them into the virtual environment, which other clones share.
    """
    folder = root / BUILD_FOLDER / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    commands = console_scripts(root)
    for path in folder.iterdir():
        if path.name not in commands:
            path.unlink()
    for name, (module, function) in commands.items():
        text = _COMMAND.format(module=module, function=function)
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        path.chmod(0o755)


def link_sources(root: Path) -> Path:
    """A folder for PYTHONPATH that holds nothing but a link to the clone's Python package."""
    # The clone itself would also offer its folders launch/ and test/ to `import`.
    folder = root / BUILD_FOLDER / "python"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / PACKAGE
    target = Path("..") / ".." / PACKAGE
    if not link.is_symlink() or Path(os.readlink(link)) != target:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    return folder


def environment_code(root: Path, plan: VenvPlan, profile: Profile, site: str) -> str:
    """The shell code; `site` is the install folder of Python packages below a prefix, such as
    `lib/python3.11/site-packages`.
    """
    overlay = prefix(root)
    build = root / BUILD_FOLDER
    lines = [f"ACTIVESAM_PROFILE={profile.name}"]

    def quote(path: object) -> str:
        return shlex.quote(str(path))

    if profile.ros is not None:
        lines.append(f"_activesam_source_ros {quote(profile.ros.prefix)} || return 1")
    else:
        lines.append("_activesam_refuse_ros || return 1")
    lines.append(f"_activesam_activate {quote(plan.path)} || return 1")
    paths: list[tuple[str, list[Path]]] = [
        ("PATH", [build / "bin"]),
        ("PYTHONPATH", [build / "python", overlay / site]),
        ("LD_LIBRARY_PATH", [overlay / "lib"]),
        ("AMENT_PREFIX_PATH", [overlay]),
        ("CMAKE_PREFIX_PATH", [overlay]),
    ]
    if profile.ros is None:
        paths[2][1].extend(library_folders(plan))
        paths[3][1].append(plan.path)
        paths[4][1].append(plan.path)
    for variable, folders in paths:
        # Each goes to the front, so the last one given is the first one searched.
        for folder in reversed(folders):
            lines.append(f"_activesam_prepend {variable} {quote(folder)}")
    if profile.ros is None:
        lines += [
            "# The wheels start every Python a second time to set the library path, unless told that it is.",
            "export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1",
        ]
    else:
        lines.append("export PYTHONNOUSERSITE=1")
    return "\n".join(lines) + "\n"


def write_environment(root: Path, plan: VenvPlan, profile: Profile) -> None:
    """Write `.build/environment.sh`, `.build/bin/` and `.build/python/`."""
    write_commands(root)
    link_sources(root)
    code = environment_code(root, plan, profile, install_site(root))
    path = root / BUILD_FOLDER / ENVIRONMENT
    if not path.exists() or path.read_text(encoding="utf-8") != code:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(code, encoding="utf-8")
        temporary.replace(path)


def install_site(root: Path) -> str:
    """Where colcon has put the package's Python modules, relative to its prefix."""
    # Debian's Python installs to lib/python3.x/site-packages or to local/lib/python3.x/dist-packages.
    for pattern in ("lib/python3*/*-packages", "local/lib/python3*/*-packages"):
        for path in sorted(prefix(root).glob(pattern)):
            if (path / PACKAGE / "msg").is_dir():
                return str(path.relative_to(prefix(root)))
    raise FileNotFoundError(f"no generated messages below {prefix(root)}")
