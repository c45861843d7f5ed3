#!/usr/bin/env bash
# Copy all photos of a person into a folder: person-to-folder.sh PORTRAIT… FOLDER
# Several portraits of a person find more photos than one does. Use --link-to for links instead of copies.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: person-to-folder.sh PORTRAIT… FOLDER" >&2; exit 2; }
portraits=("${@:1:$#-1}")
facecli search --combine mean --top 0 --copy-to "${!#}" --paths "${portraits[@]}"
