#!/usr/bin/env bash
# Opens pages of `ckptfs report` in Chromium, headless: what a reader would see, on a desk and on a phone, light and dark.
#
#   scripts/browser.sh                        pages made of the report's own files and made-up histories, among them one
#                                             with 1,000 versions and one whose every string tries to do harm
#   scripts/browser.sh PAGE.html              a page that ckptfs report has made
#   scripts/browser.sh --pictures DIR [...]   keeps screenshots, to be looked at
#
# First a page that is wrong in every way must be found wrong. The browser has a profile of its own and no network to use.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"

case ${1:-} in
-h | --help) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
esac
for program in python3 chromium; do
    command -v "$program" >/dev/null || die "$program is missing; install it with: apt-get install --no-install-recommends $program"
done
exec python3 "$REPO/tests/browser/report.py" "$@"
