#!/bin/sh
# Starts this machine's part of the chat group that .env describes.
set -eu

# What runs Skein from a checkout where no Deno is installed.
deno_version=2.9.6

usage() {
  cat <<'END'
Usage: setup_distributed.sh NUMBER [FLAG...]
       setup_distributed.sh witness [NUMBER] [FLAG...]

Starts server NUMBER (or witness NUMBER) of the group in .env, on the machine
that has its address. Flags are those of skein-chat and skein-witness.

The file .env is looked for in the working directory, beside this script, and
in the folder above it; deploy/.env.example is one to begin with. The program
is looked for beside this script, in dist/, and on PATH; else it runs from the
checkout, by deno or npx.

  ./setup_distributed.sh 2
  ./setup_distributed.sh witness 1
  ./setup_distributed.sh 3 --admin 9090
END
}

fail() {
  printf 'setup_distributed.sh: %s\n' "$1" >&2
  exit 2
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

role=chat kind=server
case ${1-} in
  -h | --help)
    usage
    exit 0
    ;;
  witness)
    role=witness kind=witness
    shift
    ;;
esac

number=${1-}
case $number in
  '' | -*)
    # The only witness of a group needs no number.
    [ "$role" = witness ] ||
      fail 'Which server is this? Say its number, as in "setup_distributed.sh 1"'
    ;;
  *[!0-9]*)
    fail "\"$number\" is no number of a $kind; try \"setup_distributed.sh --help\""
    ;;
  *)
    shift
    set -- "--$kind-number" "$number" "$@"
    ;;
esac

# A node reads .env in its working directory, and DATA_DIR counts from there.
found=''
for folder in "$PWD" "$here" "$here/.."; do
  if [ -f "$folder/.env" ]; then
    found=$folder
    break
  fi
done
if [ -n "$found" ]; then
  cd -- "$found"
elif [ -z "${SERVER1_IP-}" ]; then
  fail "There is no .env in $PWD, beside this script or above it: copy deploy/.env.example there, and edit it"
fi

for program in "$here/skein-$role" "$here/../dist/skein-$role"; do
  if [ -x "$program" ]; then
    exec "$program" "$@"
  fi
done
if command -v "skein-$role" >/dev/null 2>&1; then
  exec "skein-$role" "$@"
fi
main=$here/../main.ts
if [ ! -f "$main" ]; then
  fail "There is no skein-$role beside this script, in dist/ or on PATH: copy it there (\"deno task build\" makes it)"
fi
if command -v deno >/dev/null 2>&1; then
  exec deno run --quiet -A "$main" "$role" "$@"
fi
if command -v npx >/dev/null 2>&1; then
  exec npx -y "deno@$deno_version" run --quiet -A "$main" "$role" "$@"
fi
fail "There is no skein-$role, and neither deno nor npx to run it with"
