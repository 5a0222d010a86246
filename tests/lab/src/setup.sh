# Run by sh as pid 1 of new pid, mount and network namespaces. Makes private copies of the places that tests write to,
# then (appended by topology.rs) the network, says "ready PID" and lives until its standard input ends.
set -eu
PATH=$PATH:/usr/sbin:/sbin

# /proc is still the harness's own, so this is our pid as the harness sees it.
read -r pid rest </proc/self/stat
mount -t proc proc /proc

# What is hidden below stays reachable in /run/.host: other files link to it, and it may hold the programs under test.
cd /run
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/.host/run /run/.host/etc /run/.host/dev /run/.host/var/lib
mount -c --rbind . /run/.host/run
cd /

# shadow DIR OWN...: DIR becomes a tmpfs whose entries are links to what was there, except those named OWN.
shadow() {
	dir=$1 own=" $2 "
	if [ "$dir" != /run ]; then
		mount --rbind "$dir" "/run/.host$dir"
		mount -t tmpfs -o mode=755 tmpfs "$dir"
	fi
	set --
	for entry in "/run/.host$dir"/* "/run/.host$dir"/.[!.]*; do
		name=${entry##*/}
		case $own in *" $name "*) continue ;; esac
		# Not a file: an unmatched pattern. Already there: mount(8) keeps notes in /run/mount.
		[ -e "$entry" ] || [ -L "$entry" ] || continue
		[ -e "$dir/$name" ] || set -- "$@" "$entry"
	done
	[ $# = 0 ] || ln -s "$@" "$dir/"
}
shadow /run ".host netns imon lab"
shadow /etc "hosts resolv.conf default netns"
shadow /dev "log"
shadow /var/lib "imon"

mkdir /run/netns /run/lab /etc/default /etc/netns
echo "127.0.0.1 localhost" >/etc/hosts
: >/etc/resolv.conf

# nameserver NAMESPACE ADDRESS: its /etc/resolv.conf, put in place by `ip netns exec`.
nameserver() {
	mkdir "/etc/netns/$1"
	echo "nameserver $2" >"/etc/netns/$1/resolv.conf"
}

# configure NAMESPACE 3<COMMANDS: for `ip -batch`. Runs beside the others (hence not standard input: sh takes that from
# a background command). Addresses work at once (no duplicate address detection), routes are forwarded, answers may by
# default come back on the other link, and ICMP errors are not rationed: what a test sees must not depend on how many it
# provoked before.
configure() {
	ip netns exec "$1" sh -c '
		cd /proc/sys/net
		for f in ipv6/conf/*/disable_ipv6; do echo 0 >"$f"; done
		for f in ipv6/conf/*/accept_dad; do echo 0 >"$f"; done
		for f in ipv4/conf/*/rp_filter; do echo "$1" >"$f"; done
		echo 0 >ipv4/icmp_ratelimit
		echo 0 >ipv6/icmp/ratelimit
		echo 1 >ipv4/ip_forward
		echo 1 >ipv6/conf/all/forwarding
		exec ip -batch - <&3' sh "$rp_filter" &
	pids="${pids:-} $!"
}

# configured: waits for all of them; the first that failed ends the script.
configured() {
	for child in $pids; do wait "$child"; done
}
