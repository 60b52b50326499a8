#!/bin/sh
# The tests on the Pythons that Debian's unstable suite has and stable has not: a root of its own, outside the checkout.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
checkout=$(dirname "$here")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/bext-otel
versions="3.14 3.15"
suite=sid
include=ca-certificates
for version in $versions; do include=$include,python$version,python$version-venv; done

usage() {
    cat <<'END'
Usage: scripts/newer_pythons.sh COMMAND

  install                     debootstrap, where it is missing (Debian, root)
  make                        Debian's unstable suite with Python 3.14 and 3.15, and a virtual environment of this
                              checkout's test extra in it for each (root; about six minutes, once)
  test [VERSION] [PYTEST...]  the tests on VERSION, or on both: those that need no server and no backend, side by side,
                              and those of workers and of the launcher; PYTEST... says which instead
  remove                      delete the root
  path                        print where the root is, or would be

The root is ${XDG_CACHE_HOME:-~/.cache}/bext-otel/pythons/NAME, named after a hash of what is installed in it. The tests see a copy of
this checkout, in mounts and processes of their own: nothing is left behind. Where no such root can be made (not root,
no debootstrap, no mounts, no network), `make` and `test` say so in one line and end with 0; with CI=true they end with 1.
END
}

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
fail() { printf 'newer_pythons.sh: %s\n' "$*" >&2; exit 1; }

skip() { # WHY: nobody should believe that tests ran which did not
    [ "${CI:-}" != true ] || fail "$*"
    say "newer_pythons.sh: skipped, Python $versions not tested: $*"
    exit 0
}

# The distribution, and nothing else: its packages are the newest whenever it is made.
root=$cache/pythons/$suite-$(printf '%s %s' "$suite" "$include" | sha256sum | cut -c1-12)

quietly() { # WHAT COMMAND...: the end of its output if it fails
    what=$1; shift
    log=$(mktemp)
    started=$(date +%s)
    say "$what ..."
    "$@" >"$log" 2>&1 </dev/null || { tail -n 30 "$log" >&2; rm -f "$log"; fail "$what failed"; }
    rm -f "$log"
    say "$what: done in $(($(date +%s) - started)) s"
}

# What a bare suite lacks of this machine is bound over its own: names, certificates, and how pip finds packages. Wheels for
# this machine's own Python (PIP_FIND_LINKS) are of no use inside.
inside() { # COMMAND...: in the root, with mounts and process numbers of its own, which end with it
    # shellcheck disable=SC2016 # the inner shell's variables
    unshare --mount --pid --fork --kill-child sh -euc '
        root=$1 checkout=$2; shift 2
        mount --bind "$root" "$root" # a root that is no mount allows no mounts of its own inside, which some tests make
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs -o mode=1777 tmp "$root/tmp"
        mount -t tmpfs -o mode=0755 src "$root/src"
        for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs; do
            [ ! -e "$file" ] || [ ! -e "$root$file" ] || mount --bind "$(readlink -f "$file")" "$root$file"
        done
        (cd "$checkout" && { git ls-files -z --cached --others --exclude-standard 2>/dev/null || find . -name .venv -prune -o -type f -print0; } \
            | tar -c --null --no-recursion --ignore-failed-read -T - 2>/dev/null) | tar -x --no-same-owner -C "$root/src"
        unset PIP_FIND_LINKS PYENV_VERSION VIRTUAL_ENV PYTHONPATH XDG_CACHE_HOME BEXT_REQUIRE_BACKENDS BEXT_REQUIRE_BROWSER BEXT_REQUIRE_APPLICATIONS
        # Not the last command of this shell, which is process 1 here and must stay to collect orphans.
        chroot "$root" env HOME=/root PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 TMPDIR=/tmp "$@"
        exit $?
    ' sh "$root" "$checkout" "$@"
}

possible() {
    [ "$(id -u)" -eq 0 ] || skip "needs root: debootstrap and mounts; run sudo -E scripts/newer_pythons.sh"
    command -v debootstrap >/dev/null || skip "no debootstrap: scripts/newer_pythons.sh install"
    unshare --mount --pid --fork sh -c 'mount -t tmpfs none /mnt' 2>/dev/null || skip "this machine allows no mounts"
}

made() { # for this checkout
    possible
    for version in $versions; do
        [ -e "$root$(venv_of "$version")/done" ] || skip "not installed for this checkout: scripts/newer_pythons.sh make"
    done
}

