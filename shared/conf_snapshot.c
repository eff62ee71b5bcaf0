/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_snapshot: one reading of the file, numbered, that all processes of a daemon share.
 *
 * The text travels in a sealed memory file: whoever receives it knows that it cannot change under
 * its hands, and that the sender has the same bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/conf_private.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* The whole of fd from its beginning, at most one byte more than a file may have. */
static int read_text(int fd, char **ret_text, size_t *ret_size)
{
	size_t size = 0;
	char *text = malloc(CONF_TEXT_BYTES_MAX + 1);

	if (!text)
		return -ENOMEM;
	while (size < CONF_TEXT_BYTES_MAX + 1) {
		ssize_t n = pread(fd, text + size, CONF_TEXT_BYTES_MAX + 1 - size, (off_t)size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int r = -errno;

			free(text);
			return r;
		}
		if (n == 0)
			break;
		size += (size_t)n;
	}
	*ret_text = text;
	*ret_size = size;
	return 0;
}

static int make_sealed(const char *text, size_t size, int *ret_fd)
{
	int fd = memfd_create("tandem.conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t done = 0;
	int r;

	if (fd < 0)
		return -errno;
	while (done < size) {
		ssize_t n = write(fd, text + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			goto fail;
		done += (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		goto fail;
	*ret_fd = fd;
	return 0;
fail:
	r = -errno;
	close(fd);
	return r;
}

/* The names of the nodes, for a message. */
static char *name_nodes(const struct conf *conf)
{
	const char *names[CONF_NODES_MAX + 1] = {0};

	for (int i = 0; i < conf->nodes_count; i++)
		names[i] = conf->nodes[i].name;
	return conf_list_names(names);
}

static int find_node(struct conf *conf, const char *node_name, struct conf_problems *problems)
{
	struct conf_reader reader = {.problems = problems};
	int r;

	if (node_name) {
		r = conf_set_self(conf, node_name);
		if (r == -ENOENT)
			conf_add(&reader, CONF_ERROR, 0, "nodes",
				 conf_say("there is no node \"%.80s\"", node_name),
				 name_nodes(conf));
		return r;
	}
	r = conf_find_self(conf);
	if (r == -ENOENT)
		conf_add(&reader, CONF_ERROR, 0, "nodes",
			 conf_say("this host has the address of none of the nodes"),
			 conf_say("give it one of them, or say which node it is with --node NAME"));
	else if (r == -EEXIST)
		conf_add(&reader, CONF_ERROR, 0, "nodes",
			 conf_say("this host has the addresses of two nodes"),
			 conf_say("say which one it is with --node NAME"));
	return r;
}

int conf_snapshot_load(const char *path, const char *node_name, uint32_t number,
		       struct conf_problems *problems, struct conf_snapshot *ret_snapshot)
{
	struct conf_snapshot snapshot = {.number = number, .fd = -1};
	struct stat st;
	char *text = NULL;
	size_t size = 0;
	/* Not blocking: a fifo in the file's place must not hold a daemon up. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int r;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (S_ISDIR(st.st_mode))
		r = -EISDIR;
	else if (!S_ISREG(st.st_mode))
		r = -EINVAL;
	else
		r = read_text(fd, &text, &size);
	close(fd);
	if (r < 0)
		return r;
	r = conf_parse(text, size, problems, &snapshot.conf);
	if (r < 0)
		goto out;
	r = find_node(snapshot.conf, node_name, problems);
	if (r < 0)
		goto out;
	r = make_sealed(text, size, &snapshot.fd);
	if (r < 0)
		goto out;
	memcpy(snapshot.node, snapshot.conf->nodes[snapshot.conf->self].name,
	       strlen(snapshot.conf->nodes[snapshot.conf->self].name) + 1);
	*ret_snapshot = snapshot;
	snapshot = (struct conf_snapshot){.fd = -1};
out:
	conf_snapshot_release(&snapshot);
	explicit_bzero(text, size);
	free(text);
	return r;
}

int conf_snapshot_receive(uint32_t number, const char *node_name, int fd,
			  struct conf_snapshot *ret_snapshot)
{
	struct conf_snapshot snapshot = {.number = number, .fd = fd};
	struct conf_problems problems = {0};
	int seals = fcntl(fd, F_GET_SEALS);
	char *text = NULL;
	size_t size = 0;
	int r;

	if (seals < 0 || (seals & SEALS) != SEALS || strlen(node_name) >= sizeof snapshot.node) {
		r = -EPROTO;
		goto out;
	}
	r = read_text(fd, &text, &size);
	if (r < 0)
		goto out;
	r = conf_parse(text, size, &problems, &snapshot.conf);
	if (r == 0)
		r = conf_set_self(snapshot.conf, node_name);
	/* The sender has checked both: anything else but memory is a broken sender. */
	if (r < 0) {
		r = r == -ENOMEM ? r : -EPROTO;
		goto out;
	}
	memcpy(snapshot.node, node_name, strlen(node_name) + 1);
	*ret_snapshot = snapshot;
	snapshot = (struct conf_snapshot){.fd = -1};
out:
	conf_snapshot_release(&snapshot);
	conf_problems_release(&problems);
	free(text);
	return r;
}

void conf_snapshot_release(struct conf_snapshot *snapshot)
{
	conf_free(snapshot->conf);
	if (snapshot->fd >= 0)
		close(snapshot->fd);
	*snapshot = (struct conf_snapshot){.fd = -1};
}
