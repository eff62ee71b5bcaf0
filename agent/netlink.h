/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netlink: what the ports around rtnetlink (address, route, netmon, vmac) share.
 */
#ifndef TANDEM_NETLINK_H
#define TANDEM_NETLINK_H

struct nl_sock;

/* libnl's error, of either sign, as a negative errno; -EIO where it has no word of its own. */
int netlink_errno(int error);
/* A connected rtnetlink socket, the caller's to nl_socket_free(). */
int netlink_open(struct nl_sock **ret_socket);

#endif
