#!/usr/bin/env bash
# Keep an index up to date by night: nightly.sh PHOTOS
# In the crontab:  15 3 * * *  PATH=$HOME/.local/bin:/usr/bin:/bin  /path/to/nightly.sh /srv/photos
# cron mails what is printed: nothing on a good night, else the photos that could not be read for the first time, or what failed.
set -uo pipefail
cd "$1" || exit
report=$(facecli index --quiet --json --wait 3600 .)
code=$?
[ "$code" -eq 0 ] || [ "$code" -eq 3 ] || exit "$code"
jq -r '.skipped[] | select(.known | not) | "\(.path): \(.reason): \(.detail)"' <<<"$report"
