#!/usr/bin/env bash
# Registers an image with curl alone and waits for it; prints its id.
#     examples/register.sh http://127.0.0.1:8080 CLIENT_ID SECRET IMAGE_URL
set -euo pipefail
library=$1 client=$2 secret=$3 url=$4

# One value of a JSON answer, without a JSON parser; use jq where you have it.
field() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

token=$(curl -sf -u "$client:$secret" -d grant_type=client_credentials "$library/token" | field access_token)
api() { curl -sf -H "Authorization: Bearer $token" -H 'Content-Type: application/json' "$@"; }

id=$(api -d "{\"http_url\": \"$url\", \"arch\": \"x86_64\", \"name\": \"example\"}" "$library/1.0/images" | field id)
while
  image=$(api "$library/1.0/images/$id")
  status=$(field status <<<"$image")
  [ "$status" = creating ]
do sleep 0.2; done

[ "$status" = available ] || { echo "$id is $status: $image" >&2; exit 1; }
echo "$id"
