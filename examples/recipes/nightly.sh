#!/usr/bin/env bash
# Update an index every night: nightly.sh PHOTOS
# In the crontab:  15 3 * * *  PATH=$HOME/.local/bin:/usr/bin:/bin  /path/to/nightly.sh /srv/photos
# cron mails the output: nothing if all went well, otherwise photos that could not be read for the first time, or the error.
set -uo pipefail
[ $# -ge 1 ] || { echo "usage: nightly.sh PHOTOS" >&2; exit 2; }
cd "$1" || exit
report=$(facecli index --quiet --json --wait 3600 .)
code=$?
[ "$code" -eq 0 ] || [ "$code" -eq 3 ] || exit "$code"
jq -r '.skipped[] | select(.known | not) | "\(.path): \(.reason): \(.detail)"' <<<"$report"
