#!/usr/bin/env bash
# Every check of facecli: ruff, mypy, the built wheel in an environment of its own, and the tests.
#
#     bash tests/run.sh [PYTEST-ARGUMENT…]
#
# Makes .venv-tests and .venv-wheel in the checkout (or in the folder that FACECLI_TESTS names) and uses them again. All checks run, also
# after one that fails; the exit code is 0 only when none did.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
place=${FACECLI_TESTS:-$root}
mkdir -p "$place" && place=$(cd "$place" && pwd) || exit 2
# shellcheck source=examples/environment.sh
source "$root/examples/environment.sh"
failed=()

# check NAME COMMAND…: run it, show it, remember whether it failed.
check() {
    local name=$1
    shift
    say "$name"
    "$@" || failed+=("$name")
}

# package_of PROGRAM: print the package that has it.
package_of() {
    case $1 in
        exiftool) echo libimage-exiftool-perl ;;
        man) echo man-db ;;
        *) echo "$1" ;;
    esac
}

# Programs that some tests drive. Where they are missing and cannot be had, those tests are skipped and say so.
fetch_programs() {
    local missing=() program
    for program in chromium strace jq exiftool zsh fish man groff; do
        command -v "$program" >/dev/null || missing+=("$(package_of "$program")")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "not here, the tests that need them are skipped: ${missing[*]}"
        return 0
    fi
    echo "apt-get install ${missing[*]}"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1 ||
        echo "apt-get failed; the tests that need them are skipped"
}

# The wheel as a user gets it: built, installed elsewhere, run from a folder that is not the checkout.
try_wheel() {
    local folder wheel python=$place/.venv-wheel/bin/python
    folder=$(mktemp -d) || return
    trap 'rm -rf "$folder"; trap - RETURN' RETURN
    "$place/.venv-tests/bin/python" -m pip wheel --disable-pip-version-check --quiet --no-deps --wheel-dir "$folder" "$root" || return
    wheel=$(echo "$folder"/facecli-*.whl)
    make_environment "$place/.venv-wheel" || return
    install "$place/.venv-wheel" --force-reinstall --no-deps "$wheel" && install "$place/.venv-wheel" "${wheel}[cpu]" || return
    replace_opencv "$place/.venv-wheel" || return
    cd "$folder" || return
    "$python" "$root/examples/sample_album.py" . || return
    "$place/.venv-wheel/bin/facecli" --version || return
    [ -s "$place/.venv-wheel/share/man/man1/facecli-index.1" ] || return
    [ -s "$place/.venv-wheel/share/bash-completion/completions/facecli" ] || return
    "$place/.venv-wheel/bin/facecli" index --quiet album || return
    "$place/.venv-wheel/bin/facecli" search yaoming.jpg --paths --html page.html | tee found || return
    [ "$(head -n 1 found)" = album/sport/players.jpg ] && [ -s page.html ]
}

say "an environment for the tests in $place/.venv-tests"
make_environment "$place/.venv-tests" || exit 2
# pyvips comes as source alone; it is pure Python beside the library that pyvips-binary brings.
install "$place/.venv-tests" --no-binary pyvips --editable "${root}[cpu,dev,ray]" || exit 2
replace_opencv "$place/.venv-tests" || exit 2
say "programs that tests drive"
fetch_programs

cd "$root" || exit 2
unset FACECLI_INDEX FACECLI_MODEL FACECLI_DEVICE
bin=$place/.venv-tests/bin
check "ruff check" "$bin/ruff" check .
check "ruff format" "$bin/ruff" format --check .
check "mypy --strict" "$bin/mypy" --strict
check "the wheel, built, installed elsewhere and used" eval '(try_wheel)'
# Each worker has neighbouring tests, which share fixtures, and takes over some of another's at its end; `-n 0` is for one process.
check "pytest" "$bin/python" -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal "$@"
check "a GPU machine without its GPU" bash tests/gpu/dry_run.sh
# Last, since with OpenVINO in the environment every long run would be free to take it.
install "$place/.venv-tests" "openvino>=2025.0"
check "pytest, with OpenVINO" "$bin/python" -m pytest tests/vision/runtime/test_openvino.py
"$bin/python" -m pip uninstall --disable-pip-version-check --quiet --yes openvino

if [ ${#failed[@]} -gt 0 ]; then
    printf '\nfailed:%s\n' "$(printf ' [%s]' "${failed[@]}")" >&2
    exit 1
fi
printf '\nall checks passed\n'
