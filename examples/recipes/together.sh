#!/usr/bin/env bash
# List the photos that show two people together: together.sh PORTRAIT-A PORTRAIT-B
set -euo pipefail
photos_of() { facecli search --top 0 --paths "$1" | LC_ALL=C sort; }
LC_ALL=C comm -12 <(photos_of "$1") <(photos_of "$2")
