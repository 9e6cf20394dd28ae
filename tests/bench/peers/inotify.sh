#!/usr/bin/env bash
# What an operator writes in bash: inotifywait, curl and jq, a background job a clip.
# inotify.sh INBOX OUTBOX DONE ORIGIN POLL_SECONDS SETTLE_SECONDS
set -uo pipefail
inbox=$1 outbox=$2 done=$3 origin=$4 poll_seconds=$5 settle_seconds=$6

process() {
  local clip=$1 name stem body task answer url before=""
  name=$(basename "$clip") stem=${1%.mp4}
  while [ "$(stat -c %s.%Y "$clip")" != "$before" ]; do
    before=$(stat -c %s.%Y "$clip")
    sleep "$settle_seconds"
  done
  body=$(mktemp)
  {
    printf '{"model":"gen4_aleph","promptText":%s,"videoUri":"data:video/mp4;base64,' \
      "$(sed -n 's/^prompt = //p' "$stem.toml")"
    base64 -w 0 "$clip"
    printf '"}'
  } >"$body"
  task=$(curl -sS --fail-with-body -X POST "$origin/v1/video_to_video" -H "Authorization: Bearer key_0" \
    -H "X-Runway-Version: 2024-11-06" -H "Content-Type: application/json" --data-binary "@$body" | jq -r .id)
  rm -f "$body"
  [ -n "$task" ] || { echo "$name was not taken"; return; }
  while sleep "$poll_seconds"; do
    answer=$(curl -sS "$origin/v1/tasks/$task" -H "Authorization: Bearer key_0" -H "X-Runway-Version: 2024-11-06")
    case $(jq -r .status <<<"$answer") in
      SUCCEEDED) break ;;
      FAILED | CANCELLED) echo "$name failed"; return ;;
    esac
  done
  url=$(jq -r '.output[0]' <<<"$answer")
  curl -sS --fail -o "$outbox/$name.part" "$url" || { echo "$name was not fetched"; return; }
  mv "$outbox/$name.part" "$outbox/$name"
  mv "$clip" "$stem.toml" "$done/"
}

for clip in "$inbox"/*.mp4; do
  [ -e "$clip" ] && process "$clip" &
done
coproc WATCH { exec inotifywait -m -q -e close_write,moved_to --format '%w%f' "$inbox"; }
sleep 0.5
echo ready
while read -r path <&"${WATCH[0]}"; do
  case $path in *.mp4) process "$path" & ;; esac
done
