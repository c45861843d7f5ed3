#!/usr/bin/env bash
# List the newest photos of a person, newest first, by the files' modification time: newest.sh PORTRAIT [N]
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: newest.sh PORTRAIT [N]" >&2; exit 2; }
facecli search --top 0 --print0 --absolute "$1" |
    xargs -0 -r stat --printf '%Y\t%n\0' |
    sort -z -r -n | sed -z -n "1,${2:-10}p" | cut -z -f 2- | tr '\0' '\n'
