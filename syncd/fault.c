/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The next step for errors that always mean the same to an administrator. */
static const char *cure(int error)
{
	switch (error) {
	case ENOSPC:
		return "; free some space or inodes on that file system";
	case EDQUOT:
		return "; raise the quota or free some of it";
	case EROFS:
		return "; mount that file system writable";
	case EMFILE:
	case ENFILE:
		return "; raise LimitNOFILE (ulimit -n)";
	case EACCES:
	case EPERM:
		return "; run as root, and look for an immutable flag (lsattr) or a security "
		       "module";
	case EIO:
		return "; look at the kernel's log: the disk may be failing";
	case EBUSY:
		return "; is it a mount point, a bind-mounted file for example?";
	default:
		return "";
	}
}

int fault_set(struct fault *fault, int error, const char *format, ...)
{
	if (!fault)
		return error;
	char words[FAULT_TEXT_MAX / 2 + FAULT_TEXT_MAX / 4];
	va_list ap;
	va_start(ap, format);
	vsnprintf(words, sizeof words, format, ap);
	va_end(ap);
	if (error < 0)
		snprintf(fault->text, sizeof fault->text, "%s: %s%s", words, strerror(-error),
			 cure(-error));
	else
		snprintf(fault->text, sizeof fault->text, "%s", words);
	return error;
}
