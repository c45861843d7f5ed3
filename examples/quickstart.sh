#!/usr/bin/env bash
# Make a virtual environment, install facecli into it, assemble a sample album, index it and find a person in it.
# Works from any directory and can be run again. Needs Python 3.11 or newer with pip.
#
#     bash examples/quickstart.sh
#
# Everything is written to the folder `quickstart` of the checkout, or to the folder named by FACECLI_QUICKSTART.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
place=${FACECLI_QUICKSTART:-$root/quickstart}
mkdir -p "$place"
place=$(cd "$place" && pwd)
# shellcheck source=examples/environment.sh
source "$root/examples/environment.sh"

say "1/5 a virtual environment in $place/venv"
make_environment "$place/venv"

say "2/5 facecli and what it needs"
install "$place/venv" "${root}[cpu]"
replace_opencv "$place/venv"

say "3/5 a sample album: 4 photos with 34 faces, and a portrait to search for"
"$place/venv/bin/python" "$root/examples/sample_album.py" "$place"

export PATH="$place/venv/bin:$PATH"
unset FACECLI_INDEX FACECLI_MODEL FACECLI_DEVICE
cd "$place"

say "4/5 \$ facecli index album"
facecli index album

say "5/5 \$ facecli search yaoming.jpg --threshold none"
answer=$(facecli search yaoming.jpg --threshold none)
printf '%s\n' "$answer"

# Check the answer: the man of the portrait is in players.jpg, and nobody in the other photos resembles him.
printf '%s\n' "$answer" | awk -F '\t' '
    NR == 1 && $2 == "album/sport/players.jpg" && $1 > 0.62 && $1 < 0.65 { found = 1 }
    NR == 2 && $1 > 0.08 && $1 < 0.13 { apart = 1 }
    END { exit !(found && apart && NR == 4) }
' || { echo "quickstart: wrong answer: expected players.jpg at about 0.633 and the next photo at about 0.105" >&2; exit 1; }

say "found: the portrait's person is in album/sport/players.jpg. Try it on your own photos:"
cat <<EOF
    export PATH="$place/venv/bin:\$PATH"
    cd ~/Pictures && facecli index . && facecli search /path/to/a/portrait.jpg
EOF
