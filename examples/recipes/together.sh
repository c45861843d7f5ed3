#!/usr/bin/env bash
# List the photos that show two people together: together.sh PORTRAIT-A PORTRAIT-B
set -euo pipefail
facecli search --combine all --top 0 --paths "$1" "$2"
