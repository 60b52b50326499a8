#!/bin/sh
# The real programs behind the end-to-end tests: a collector and a Jaeger built from Go modules, Prometheus and podman from Debian.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/bext-otel
packages="prometheus prometheus-alertmanager redis-server podman crun uidmap netavark aardvark-dns iptables runc debootstrap ca-certificates"

usage() {
    cat <<'EOF'
Usage: scripts/backends.sh COMMAND

  install                      Debian packages: Prometheus with promtool, Alertmanager, Redis, podman, debootstrap (needs root)
  build [collector|jaeger|all] build what is not built yet (needs Go 1.25 or later; about ten minutes on two cores)
  path NAME                    print where collector, jaeger, prometheus, alertmanager, promtool, podman or redis-server is, or why it is not there

Programs are built into ${XDG_CACHE_HOME:-~/.cache}/bext-otel/bin, named after a hash of what they are built from, so that
a changed scripts/backends/ is built anew and everything else is kept. Nothing is started and no service is enabled.
EOF
}

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
fail() { printf 'backends.sh: %s\n' "$*" >&2; exit 1; }

binary() { # NAME: where the built program is, or would be
    hash=$(cat "$here/backends/$1"/* | sha256sum | cut -c1-12)
    printf '%s/bin/%s-%s\n' "$cache" "$1" "$hash"
}

find_go() {
    for go in go /usr/local/go/bin/go /usr/lib/go/bin/go; do
        command -v "$go" >/dev/null 2>&1 && { command -v "$go"; return; }
    done
    fail "no Go found in PATH or /usr/local/go: install Go 1.25 or later (https://go.dev/dl/)"
}

run_long() { # WHAT COMMAND...: runs it quietly, says every half minute that it lives, shows the end of its output if it fails
    what=$1; shift
    log=$(mktemp)
    started=$(date +%s)
    say "$what ..."
    "$@" >"$log" 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null || true; rm -f "$log"' EXIT
    trap 'exit 130' INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        waited=$(($(date +%s) - started))
        [ $((waited % 30)) -ne 0 ] || [ "$waited" -eq 0 ] || say "$what: $waited s, $(wc -l <"$log") lines of output so far"
        sleep 1
    done
    wait "$pid" || { tail -n 20 "$log" >&2; fail "$what failed"; }
    trap - EXIT INT TERM
    rm -f "$log"
    say "$what: done in $(($(date +%s) - started)) s"
}

go_build() { # SOURCE PACKAGE OUTPUT: readonly, so that the committed go.mod and go.sum decide
    cd "$1"
    CGO_ENABLED=0 GOWORK=off "$go" build -mod=readonly -buildvcs=false -trimpath -ldflags='-s -w' -v -o "$3.part" "$2"
    mv "$3.part" "$3"
}

generate_collector() { # SOURCE BUILDER: the builder writes main.go and components.go; our pinned go.mod replaces the one it writes
    cd "$1"
    PATH="$(dirname "$go"):$PATH" "$2" --config manifest.yaml --skip-compilation --skip-get-modules
    cp "$here/backends/collector/go.mod" "$here/backends/collector/go.sum" .
}

build() {
    out=$(binary "$1")
    [ ! -x "$out" ] || { say "$1: already there"; return; }
    go=$(find_go)
    source=$cache/build/$1
    rm -rf "$source"
    mkdir -p "$source" "$cache/bin"
    cp "$here/backends/$1"/* "$source/"
    case $1 in
        jaeger) package=github.com/jaegertracing/jaeger/cmd/jaeger ;;
        builder) package=go.opentelemetry.io/collector/cmd/builder ;;
        collector)
            package=.
            (build builder)
            run_long "collector: generating its sources" generate_collector "$source" "$(binary builder)" ;;
    esac
    run_long "$1: building" go_build "$source" "$package" "$out"
    rm -rf "$source"
}

build_all() {
    mkdir -p "$cache"
    exec 9>"$cache/build.lock"
    flock 9
    case ${1:-all} in
        all) build collector; build jaeger ;;
        collector | jaeger) build "$1" ;;
        *) usage >&2; exit 2 ;;
    esac
}

install_packages() {
    missing=""
    for package in $packages; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || { say "install: everything is there"; return; }
    command -v apt-get >/dev/null || fail "install knows Debian only; install these yourself:$missing"
    [ "$(id -u)" -eq 0 ] || fail "install needs root: sudo scripts/backends.sh install (it would add:$missing)"
    export DEBIAN_FRONTEND=noninteractive
    run_long "install: package lists" apt-get update
    # shellcheck disable=SC2086  # a list of names
    run_long "install:$missing" apt-get install -y --no-install-recommends $missing
}

path() {
    case $1 in
        collector | jaeger)
            found=$(binary "$1")
            [ -x "$found" ] || fail "$1 is not built: run scripts/backends.sh build $1" ;;
        prometheus | promtool | podman | redis-server)
            found=$(command -v "$1") || fail "$1 is not installed: run scripts/backends.sh install as root" ;;
        alertmanager)
            found=$(command -v prometheus-alertmanager || command -v alertmanager) \
                || fail "alertmanager is not installed: run scripts/backends.sh install as root" ;;
        *) fail "no program called '$1': expected collector, jaeger, prometheus, alertmanager, promtool, podman or redis-server" ;;
    esac
    printf '%s\n' "$found"
}

case ${1:-} in
    install) install_packages ;;
    build) build_all "${2:-all}" ;;
    path) [ $# -eq 2 ] || { usage >&2; exit 2; }; path "$2" ;;
    -h | --help | help) usage ;;
    *) usage >&2; exit 2 ;;
esac
