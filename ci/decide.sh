#!/usr/bin/env bash
# End a CI job as the audit ended: CODE is the exit code of `aftertune audit`, FAIL_ON what fails the job.
set -euo pipefail
case "${FAIL_ON:-drift}" in
  drift | undecided | never) ;;
  *) echo "fail-on: '$FAIL_ON' is not drift, undecided or never" >&2; exit 2 ;;
esac
case "${CODE:-}" in
  0) exit 0 ;;
  3) [ "${FAIL_ON:-drift}" = never ] && exit 0; exit 3 ;;
  4) [ "${FAIL_ON:-drift}" = undecided ] && exit 4; exit 0 ;;
  *) exit "${CODE:-1}" ;;
esac
