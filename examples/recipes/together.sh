#!/usr/bin/env bash
# List the photos that show two people together: together.sh PORTRAIT-A PORTRAIT-B
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: together.sh PORTRAIT-A PORTRAIT-B" >&2; exit 2; }
facecli search --combine all --top 0 --paths "$1" "$2"
