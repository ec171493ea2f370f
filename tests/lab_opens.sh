#!/usr/bin/env bash
# `make lab` as somebody types it, until the server hands out the course's first notebook; then the server ends.
set -euo pipefail
cd "$(dirname "$0")/.."
port=${PORT:-8987} token=lab-opens
said=$(mktemp)
make lab PORT="$port" LAB_ARGS="--no-browser --IdentityProvider.token=$token" >"$said" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true; wait $server 2>/dev/null || true; rm -f "$said"' EXIT  # make ends what it started
for _ in $(seq 600); do
    if .venv/bin/python - "$port" "$token" 2>/dev/null <<'PY'
import json, sys, urllib.request
port, token = sys.argv[1:]
address = f"http://127.0.0.1:{port}/api/contents/notebooks/00-start-here.ipynb?token={token}"
sys.exit(json.load(urllib.request.urlopen(address, timeout=10))["type"] != "notebook")
PY
    then echo "make lab: JupyterLab has opened the course"; exit 0; fi
    kill -0 $server 2>/dev/null || break
    sleep 1
done
echo "make lab: the course does not open"; cat "$said"
exit 1
