# Enters the environment of this clone: source env.sh   (bash or zsh; may be sourced again at any time)
#
# Sets up the virtual environment, the messages and the library paths, and chooses a DDS transport that carries
# camera images. `make setup` has to have run; of several distributions it is the one that was set up last, or DISTRO.

if [ -n "${BASH_VERSION:-}" ]; then
    _activesam_root="${BASH_SOURCE[0]}"
elif [ -n "${ZSH_VERSION:-}" ]; then
    eval '_activesam_root="${(%):-%x}"' # in eval: only zsh can read it
else
    echo "env.sh: source it from bash or zsh." >&2
    return 1
fi
_activesam_root="$(CDPATH='' cd -- "$(dirname -- "$_activesam_root")" >/dev/null && pwd -P)"

_activesam_prepend() { # VARIABLE FOLDER: put the folder first in a search path, once, and export it
    eval "_activesam_old=\":\${$1:-}:\""
    while :; do
        case "$_activesam_old" in
            *":$2:"*) _activesam_old="${_activesam_old%%":$2:"*}:${_activesam_old#*":$2:"}" ;;
            *) break ;;
        esac
    done
    _activesam_old="${_activesam_old#:}"
    _activesam_old="${_activesam_old%:}"
    eval "export $1=\"\$2\${_activesam_old:+:\$_activesam_old}\""
    unset _activesam_old
}

_activesam_forget() { # FOLDER: take what lies in it out of the search paths, where another distribution may have put it
    for _activesam_name in PATH PYTHONPATH LD_LIBRARY_PATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH; do
        eval "_activesam_left=\"\${$_activesam_name:-}\""
        case ":$_activesam_left" in
            *":$1"*) ;;
            *) continue ;;
        esac
        _activesam_kept=""
        while [ -n "$_activesam_left" ]; do
            case "${_activesam_left%%:*}/" in
                "$1"/*) ;;
                *) _activesam_kept="$_activesam_kept:${_activesam_left%%:*}" ;;
            esac
            case "$_activesam_left" in
                *:*) _activesam_left="${_activesam_left#*:}" ;;
                *) _activesam_left="" ;;
            esac
        done
        eval "export $_activesam_name=\"\${_activesam_kept#:}\""
    done
    unset _activesam_name _activesam_left _activesam_kept
}

_activesam_activate() { # FOLDER: activate the virtual environment
    if [ ! -f "$1/bin/activate" ]; then
        echo "env.sh: the environment $1 is gone; run: make setup" >&2
        return 1
    fi
    if [ "${VIRTUAL_ENV:-}" != "$1" ] || ! command -v deactivate >/dev/null 2>&1; then
        . "$1/bin/activate"
    fi
    _activesam_prepend PATH "$1/bin"
}

_activesam_refuse_ros() { # wheels and a sourced installation would be mixed
    if [ -n "${ROS_DISTRO:-}" ] && [ -n "${AMENT_PREFIX_PATH:-}" ]; then
        echo "env.sh: ROS 2 $ROS_DISTRO is sourced here, but this clone was set up without ROS;" \
            "run make setup in this shell, or source env.sh in a shell without ROS." >&2
        return 1
    fi
}

_activesam_source_ros() { # FOLDER: source the ROS installation unless that has been done
    case ":${AMENT_PREFIX_PATH:-}:" in
        *":$1:"*) return 0 ;;
    esac
    _activesam_setup="$1/setup.${ZSH_VERSION:+z}${BASH_VERSION:+ba}sh"
    if [ ! -f "$_activesam_setup" ]; then
        echo "env.sh: this clone was set up with the ROS 2 in $1, which is gone; run: make setup" >&2
        return 1
    fi
    # ROS's own set-up scripts read unset variables.
    case "$-" in
        *u*) set +u && . "$_activesam_setup" && set -u ;;
        *) . "$_activesam_setup" ;;
    esac
}

_activesam_carry_images() { # have Fast DDS carry camera images, unless the user chose a transport or middleware
    _activesam_transport="$_activesam_root/config/fastdds.xml"
    # Ours, of an earlier time: the other distribution may read the other variable.
    [ "${FASTDDS_DEFAULT_PROFILES_FILE:-}" != "$_activesam_transport" ] || unset FASTDDS_DEFAULT_PROFILES_FILE
    [ "${FASTRTPS_DEFAULT_PROFILES_FILE:-}" != "$_activesam_transport" ] || unset FASTRTPS_DEFAULT_PROFILES_FILE
    case "${RMW_IMPLEMENTATION:-rmw_fastrtps_cpp}" in
        rmw_fastrtps*) ;;
        *) return 0 ;;
    esac
    if [ -n "${FASTDDS_BUILTIN_TRANSPORTS:-}${FASTDDS_DEFAULT_PROFILES_FILE:-}" ] ||
        [ -n "${FASTRTPS_DEFAULT_PROFILES_FILE:-}" ]; then
        return 0
    fi
    # Fast DDS 2, of Jazzy, calls itself fastrtps, and so does the variable that it reads.
    _activesam_old="${AMENT_PREFIX_PATH:-}:"
    while [ -n "$_activesam_old" ]; do
        if [ -d "${_activesam_old%%:*}/share/fastrtps" ]; then
            export FASTRTPS_DEFAULT_PROFILES_FILE="$_activesam_transport"
            return 0
        fi
        _activesam_old="${_activesam_old#*:}"
    done
    export FASTDDS_DEFAULT_PROFILES_FILE="$_activesam_transport"
}

_activesam_enter() {
    if [ ! -f "$_activesam_root/.build/environment.sh" ]; then
        echo "env.sh: this clone is not set up yet; run: make -C $_activesam_root setup" >&2
        return 1
    fi
    _activesam_code="$_activesam_root/.build/environment.sh"
    if [ -n "${DISTRO:-}" ] && [ -z "${ROS_DISTRO:-}" ]; then
        _activesam_code="$_activesam_root/.build/wheels-$DISTRO/environment.sh"
        if [ ! -f "$_activesam_code" ]; then
            echo "env.sh: this clone is not set up for DISTRO=$DISTRO; run: make -C $_activesam_root setup" >&2
            return 1
        fi
    fi
    _activesam_forget "$_activesam_root/.build"
    if [ -f "${VIRTUAL_ENV:-}/activesam_ros.json" ]; then
        _activesam_forget "$VIRTUAL_ENV"
    fi
    . "$_activesam_code" || return 1
    _activesam_carry_images
}

_activesam_status=0
_activesam_enter || _activesam_status=$?
unset -f _activesam_prepend _activesam_forget _activesam_activate _activesam_refuse_ros _activesam_source_ros
unset -f _activesam_enter _activesam_carry_images
unset _activesam_root _activesam_setup _activesam_transport _activesam_old _activesam_code
if [ "$_activesam_status" -ne 0 ]; then
    unset _activesam_status ACTIVESAM_PROFILE
    return 1
fi
unset _activesam_status
