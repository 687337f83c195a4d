#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The cpu device is judged by the reference, so it must not compute with it: of the project's
# symbols it may hold names, views and tables (gdn_base), and nothing else.
# Usage: test_cpu_independence.sh DEVICE_LIBRARY REFERENCE_ARCHIVE BASE_ARCHIVE
set -eu
device=$1 reference=$2 base=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

nm --defined-only "$reference" 2>/dev/null | awk '$2 ~ /[TDRB]/ {print $3}' | sort -u >"$work/all"
nm --defined-only "$base" 2>/dev/null | awk '$2 ~ /[TDRB]/ {print $3}' | sort -u >"$work/base"
comm -23 "$work/all" "$work/base" | grep '^gdn' >"$work/arithmetic"
grep -q '^gdn_reference_run$' "$work/arithmetic" || {
    echo "the list of the reference's symbols is not what it should be"
    exit 1
}
# Both the dynamic table (what would be resolved at load time) and the full one.
{ nm -D "$device"; nm "$device"; } | awk '{print $NF}' | sort -u >"$work/device"
if comm -12 "$work/arithmetic" "$work/device" | grep .; then
    echo "the cpu device holds symbols of the reference's arithmetic"
    exit 1
fi
echo "none of $(wc -l <"$work/arithmetic") arithmetic symbols of the reference is in the device"
