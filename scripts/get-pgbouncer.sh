#!/usr/bin/env bash
# Build PgBouncer 1.18 and 1.24 into .cache/pgbouncer/VERSION/pgbouncer, once.
#
# Both come as source packages of the Debian release that has them. This machine's own apt entries
# are copied into a private folder with the release's name replaced, so apt downloads from where it
# always does and checks the signatures. Needs no root and installs nothing: libevent, c-ares and
# OpenSSL are unpacked beside the sources and linked statically.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$PWD/.cache/pgbouncer

main() {
    build_missing 1.18 bookworm &
    build_missing 1.24 trixie
    wait $!
}

build_missing() { # version, the Debian release that has it
    local program=$cache/$1/pgbouncer log=$cache/$1/build.log failed
    if [ -x "$program" ]; then return; fi
    mkdir -p "$cache/$1"
    echo "Building PgBouncer $1 ..." >&2
    set +e # in a condition bash would ignore errors inside build
    (set -e; build "$2" "$program") >"$log" 2>&1
    failed=$?
    set -e
    if [ $failed = 0 ]; then return; fi
    if [ "$1" = 1.24 ] && link_installed "$program"; then return; fi
    echo "PgBouncer $1 can't be built here ($(tail -n 1 "$log"); see $log): install apt, gcc and" \
        "make, or put a pgbouncer $1 at $program." >&2
    exit 1
}

link_installed() { # where to; 1.24 stands for every version that tracks prepared statements
    local found version
    found=$(command -v pgbouncer) || return
    version=$("$found" --version | awk '{print $2; exit}')
    printf '1.21\n%s\n' "$version" | sort -CV && ln -sf "$found" "$1"
}

build() { # Debian release, program; prints what goes wrong
    local tool work now
    for tool in apt-get gcc make; do
        command -v "$tool" >/dev/null || { echo "$tool is missing"; return 1; }
    done
    work=$(mktemp -d "$(dirname "$2")/build.XXXXXX")
    # shellcheck disable=SC2064  # $work is local: expand it now
    trap "rm -rf '$work'" EXIT
    now=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mkdir -p "$work"/{parts,lists/partial,cache/archives/partial,libraries,source}
    : >"$work/status" # without the real list of packages apt offers what isn't installed, too
    copy_one_line_entries "$now" "$1" >"$work/parts/copied.list"
    copy_stanzas "$now" "$1" >"$work/parts/copied.sources"
    cd "$work"
    fetch
    compile
    install -m 755 source/pgbouncer "$2"
}

copy_one_line_entries() { # this release, the source's release
    find /etc/apt -name '*.list' -exec grep -hE "^deb .* $1(-security|-updates)? +main" {} + |
        sed -E "p; s/^deb /deb-src /; s/ $1( |-)/ $2\1/"
}

copy_stanzas() { # this release, the source's release
    local stanzas
    stanzas=$(find /etc/apt -name '*.sources' -exec awk -v RS= -v ORS='\n\n' -v release="$1" '
        "\n" $0 "\n" ~ "\nSuites:[^\n]* " release "(-security|-updates)?[ \n]" && /Components:.* main/
        ' {} +)
    sed -E 's/^Types:.*/Types: deb/' <<<"$stanzas"
    echo
    sed -E "s/^Types:.*/Types: deb-src/; /^Suites:/s/\b$1\b/$2/g" <<<"$stanzas"
}

fetch() {
    local apt=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$PWD/parts"
        -o Dir::State::lists="$PWD/lists" -o Dir::State::status="$PWD/status"
        -o Dir::Cache="$PWD/cache" -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none)
    "${apt[@]}" update
    "${apt[@]}" source --download-only pgbouncer
    "${apt[@]}" download libevent-dev libc-ares-dev libssl-dev
    for package in *.deb; do dpkg-deb -x "$package" libraries; done
    tar xf pgbouncer_*.orig.tar.* -C source --strip-components=1
}

compile() {
    local include=$PWD/libraries/usr/include lib
    lib=$(echo "$PWD"/libraries/usr/lib/*-linux-*)
    local flags="-I$include -I$include/${lib##*/}"
    cd source
    LIBEVENT_CFLAGS=$flags LIBEVENT_LIBS=$lib/libevent.a CARES_CFLAGS=$flags \
        CARES_LIBS=$lib/libcares.a CPPFLAGS=$flags LDFLAGS=-L$lib LIBS='-pthread -ldl' \
        ./configure --with-cares --without-systemd
    make -s -j"$(nproc)" pgbouncer
    cd ..
}

main
