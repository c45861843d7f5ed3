#!/usr/bin/env bash
# Write a person's name into the keywords of the photos that show them, with exiftool: keywords.sh PORTRAIT NAME
# exiftool changes the photos; facecli itself never does. The next `facecli index` reads the changed photos and keeps the
# faces and their ids.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: keywords.sh PORTRAIT NAME" >&2; exit 2; }
facecli search --threshold strict --top 0 --print0 --absolute "$1" |
    xargs -0 -r exiftool -q -overwrite_original -keywords-="$2" -keywords+="$2"
