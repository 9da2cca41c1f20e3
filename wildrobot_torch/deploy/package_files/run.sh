#!/bin/sh
# Run the robot. Nothing moves until the start gate is passed and the process gets the signal USR1.
cd "$(dirname "$0")" || exit 1
exec "${PYTHON:-python3}" start.py "$@"
