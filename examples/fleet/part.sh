#!/usr/bin/env bash
# Index one part of a collection: part.sh I N PHOTOS SHARDS
# Any number of machines can do this at once, each with another I of N; none needs to know of the others. What was done
# when it was killed is kept: run it again. merge.sh unites the parts.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: part.sh I N PHOTOS SHARDS" >&2; exit 2; }
part=$1 parts=$2 photos=$3 shards=$4
mkdir -p "$shards"
code=0
facecli index --part "$part/$parts" --index "$shards/part-$part-of-$parts" "$photos" || code=$?
# 3 means that some photos could not be read; they are on record in the index.
[ "$code" -eq 0 ] || [ "$code" -eq 3 ] || exit "$code"
