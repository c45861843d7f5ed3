#!/usr/bin/env bash
# List photos by number of faces, most first, with JSON and Python: faces-per-photo.sh PHOTO…
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: faces-per-photo.sh PHOTO…" >&2; exit 2; }
facecli faces --json "$@" | python3 -c '
import collections, json, sys
count = collections.Counter(json.loads(line)["path"] for line in sys.stdin)
for path, faces in count.most_common():
    print(faces, path, sep="\t")
'
