/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_secret: passwords that stand in files of their own, so that tandem.conf can be shown, mailed
 * and kept in a repository.
 *
 * Whoever needs them (the agent's runner) reads them once for each snapshot, and hands them on
 * behind the text in the snapshot's sealed memory file; see conf_snapshot.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/conf_private.h"

#define FILE_BYTES_MAX 256

static void wrong(struct conf_reader *reader, const struct conf_vrrp *vrrp, char *cause, char *cure)
{
	struct conf_scope place = {0};

	conf_place(&place, "vrrp.%s.auth_pass_file", vrrp->name);
	conf_add(reader, CONF_ERROR, vrrp->line, place.path, cause, cure);
}

/* NULL, or why nobody should trust this file with a password. */
static const char *fault_of(const struct stat *st, const char **ret_cure)
{
	*ret_cure = "write the path of a file with one line, the password";
	if (!S_ISREG(st->st_mode))
		return "is not a file";
	*ret_cure = "chown root";
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return "belongs to somebody else than root";
	*ret_cure = "chmod 600";
	if (st->st_mode & S_IRWXO)
		return "can be read or written by everybody";
	if (st->st_mode & S_IWGRP)
		return "can be written by a group";
	return NULL;
}

/* The first line, without its end. -ENODATA: empty; -EILSEQ: more than one line, or no text. */
static int read_line(int fd, char line[FILE_BYTES_MAX], size_t *ret_size)
{
	ssize_t size = read(fd, line, FILE_BYTES_MAX);

	if (size < 0)
		return -errno;
	if (size > 0 && line[size - 1] == '\n')
		size--;
	if (size == 0)
		return -ENODATA;
	if (size >= FILE_BYTES_MAX - 1 || memchr(line, '\n', (size_t)size) ||
	    memchr(line, '\0', (size_t)size))
		return -EILSEQ;
	*ret_size = (size_t)size;
	return 0;
}

static void read_one(struct conf_reader *reader, struct conf_vrrp *vrrp)
{
	const char *path = vrrp->auth_pass_file, *fault, *cure;
	/* Not blocking: a fifo in the file's place must not hold a daemon up. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char line[FILE_BYTES_MAX];
	struct stat st;
	size_t size = 0;
	int error = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;

	if (!error && (fault = fault_of(&st, &cure))) {
		wrong(reader, vrrp, conf_say("%.200s %s", path, fault),
		      S_ISREG(st.st_mode) ? conf_say("%s %.200s", cure, path)
					  : conf_say("%s", cure));
		goto out;
	}
	if (!error)
		error = read_line(fd, line, &size);
	if (error) {
		wrong(reader, vrrp,
		      error == -ENODATA	 ? conf_say("%.200s is empty", path)
		      : error == -EILSEQ ? conf_say("%.200s holds more than one line of text", path)
					 : conf_say("%.200s: %s", path, strerror(-error)),
		      conf_say("write the password into it, 1 to 8 bytes, on every node"));
		goto out;
	}
	/* As many as VRRP carries, as with auth_pass. */
	memset(vrrp->auth_data, 0, sizeof vrrp->auth_data);
	memcpy(vrrp->auth_data, line,
	       size < sizeof vrrp->auth_data ? size : sizeof vrrp->auth_data);
out:
	explicit_bzero(line, sizeof line);
	if (fd >= 0)
		close(fd);
}

void conf_read_secrets(struct conf *conf, struct conf_problems *problems)
{
	struct conf_reader reader = {.problems = problems};

	for (int i = 0; i < conf->vrrps_count; i++)
		if (conf->vrrps[i].auth_pass_file && conf->vrrps[i].priorities[conf->self] > 0)
			read_one(&reader, &conf->vrrps[i]);
	conf_problems_sort(problems);
}
