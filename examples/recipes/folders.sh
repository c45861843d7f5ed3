#!/usr/bin/env bash
# Count the photos of a person in each folder, with JSON and jq: folders.sh PORTRAIT
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: folders.sh PORTRAIT" >&2; exit 2; }
facecli search --top 0 --json "$1" |
    jq -r '.path | split("/")[:-1] | join("/")' |
    LC_ALL=C sort | uniq -c | sort -rn
