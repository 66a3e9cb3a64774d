#!/bin/sh
# Start the reference server as other benchmarks start theirs: start.sh PORT DIR [tls], with the
# Python of BENCH_PYTHON, and in BENCH_CERT key and certificate.
set -eu
directory=$(cd "$2" && pwd)
cd "$(dirname "$0")/../.."
exec "${BENCH_PYTHON:-python3}" -m tests.benchmarks.serve ftpdata "$1" "$directory" \
    ${3:+"$BENCH_CERT"}
