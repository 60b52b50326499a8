#!/bin/sh
# Stand-in images for docker-compose.yml where none can be pulled: the same programs, under the very names that the file uses.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
checkout=$(dirname "$here")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/bext-otel
containers=$cache/containers
base=localhost/bext-otel-base:bookworm
compose_version=1.6.0

usage() {
    cat <<'EOF'
Usage: scripts/images.sh [COMMAND]

  make     (default) every image of docker-compose.yml but Grafana's, and podman-compose; needs root, and first
           scripts/backends.sh install and scripts/backends.sh build all
  env      print the environment under which podman and podman-compose see these images, one NAME=VALUE a line
  remove   end and remove every container, network and image made here

Images, containers and settings live in ${XDG_CACHE_HOME:-~/.cache}/bext-otel/containers: podman's own store and the files in
/etc/containers are neither read nor changed, so a stand-in never hides an image that you pulled. Each stand-in has the
label bext-otel.stand-in, which names the program inside.
EOF
}

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
fail() { printf 'images.sh: %s\n' "$*" >&2; exit 1; }
image_of() { sed -n "s|^ *image: \(docker.io/$1:.*\)|\1|p" "$checkout/docker-compose.yml"; } # REPOSITORY: its full name with the tag
have() { podman image exists "$1"; }

settings() {
    mkdir -p "$containers"
    # runc, because crun fails where control groups are hybrid; limits, because containers may not raise those they were born with.
    cat >"$containers/containers.conf" <<EOF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "$containers/networks"
EOF
    cat >"$containers/storage.conf" <<EOF
[storage]
driver = "overlay"
graphroot = "$containers/storage"
runroot = "/run/bext-otel-$(printf %s "$containers" | cksum | cut -d' ' -f1)"
EOF
    export CONTAINERS_CONF="$containers/containers.conf" CONTAINERS_STORAGE_CONF="$containers/storage.conf"
}

environment() {
    settings
    printf 'CONTAINERS_CONF=%s\nCONTAINERS_STORAGE_CONF=%s\nPODMAN_COMPOSE=%s\n' \
        "$CONTAINERS_CONF" "$CONTAINERS_STORAGE_CONF" "$cache/podman-compose/bin/podman-compose"
}

import_static() { # IMAGE PROGRAM PATH_INSIDE CHANGE...: an image that holds one static program
    image=$1 program=$2 inside=$3
    shift 3
    label="bext-otel.stand-in=$(basename "$program")"
    if have "$image" && [ "$(podman image inspect --format '{{index .Labels "bext-otel.stand-in"}}' "$image")" = "${label#*=}" ]; then
        say "$image: already there"
        return
    fi
    root=$(mktemp -d)
    mkdir -p "$root$(dirname "$inside")" "$root/tmp" "$root/etc/ssl/certs"
    chmod 1777 "$root/tmp"
    cp "$program" "$root$inside"
    [ ! -r /etc/ssl/certs/ca-certificates.crt ] || cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    say "$image: importing $(basename "$program")"
    tar -C "$root" -c . | podman import --quiet --change "LABEL $label" --change "ENTRYPOINT [\"$inside\"]" --change 'USER 10001' "$@" - "$image" >/dev/null
    rm -rf "$root"
}

make_base() {
    rootfs=$cache/debian-bookworm.tar
    if [ ! -s "$rootfs" ]; then
        say "$base: debootstrap, about two minutes ..."
        root=$(mktemp -d)
        debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root" >"$root.log" 2>&1 \
            || { tail -n 20 "$root.log" >&2; fail "debootstrap failed"; }
        rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
        tar -C "$root" -cf "$rootfs.part" . && mv "$rootfs.part" "$rootfs"
        rm -rf "$root" "$root.log"
    fi
    have "$base" || { say "$base: importing"; podman import --quiet "$rootfs" "$base" >/dev/null; }
}

make_prometheus() { # Debian's program needs a C library, so it stands on the base
    image=$(image_of prom/prometheus)
    program=$("$here/backends.sh" path prometheus)
    ! have "$image" || { say "$image: already there"; return; }
    say "$image: building from $program"
    root=$(mktemp -d)
    cp "$program" "$root/prometheus"
    cat >"$root/Containerfile" <<EOF
FROM $base
COPY prometheus /bin/prometheus
RUN mkdir -p /prometheus && chown 65534:65534 /prometheus
LABEL bext-otel.stand-in=debian-prometheus
USER 65534
WORKDIR /prometheus
ENTRYPOINT ["/bin/prometheus"]
EOF
    podman build --network none --tag "$image" "$root" >"$root.log" 2>&1 || { tail -n 20 "$root.log" >&2; fail "$image could not be built"; }
    rm -rf "$root" "$root.log"
}

make_demo() { # always: it holds this checkout
    say "localhost/bext-otel-demo:latest: building the demo from this checkout ..."
    log=$(mktemp)
    set -- --volume /etc/ssl/certs:/etc/ssl/certs:ro
    [ ! -r /etc/pip.conf ] || set -- "$@" --volume /etc/pip.conf:/etc/pip.conf:ro
    # The host's network and certificates, so that pip inside gets its packages the way that it does outside.
    podman build --network host "$@" --build-arg BASE="$base" --tag localhost/bext-otel-demo:latest "$checkout" >"$log" 2>&1 \
        || { tail -n 30 "$log" >&2; fail "the demo's image could not be built"; }
    rm -f "$log"
    podman image prune --force >/dev/null
}

make_compose() {
    venv=$cache/podman-compose
    [ ! -x "$venv/bin/podman-compose" ] || { say "podman-compose: already there"; return; }
    say "podman-compose $compose_version: installing"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "podman-compose==$compose_version"
}

make_images() {
    [ "$(id -u)" -eq 0 ] || fail "make needs root: debootstrap, and containers without a user namespace; run sudo -E scripts/images.sh"
    collector=$("$here/backends.sh" path collector)
    jaeger=$("$here/backends.sh" path jaeger)
    "$here/backends.sh" path podman >/dev/null
    settings
    exec 9>"$cache/images.lock"
    flock 9
    make_compose 9>&-
    make_base 9>&-
    import_static "$(image_of otel/opentelemetry-collector-contrib)" "$collector" /otelcol-contrib 9>&-
    import_static "$(image_of jaegertracing/jaeger)" "$jaeger" /cmd/jaeger/jaeger-linux 9>&-
    make_prometheus 9>&-
    make_demo 9>&-
    say "images: done"
}

remove() {
    [ -d "$containers" ] || return 0
    settings
    podman rm --all --force >/dev/null
    podman network prune --force >/dev/null
    podman rmi --all --force >/dev/null
}

case ${1:-make} in
    make) make_images ;;
    env) environment ;;
    remove) remove ;;
    -h | --help | help) usage ;;
    *) usage >&2; exit 2 ;;
esac
