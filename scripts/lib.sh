# shellcheck shell=bash
# Sourced by the scripts beside it: what more than one of them needs.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH="$PATH:${HOME:-}/.cargo/bin" # rustup's place, which a non-login shell may not know

say() { echo "==> $*" >&2; }
die() { echo "$(basename "$0"): $*" >&2; exit 1; }

random_word() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

newest() { # of the folders given that exist, the one with the highest version
  printf '%s\n' "$@" | sort -V | while read -r folder; do [[ ! -d $folder ]] || echo "$folder"; done | tail -n 1
}

# A loopback port that nobody answers on, below the range from which the kernel gives ports to
# clients. Another process may still take it first: whoever starts a server tries again then.
free_port() {
  local port
  while port=$((20000 + RANDOM % 12000)); (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}

postgres_bin() { # the folder of initdb, pg_ctl and postgres; fails if there is none
  local folder
  for folder in "$(dirname "$(command -v initdb || echo /)")" "$(pg_config --bindir 2>/dev/null || true)" \
    "$(newest /usr/lib/postgresql/*/bin)" "$(newest /usr/pgsql-*/bin)"; do
    if [[ -x $folder/initdb && -x $folder/pg_ctl && -x $folder/postgres ]]; then echo "$folder"; return; fi
  done
  return 1
}

rabbitmq_sbin() { # the folder of the real rabbitmq-server, not of the wrapper that insists on its own user
  local folder
  folder=$(newest /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin)
  [[ -x $folder/rabbitmq-server ]] && echo "$folder"
}

# PostgreSQL refuses to run as root: root runs it as somebody else.
as_postgres() {
  if ((EUID != 0)); then "$@"; return; fi
  setpriv --reuid "$(postgres_user)" --regid "$(id -g "$(postgres_user)")" --clear-groups -- "$@"
}
postgres_user() { if ((EUID != 0)); then id -un; elif id postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi; }

# A new temporary folder that the user of PostgreSQL can reach, which a TMPDIR may not be.
temporary_folder() {
  local folder
  folder=$(mktemp -d "${TMPDIR:-/tmp}/pikou-XXXXXX")
  chmod 711 "$folder"
  if ! as_postgres test -x "$folder"; then
    rmdir "$folder"
    folder=$(mktemp -d /tmp/pikou-XXXXXX)
    chmod 711 "$folder"
  fi
  echo "$folder"
}

# Runs a command in a process group of its own and waits for it, while the shell stays free to act
# on a signal, which then reaches all that the command has started. What outlives it is ended.
guarded() {
  local code=0
  setsid -- "$@" <&0 &
  child=$!
  wait "$child" || code=$?
  end_child
  child=
  return "$code"
}

# Whether a process (or, as -PID, any of a group) lives. Zombies, which some containers keep, do not.
alive() {
  case $1 in
    -*) grep -qsE "^[0-9]+ \(.*\) [^ZX] [0-9]+ ${1#-} " /proc/[0-9]*/stat ;;
    *) grep -qsE '^[0-9]+ \(.*\) [^ZX] ' "/proc/$1/stat" ;;
  esac
}

# `wait_gone TENTHS PID` waits so many tenths of a second for it to end.
wait_gone() {
  local tenths
  for ((tenths = 0; tenths < $1; tenths++)); do
    alive "$2" || return 0
    sleep 0.1
  done
  return 1
}

# Ends what `guarded` runs: gently, then firmly.
end_child() {
  [[ -n ${child:-} ]] || return 0
  kill -TERM -- "-$child" 2>/dev/null || return 0
  wait_gone 300 "-$child" || kill -KILL -- "-$child" 2>/dev/null || true
}

# `on_exit COMMAND` runs COMMAND however the script ends; a second Ctrl-C does not cut it short.
on_exit() {
  # shellcheck disable=SC2064 # the command is known now
  trap "trap '' HUP INT TERM; end_child; $1" EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# `stop_all_below FOLDER [CONDITIONS OF find]` stops whatever server still runs below a folder, also one
# that a killed program left there.
stop_all_below() {
  local mark data pid
  { find "$1" -name postmaster.pid "${@:2}" 2>/dev/null || true; } | while read -r mark; do
    data=$(dirname "$mark")
    pid=$(head -n 1 "$mark")
    [[ $(readlink "/proc/$pid/cwd") == "$data" ]] || continue # it is not running
    kill -INT "$pid" 2>/dev/null || continue # what PostgreSQL calls a fast shutdown
    wait_gone 600 "$pid" || kill -QUIT "$pid" 2>/dev/null || true
  done
  { find "$1" -name rabbitmq.ports "${@:2}" 2>/dev/null || true; } | while read -r mark; do
    "$root/scripts/rabbitmq" stop "$(dirname "$mark")" || true
  done
}
