#!/bin/bash
# An action script as people wrote them for V2.99: positional arguments only, taken apart at their colons.
instance=$1
[ "$2" = 1 ] && where=terminal || where=syslog
echo "$# $instance $where $3" >>"$HERE/calls"
case "$3" in
    ddns-ip-update) echo "new=$4 old=$5" ;;
    ddns-no-update) echo "no address" ;;
    failover-initial | failover-postping)
        IFS=: read -r name role interface ip <<<"$4"
        echo "name=$name role=$role interface=$interface ip=$ip state=$5"
        ;;
    failover-primary | failover-standby)
        IFS=: read -r name role interface ip <<<"$4"
        echo "name=$name role=$role interface=$interface ip=$ip"
        ;;
    failover-bothdown) echo "primary=${4%%:*} standby=${5%%:*}" ;;
    updown-online)
        IFS=: read -r days hours minutes seconds <<<"$5"
        echo "ip=$4 seconds=$((((days * 24 + hours) * 60 + minutes) * 60 + seconds))"
        ;;
    updown-offline) echo "ip=$4" ;;
    ping-result)
        IFS=: read -r ip alive min avg max loss jitter <<<"$4"
        echo "ip=$ip alive=$alive min=$min avg=$avg max=$max loss=$loss jitter=$jitter"
        ;;
    *) echo "unknown $3" ;;
esac >>"$HERE/said"