install_packages() {
    ! command -v debootstrap >/dev/null || { say "install: everything is there"; return; }
    command -v apt-get >/dev/null || skip "install knows Debian only"
    [ "$(id -u)" -eq 0 ] || skip "install needs root: sudo scripts/newer_pythons.sh install"
    export DEBIAN_FRONTEND=noninteractive
    quietly "install: package lists" apt-get update
    quietly "install: debootstrap" apt-get install -y --no-install-recommends debootstrap
}

make_root() {
    [ ! -d "$root" ] || { say "$root: already there"; return; }
    part=$root.part
    rm -rf "$part"
    mkdir -p "$cache/pythons"
    (quietly "debootstrap of $suite with Python $versions, about four minutes" \
        debootstrap --variant=minbase --include="$include" "$suite" "$part") || skip "debootstrap cannot make the root"
    rm -rf "$part"/var/cache/apt/* "$part"/var/lib/apt/lists/*
    mkdir -p "$part/src" "$part/venvs"
    # Where the machine's own are bound over them.
    touch "$part/etc/pip.conf" "$part/etc/resolv.conf" "$part/etc/hosts"
    mv "$part" "$root"
}

venv_of() { printf '/venvs/%s-%s\n' "$1" "$(sha256sum "$checkout/pyproject.toml" | cut -c1-12)"; } # VERSION: its path inside

make_venv() { # VERSION: editable, of /src, so that it serves every later copy of this checkout
    venv=$(venv_of "$1")
    [ ! -e "$root$venv/done" ] || { say "Python $1: already there"; return; }
    find "$root/venvs" -mindepth 1 -maxdepth 1 -mtime +14 -exec rm -rf {} +
    rm -rf "$root$venv"
    quietly "Python $1: installing the test extra" inside sh -euc '
        "python$1" -m venv "$2"
        "$2/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --editable "/src[test]"
        touch "$2/done"' sh "$1" "$venv"
}

make_all() {
    possible
    mkdir -p "$cache"
    exec 8>"$cache/pythons.lock"
    flock 8
    make_root 8>&-
    pids=""
    for version in $versions; do make_venv "$version" 8>&- & pids="$pids $!"; done
    for pid in $pids; do wait "$pid"; done
}

# Of the tests with servers those of workers and of the launcher; the others are run by `make test`, on this machine's own Python.
servers="tests/service tests/e2e/test_launch.py tests/e2e/test_workers_serving.py tests/e2e/test_service_children.py tests/e2e/test_elsewhere.py"

test_on() { # VERSION PYTEST...
    version=$1; shift
    venv=$(venv_of "$version")
    # shellcheck disable=SC2016 # the inner shell's variables
    inside sh -euc '
        cd /src
        PATH=$1/bin:$PATH servers=$2; shift 2
        export PATH
        if [ $# -gt 0 ]; then
            python -m pytest -m "not backends" "$@" && exit
            [ $? -eq 1 ] || exit 1
            echo "What failed beside the other Python is run once more; that decides."
            exec python -m pytest --last-failed --last-failed-no-failures=none -m "not backends" "$@"
        fi
        python -m pytest -q -m "not e2e and not backends"
        # shellcheck disable=SC2086 # a list of words
        python -m pytest -q -m "e2e and not backends" $servers' sh "$venv" "$servers" "$@"
}

test_all() { # PYTEST...
    logs=$(mktemp -d)
    for version in $versions; do
        say "Python $version: testing ..."
        (started=$(date +%s); status=0; test_on "$version" "$@" >"$logs/$version" 2>&1 </dev/null || status=$?
            say "Python $version: $(grep -E '^[0-9]+ (passed|failed)' "$logs/$version" | tr '\n' ';') $(($(date +%s) - started)) s in all"
            exit $status) &
        printf '%s %s\n' "$!" "$version" >>"$logs/running"
    done
    failed=""
    while read -r pid version; do
        wait "$pid" || { failed="$failed $version"; tail -n 120 "$logs/$version" >&2; }
    done <"$logs/running"
    rm -rf "$logs"
    [ -z "$failed" ] || fail "tests failed on Python$failed"
}

case ${1:-} in
    install) install_packages ;;
    make) make_all ;;
    test)
        shift
        made
        case ${1:-} in
            3.*) version=$1; shift; test_on "$version" "$@" ;;
            "") test_all -q -m "not e2e and not backends"
                # Servers have deadlines of their own, so those of one Python at a time.
                for version in $versions; do
                    say "Python $version: testing with servers ..."
                    # shellcheck disable=SC2086 # a list of words
                    test_on "$version" -q -m "e2e and not backends" $servers </dev/null
                done ;;
            *) test_all "$@" ;;
        esac ;;
    remove) rm -rf "$root" ;;
    path) printf '%s\n' "$root" ;;
    -h | --help | help) usage ;;
    *) usage >&2; exit 2 ;;
esac
