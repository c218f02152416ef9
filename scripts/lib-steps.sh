# The words a long script uses to say where it is, to fail clearly, and to do finished work only once.
# Source it, then set STEPS (how many), DEPS (where results go).

STEP=0
STEP_NAME=""
STEP_AT=0

# step NAME: the next step begins.
step() {
    STEP=$((STEP + 1))
    STEP_NAME=$1
    STEP_AT=$SECONDS
}

# say TEXT: one progress line.
say() { printf '[%d/%d] %s: %s\n' "$STEP" "$STEPS" "$STEP_NAME" "$1"; }

# say_done TEXT: the step's last line, with what it took.
say_done() { say "$1 ($((SECONDS - STEP_AT)) s)"; }

# die CAUSE NEXT: ends the script naming step, cause and what to do.
die() {
    printf '%s: %s: %s\n  next: %s\n' "$(basename "$0")" "$STEP_NAME" "$1" "$2" >&2
    exit 1
}

# run LABEL COMMAND…: runs quietly; on failure shows the end of what it said.
run() {
    local label=$1 log
    shift
    log=$DEPS/log/${label// /-}.log
    mkdir -p "$DEPS/log"
    if ! "$@" >"$log" 2>&1; then
        tail -n 15 "$log" | sed 's/^/    /' >&2
        die "$label failed; the whole log is $log" "${NEXT:-fix the cause named above, then run this again: finished steps are kept}"
    fi
}

# is_done NAME KEY: is this result there, made from exactly this?
is_done() { [ -f "$DEPS/stamps/$1" ] && [ "$(cat "$DEPS/stamps/$1")" = "$2" ]; }

# mark_done NAME KEY: written last, by rename, so that an interrupted step is never taken for a finished one.
mark_done() {
    mkdir -p "$DEPS/stamps"
    printf '%s\n' "$2" >"$DEPS/stamps/.$1.new"
    mv "$DEPS/stamps/.$1.new" "$DEPS/stamps/$1"
}

# replace NEW OLD: puts a finished folder in place of an older one.
replace() {
    rm -rf "$2.old"
    if [ -e "$2" ]; then mv "$2" "$2.old"; fi
    mv "$1" "$2"
    rm -rf "$2.old"
}

# sum_of FILE…: one short key for the content of files.
sum_of() { cat "$@" | sha256sum | cut -c1-16; }

# python_version: as in 3.11.
python_version() { python3 -c 'import sys; print(*sys.version_info[:2], sep=".")'; }

# make_venv FOLDER: venvs can't be moved, so a stamp and not a rename says that one is complete.
make_venv() {
    rm -rf "$1"
    NEXT="install python3-venv, then run this again" run "python3 -m venv" python3 -m venv "$1"
}

# enter_deps FOLDER: where results go (DEPS), and a folder there to build in (BUILD) for one script at a time.
enter_deps() {
    STEP_NAME=start
    [ "$(uname -sm)" = "Linux x86_64" ] || die "this is $(uname -sm)" "use a 64-bit x86 Linux machine"
    mkdir -p "$ROOT/.deps" 2>/dev/null || [ -d "$ROOT/.deps/" ] || die "$ROOT/.deps can't be made" "make $ROOT writable"
    DEPS=$(cd "$ROOT/.deps" && pwd -P)
    BUILD=$DEPS/$1
    VENV=$DEPS/venv
    mkdir -p "$BUILD"
    exec 9>"$DEPS/.$1.lock"
    flock -n 9 || { echo "$(basename "$0"): another one is running; waiting for it …"; flock 9; }
}
