#!/bin/sh
# Makes README.md and report.html of this folder from its raw files.
exec loadgen report "$(dirname "$0")/.."
