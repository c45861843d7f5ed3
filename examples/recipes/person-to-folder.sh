#!/usr/bin/env bash
# All photos of a person in a folder, as copies: person-to-folder.sh PORTRAIT… FOLDER
# Several portraits of the one person find more than one does. Take --link-to for links in the place of copies.
set -euo pipefail
portraits=("${@:1:$#-1}")
facecli search --combine mean --top 0 --copy-to "${!#}" --paths "${portraits[@]}"
