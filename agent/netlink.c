/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>

int netlink_errno(int error)
{
	switch (error < 0 ? -error : error) {
	case 0:
		return 0;
	case NLE_EXIST:
		return -EEXIST;
	case NLE_BUSY:
		return -EBUSY;
	case NLE_NOADDR:
		return -EADDRNOTAVAIL;
	case NLE_NODEV:
		return -ENODEV;
	case NLE_OBJ_NOTFOUND:
		return -ESRCH;
	case NLE_PERM:
		return -EPERM;
	case NLE_NOMEM:
		return -ENOBUFS;
	case NLE_INVAL:
	case NLE_NOATTR:
		return -EINVAL;
	case NLE_AF_NOSUPPORT:
		return -EAFNOSUPPORT;
	case NLE_OPNOTSUPP:
		return -EOPNOTSUPP;
	case NLE_AGAIN:
		return -EAGAIN;
	case NLE_INTR:
	case NLE_DUMP_INTR:
		return -EINTR;
	default:
		return -EIO;
	}
}

int netlink_open(struct nl_sock **ret_socket)
{
	struct nl_sock *socket = nl_socket_alloc();
	int error;

	if (!socket)
		return -ENOMEM;
	error = netlink_errno(nl_connect(socket, NETLINK_ROUTE)); /* libnl sets close-on-exec */
	if (error) {
		nl_socket_free(socket);
		return error;
	}
	*ret_socket = socket;
	return 0;
}
