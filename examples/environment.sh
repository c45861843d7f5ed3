# shellcheck shell=bash
# Functions that quickstart.sh and tests/run.sh share: a virtual environment with facecli in it.

say() { printf '\n== %s\n' "$*"; }

# The first Python on PATH that is 3.11 or newer; PYTHON names another.
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

# make_environment DIR: a virtual environment with pip; one that is there and works is kept.
make_environment() {
    local python
    if "$1/bin/python" -m pip --version >/dev/null 2>&1; then
        echo "kept as it is"
        return
    fi
    python=$(find_python)
    "$python" -m venv --clear "$1" || { echo "no virtual environment could be made (on Debian: apt-get install python3-venv)" >&2; return 1; }
    "$1/bin/python" --version
}

# install DIR ARGUMENTS…: pip install, wheels only but for facecli itself; only errors are shown.
install() {
    local python=$1/bin/python
    shift
    "$python" -m pip install --disable-pip-version-check --quiet --only-binary :all: "$@"
}

# replace_opencv DIR: insightface requires opencv-python, whose import needs libGL, libglib and libxcb of the system; the headless build
# holds the same functions without windows and needs none of them. Both write the same files, so the first has to go before the second comes.
replace_opencv() {
    local python=$1/bin/python
    if "$python" -m pip show --quiet opencv-python >/dev/null 2>&1; then
        "$python" -m pip uninstall --quiet --yes opencv-python
        install "$1" --force-reinstall --no-deps opencv-python-headless
    fi
    "$python" -c 'import cv2'
    echo "opencv-python-headless in the place of opencv-python"
}
