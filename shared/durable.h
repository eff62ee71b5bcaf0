/* SPDX-License-Identifier: Apache-2.0 */
/*
 * durable: the one place that replaces a file so that it survives a power cut: write beside it,
 * fsync, rename over it, fsync the directory.
 */
#ifndef TANDEM_DURABLE_H
#define TANDEM_DURABLE_H

#include <stddef.h>
#include <sys/types.h>

/* All of it, to a descriptor that blocks; not durable by itself. */
int durable_write_all(int fd, const void *data, size_t size);
/* name is one component below dirfd. */
int durable_write(int dirfd, const char *name, const void *data, size_t size, mode_t mode);
/* Reads a small file whole; -EFBIG past size_max. *ret_data is malloc'ed and terminated. */
int durable_read(int dirfd, const char *name, size_t size_max, char **ret_data, size_t *ret_size);
/* fsync of a directory by descriptor. */
int durable_sync_dir(int dirfd);
/* mkdir -p with mode, each component; existing ones are left as they are. */
int durable_mkdir(const char *path, mode_t mode);

#endif
