#!/bin/sh
# The demo's action script: says what it was called for, and hangs when the demo wants it to.
# $1 instance, $2 whether imon logs to the terminal, $3 event, $4 and on its arguments.
shift 2
reason=$(printf '%s' "$IMON_JSON" | sed -n 's/.*"reason":"\([^"]*\)".*/, reason: \1/p')
echo "(action script: $*$reason)"
if [ "$1" = updown-offline ] && [ -e /run/lab/hang ]; then
    rm /run/lab/hang
    sleep 1000
fi
