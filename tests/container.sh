#!/bin/bash
# Sourced by tests/systemd/run and tests/managers/run: a Debian of its own, made once and kept, booted in a container
# without any network but what is made inside it, with imon's package. Needs root, debootstrap and systemd-container.
# Before it is sourced: $self, the script's name in what it says; the shell stands in the project's folder.

# shellcheck disable=SC2154  # self
package=$(echo dist/imon_*_amd64.deb)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/imon-debian
work=$(mktemp -d)
root=$work/root
container=
init=
step=start
trap clean_up EXIT

check_needs() {
    [ "$(id -u)" = 0 ] || give_up "this boots a container: run it as root"
    command -v debootstrap >/dev/null || give_up "debootstrap is not installed (apt install debootstrap)"
    command -v systemd-nspawn >/dev/null || give_up "systemd-nspawn is not installed (apt install systemd-container)"
    [ -f "$package" ] || give_up "there is no dist/imon_*_amd64.deb: cross/build x86_64-unknown-linux-musl && debian/package amd64"
}

# Unpacks the Debian kept as NAME into $root. It is made with PACKAGES (separated by commas) where it is not kept yet, or
# was made with others: downloading it is most of the time.
make_debian() { # NAME SUITE PACKAGES
    local tar=$cache/$1.tar
    if [ ! -f "$tar" ] || [ "$(cat "$tar.packages" 2>/dev/null)" != "$3" ]; then
        mkdir -p "$cache"
        local mirror
        # shellcheck disable=SC2016  # apt's own notation
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '!/security/ && !n++')
        debootstrap --variant=minbase --include="$3" "$2" "$work/base" ${mirror:+"$mirror"} >"$work/debootstrap" ||
            { tail "$work/debootstrap"; return 1; }
        rm -rf "$work/base/var/cache/apt/archives"/*.deb
        tar -C "$work/base" -cf "$tar.new" .
        mv "$tar.new" "$tar"
        echo "$3" >"$tar.packages"
        rm -rf "$work/base"
    fi
    mkdir "$root"
    tar -C "$root" -xf "$tar"
}

boot() {
    step="boot"
    systemd-nspawn --quiet --boot --directory="$root" --machine="imon-$$" --private-network --register=no --keep-unit \
        </dev/null >"$work/console" 2>&1 &
    container=$!
    until_so 30 find_init
    until_so 60 is_up
}

find_init() {
    init=$(pgrep -o -P "$container")
    [ "$init" ] && [ "$(cat "/proc/$init/comm")" = systemd ]
}

is_up() {
    case $(inside systemctl is-system-running 2>/dev/null) in running | degraded) ;; *) return 1 ;; esac
}

# Not in order, which waits for whoever does not care: with its first process the container is gone.
halt() {
    if [ "$container" ]; then
        kill -KILL "${init:-$container}" 2>/dev/null || true
        wait "$container" 2>/dev/null || true
    fi
    container='' init=''
}

inside() {
    nsenter -t "$init" -a -- env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
}

property() { # INSTANCE NAME
    inside systemctl show --value -p "$2" "imon@$1"
}

is_active() {
    [ "$(property "$1" ActiveState)" = active ]
}

journal_has() { # INSTANCE TEXT
    has "$(inside journalctl -q --no-pager -u "imon@$1")" "$2" 2>/dev/null
}

has() { # TEXT PART
    case $1 in *"$2"*) ;; *) echo "'$2' is not in: $1" >&2; return 1 ;; esac
}

# Waits for a condition, at most so many seconds.
until_so() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    until "${@:2}"; do
        if [ "$SECONDS" -gt "$end" ]; then
            echo "$self: not within $1 s: ${*:2}" >&2
            return 1
        fi
        sleep 0.1
    done
}

done_with() {
    echo "$self: ok: $1"
}

give_up() {
    echo "$self: $1" >&2
    exit 1
}

clean_up() {
    local status=$?
    if [ "$status" != 0 ]; then
        echo "$self: FAILED at: $step" >&2
        [ ! -f "$work/dpkg" ] || cat "$work/dpkg" >&2
        [ -z "$init" ] || inside journalctl -q --no-pager -n 60 -u 'imon@*' >&2 || true
    fi
    halt
    rm -rf "$work"
    exit "$status"
}
