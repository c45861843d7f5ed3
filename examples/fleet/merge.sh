#!/usr/bin/env bash
# Unite the parts of a collection: merge.sh SHARDS DEST
# The parts may be merged as they come, in any order and more than once. Killed, it goes on when it is run again.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: merge.sh SHARDS DEST" >&2; exit 2; }
facecli merge --wait 3600 "$2" "$1"/part-*
