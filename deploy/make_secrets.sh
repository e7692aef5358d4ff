#!/bin/sh
# Makes the passwords and keys that compose.yaml names, once: files in deploy/secrets, which nobody but you can enter.
# Prints the admin key of the API, which is kept nowhere else.
set -eu
cd "$(dirname "$0")"
[ -e secrets ] && { echo "deploy/secrets exists already; remove it to make new ones" >&2; exit 1; }
umask 077
mkdir secrets
chmod 700 secrets
umask 022  # the containers' own users read the files; the folder keeps everybody else out

random() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
digest() { printf %s "$1" | sha256sum | cut -d' ' -f1; }

postgres=$(random) rabbitmq=$(random) admin=$(random) metrics=$(random)
printf %s "$postgres" > secrets/postgres_password
printf %s "postgresql://market_maker:$postgres@postgres/market_maker" > secrets/database_url
printf 'default_user = market_maker\ndefault_pass = %s\n' "$rabbitmq" > secrets/rabbitmq.conf
printf %s "amqp://market_maker:$rabbitmq@rabbitmq/" > secrets/rabbitmq_url
printf %s "admin:$(digest "$admin"),read:$(digest "$metrics")" > secrets/api_keys
printf %s "$metrics" > secrets/metrics_key
random > secrets/grafana_password
echo "admin key of the API (kept by you, shown only now): $admin"
echo "password of Grafana's user admin: $(cat secrets/grafana_password)"
