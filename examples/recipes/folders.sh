#!/usr/bin/env bash
# How many photos of a person each folder holds, by way of JSON and jq: folders.sh PORTRAIT
set -euo pipefail
facecli search --top 0 --json "$1" |
    jq -r '.path | split("/")[:-1] | join("/")' |
    LC_ALL=C sort | uniq -c | sort -rn
