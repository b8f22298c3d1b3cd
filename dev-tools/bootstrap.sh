# Set-up shared by ./fustor and ./test: from a bare machine (Python 3.11+ and git) to a ready `.venv`.
# Sourced by bash, not run. Every step says what it does; every failure says what to do.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
private="$root/.venv-uv" # uv, and its cache when the home can't be written, when the machine has no uv of its own

say() { printf 'set-up: %s\n' "$*" >&2; }

fail() { # message, remedy
    printf 'set-up failed: %s\n' "$1" >&2
    printf '     to mend: %s\n' "$2" >&2
    exit 1
}

# A home that is missing or read-only must not stop anyone: uv then keeps its cache inside the clone.
prepare_home() {
    if [ -z "${HOME:-}" ] || ! mkdir -p "$HOME" 2>/dev/null || [ ! -w "$HOME" ]; then
        export HOME="$private/home"
        mkdir -p "$HOME" || fail "neither the home directory nor $root can be written" "clone into a directory of your own"
        export UV_CACHE_DIR="${UV_CACHE_DIR:-$private/cache}"
    fi
    # A cache on another file system can't be hard-linked; uv would copy and warn at every start.
    export UV_LINK_MODE="${UV_LINK_MODE:-copy}"
    # A virtual environment that someone has active elsewhere must not be used in place of ours.
    unset VIRTUAL_ENV PYTHONHOME PYTHONPATH
}

# Prints the first Python that runs and is new enough. pyenv's shims exist also for versions it can't run, so each is tried.
find_python() {
    local candidate path
    for candidate in python3.11 python3.12 python3.13 python3.14 python3 python /usr/bin/python3; do
        path=$(command -v "$candidate" 2>/dev/null) || continue
        if "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            "$path" -c 'import sys; print(sys.executable)'
            return 0
        fi
    done
    return 1
}

works() { [ -n "$1" ] && "$1" --version >/dev/null 2>&1; }

# Sets $uv. Looks for uv; else installs it into the clone, which needs no rights and touches nothing of the system.
ensure_uv() {
    local python log
    for uv in "${UV:-}" "$(command -v uv 2>/dev/null)" "$HOME/.local/bin/uv" "$private/bin/uv" "$private/target/bin/uv"; do
        works "$uv" && return 0
    done
    python=$(find_python) || fail "no Python 3.11 or newer was found" "install one, e.g. 'apt-get install python3 python3-venv', and run this again"
    say "uv is not installed; installing it into $private with $python"
    mkdir -p "$private" || fail "$root can't be written" "clone into a directory of your own"
    log="$private/install.log"
    uv="$private/bin/uv"
    if "$python" -m venv "$private" >"$log" 2>&1 && "$private/bin/python" -m pip install --quiet uv >>"$log" 2>&1 && works "$uv"; then return 0; fi
    # Debian splits `venv` into a package of its own. A pip without it can still install into a folder.
    uv="$private/target/bin/uv"
    if "$python" -m pip install --quiet --target "$private/target" uv >>"$log" 2>&1 && works "$uv"; then return 0; fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Python came without venv and pip; installing Debian's python3-venv"
        apt_install python3-venv
        uv="$private/bin/uv"
        rm -rf "${private:?}/bin" "${private:?}/lib"
        if /usr/bin/python3 -m venv "$private" >>"$log" 2>&1 && "$private/bin/python" -m pip install --quiet uv >>"$log" 2>&1 && works "$uv"; then return 0; fi
    fi
    tail -n 5 "$log" >&2
    fail "uv could not be installed (all of it in $log)" "install uv yourself ('python3 -m pip install --user uv', or 'apt-get install python3-venv' first), check that the package index can be reached, and run this again"
}

# `.python-version` names the version that developers use; any newer one that is there will do as well.
choose_python() {
    local found
    [ -n "${UV_PYTHON:-}" ] && return 0
    "$uv" python find --quiet --system --no-python-downloads 3.11 >/dev/null 2>&1 && return 0
    if found=$("$uv" python find --quiet --system --no-python-downloads '>=3.11' 2>/dev/null) || found=$(find_python); then
        export UV_PYTHON="$found"
    fi
}

# True when the environment was made from the lock file and the members as they are now.
is_ready() { # stamp
    local stamp="$root/.venv/$1" file
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$root" ] || return 1
    for file in "$root"/uv.lock "$root"/pyproject.toml "$root"/*/pyproject.toml "$root"/packages/*/pyproject.toml; do
        [ "$file" -nt "$stamp" ] && return 1
    done
    return 0
}

ensure_env() { # stamp, then arguments of `uv sync`
    local stamp=$1
    shift
    is_ready "$stamp" && return 0
    ensure_uv
    choose_python
    say "installing Fustor and what it needs into $root/.venv (a minute on the first run, seconds later)"
    "$uv" sync --quiet --frozen --project "$root" "$@" || fail "'uv sync $*' did not succeed" "read the lines above; when they speak of the network, check that the package index can be reached, and run this again"
    printf '%s\n' "$root" >"$root/.venv/$stamp"
}

apt_updated=
apt_install() { # packages
    export DEBIAN_FRONTEND=noninteractive
    if [ -z "$apt_updated" ]; then
        say "apt-get update"
        apt-get update -qq >&2 || say "apt-get update failed; going on with the lists that are there"
        apt_updated=1
    fi
    say "apt-get install $*"
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null || fail "apt-get could not install $*" "read the lines above, install them by hand, and run this again"
}

# Installs what `.ci/debian-packages.txt` names and this machine lacks. Without root it only says what is missing.
ensure_debian() {
    local name missing=()
    command -v dpkg-query >/dev/null || return 0
    while read -r name; do
        case "$name" in '' | '#'*) continue ;; esac
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done <"$root/.ci/debian-packages.txt"
    [ ${#missing[@]} -eq 0 ] && return 0
    if [ "$(id -u)" = 0 ]; then
        apt_install "${missing[@]}"
    else
        say "not installed and needed by some tests: ${missing[*]} (as root: apt-get install ${missing[*]})"
    fi
}

# Debian stable has no MySQL; see fustor_core.testing.debian_mysql. Without it the tests that need it fail and say why.
ensure_mysql() {
    [ -d "$root/.cache/mysql/root" ] && return 0
    say "fetching a MySQL server for the tests into $root/.cache/mysql (a quarter of a minute, once)"
    "$root/.venv/bin/python" -m fustor_core.testing.debian_mysql >/dev/null || say "tests that need MySQL will fail"
}
