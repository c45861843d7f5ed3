# shellcheck shell=bash
# Functions shared by quickstart.sh and tests/run.sh, to make a virtual environment with facecli.

say() { printf '\n== %s\n' "$*"; }

# find_python: print the first Python on PATH that is 3.11 or newer. The variable PYTHON names another one.
find_python() {
    local name
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "facecli needs Python 3.11 or newer; name one with PYTHON=/path/to/python3" >&2
    return 1
}

# make_environment DIR: make a virtual environment with pip. An existing one that works is kept.
make_environment() {
    local python
    if "$1/bin/python" -m pip --version >/dev/null 2>&1; then
        echo "kept as it is"
        return
    fi
    python=$(find_python)
    "$python" -m venv --clear "$1" || {
        echo "cannot make a virtual environment (on Debian: apt-get install python3-venv)" >&2
        return 1
    }
    "$1/bin/python" --version
}

# install DIR ARGUMENTS…: run pip install with wheels only, except for facecli itself; only errors are shown.
install() {
    local python=$1/bin/python
    shift
    "$python" -m pip install --disable-pip-version-check --quiet --only-binary :all: "$@"
}

# replace_opencv DIR: replace opencv-python, which insightface requires, with opencv-python-headless.
# opencv-python needs the system's libGL, libglib and libxcb; the headless build has the same functions except windows and needs
# none of them. Both install the same files, so the first must be uninstalled before the second is installed.
replace_opencv() {
    local python=$1/bin/python
    if "$python" -m pip show --quiet opencv-python >/dev/null 2>&1; then
        "$python" -m pip uninstall --quiet --yes opencv-python
        install "$1" --force-reinstall --no-deps opencv-python-headless
    fi
    "$python" -c 'import cv2'
    echo "opencv-python-headless replaces opencv-python"
}
