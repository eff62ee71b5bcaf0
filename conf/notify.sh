#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What a host does when it becomes master or backup: `notify = "/etc/tandem/notify.sh";`.
#
# Called as keepalived calls it: INSTANCE NAME STATE PRIORITY. tandem runs the hooks of one instance
# one after the other, and stops one that takes longer than notify_timeout.
name=$2
state=$3
priority=$4

say() {
	logger -t tandem-notify -- "$1" 2>/dev/null || echo "$1"
}

case $state in
MASTER)
	say "$name: this host holds the addresses now (priority $priority)"
	# What only the holder runs: systemctl start the-job.timer
	;;
BACKUP)
	say "$name: the other host holds the addresses"
	;;
FAULT)
	say "$name: this host cannot hold the addresses"
	;;
STOP)
	say "$name: tandem-agent has stopped here"
	;;
*)
	say "$name: unknown state $state"
	;;
esac
exit 0
