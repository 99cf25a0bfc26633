#!/usr/bin/env bash
# Sends to the peer $2 through the local API whose socket is $1: a message, a batch, and a request,
# whose reply it prints; then the message that ends the consumers here.
set -euo pipefail
api() { curl -sS --fail-with-body --unix-socket "$socket" "$@"; }
socket=$1 peer=http://localhost/v1/peers/$2

api "$peer/messages" -H 'Content-Type: text/plain' --data-binary 'hello'
api "$peer/messages" --json '{"messages": [{"text": "one"}, {"text": "two", "ttl_seconds": 60}]}'
api "$peer/requests?timeout=30s" -H 'Content-Type: text/plain' -H 'Accept: text/plain' -d 'warm?'
api "$peer/messages?wait=handled" --json '{"text": "stop"}'
