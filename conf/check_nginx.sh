#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Is nginx there? Exit status 0: yes, 1: no. A script check for tandem.conf:
#
#   { name = "nginx"; script = "/etc/tandem/check_nginx.sh"; interval = 2; timeout = 10; fall = 2;
#     weight = -20; }
#
# usage: check_nginx.sh [PIDFILE]
#
# A dead nginx is started once; the check's timeout must leave time for that. Only the answer
# afterwards counts, and it moves the address; tandem-agent itself is never stopped.
# CHECK_NGINX_RESTART holds the command, empty for none.
pidfile=${1:-/run/nginx.pid}
restart=${CHECK_NGINX_RESTART-systemctl restart nginx}

alive() {
	read -r pid <"$pidfile" && [ "$pid" -gt 1 ] && kill -0 "$pid"
} 2>/dev/null

alive && exit 0
if [ -n "$restart" ]; then
	# Split into words on purpose: it is a command with arguments.
	$restart && alive && exit 0
fi
echo "nginx does not run: no process for $pidfile"
exit 1
