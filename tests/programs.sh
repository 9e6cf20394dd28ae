#!/bin/sh
# Sees that the programs are there that the tests run, or with `bench` those of the bench; as root on Debian it
# installs what is missing.
set -eu

# program:package - ffmpeg makes clips, strace breaks the disk, systemd judges the units, openssl makes keys,
# promtool judges the alerts, chromium opens the page,
# fuse3 is a file server that lies, postgresql keeps a journal, acl sets what a result's rights come from.
wanted="ffmpeg:ffmpeg strace:strace systemd-analyze:systemd openssl:openssl promtool:prometheus fusermount3:fuse3
  setfacl:acl psql:postgresql chromium:chromium chromedriver:chromium-driver"
# What people use instead: a script of inotifywait, curl and jq, and a flow of Node-RED; ffprobe looks at results.
[ "${1:-tests}" != bench ] || wanted="inotifywait:inotify-tools curl:curl jq:jq ffprobe:ffmpeg node:nodejs npm:npm"
missing=""
for program in $wanted; do
  command -v "${program%%:*}" >/dev/null || missing="$missing ${program##*:}"
done
[ -n "$missing" ] || exit 0

as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if ! command -v apt-get >/dev/null || ! $as_root true 2>/dev/null; then
  echo "The ${1:-tests} need these Debian packages, and only root can install them:$missing" >&2
  exit 1
fi
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
