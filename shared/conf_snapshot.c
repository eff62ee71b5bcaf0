/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_snapshot: one reading of the file, numbered, that all processes of a daemon share.
 *
 * The text travels in a sealed memory file: whoever receives it knows that it cannot change under
 * its hands, and that the sender has the same bytes. Passwords that stand in files of their own
 * come behind a zero byte, which no text holds: 8 bytes for each instance that names such a file,
 * in the order of the text.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/conf_private.h"

#define SECRET_BYTES sizeof(((struct conf_vrrp *)NULL)->auth_data)
/* A text that is one byte too long, so that this is seen; what stands behind a good one. */
#define FILE_BYTES_MAX (CONF_TEXT_BYTES_MAX + 1 + CONF_VRRP_MAX * SECRET_BYTES)
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* The whole of fd from its beginning, at most FILE_BYTES_MAX. */
static int read_text(int fd, char **ret_text, size_t *ret_size)
{
	size_t size = 0;
	char *text = malloc(FILE_BYTES_MAX);

	if (!text)
		return -ENOMEM;
	while (size < FILE_BYTES_MAX) {
		ssize_t n = pread(fd, text + size, FILE_BYTES_MAX - size, (off_t)size);

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

static size_t count_secrets(const struct conf *conf)
{
	size_t count = 0;

	for (int i = 0; i < conf->vrrps_count; i++)
		count += conf->vrrps[i].auth_pass_file != NULL;
	return count;
}

int conf_snapshot_add_secrets(struct conf_snapshot *snapshot, struct conf_problems *problems)
{
	const struct conf *conf = snapshot->conf;
	const size_t room = 1 + count_secrets(conf) * SECRET_BYTES;
	const int errors = problems->errors;
	char *text, *whole = NULL;
	size_t size;
	int fd, r;

	if (room == 1)
		return 0;
	conf_read_secrets(snapshot->conf, problems);
	if (problems->errors > errors)
		return -EINVAL;
	r = read_text(snapshot->fd, &text, &size);
	if (r < 0)
		return r;
	whole = malloc(size + room);
	if (whole) {
		char *at = whole + size;

		memcpy(whole, text, size);
		*at++ = '\0';
		for (int i = 0; i < conf->vrrps_count; i++)
			if (conf->vrrps[i].auth_pass_file)
				at = mempcpy(at, conf->vrrps[i].auth_data, SECRET_BYTES);
		r = make_sealed(whole, size + room, &fd);
		explicit_bzero(whole, size + room);
		free(whole);
	} else {
		r = -ENOMEM;
	}
	explicit_bzero(text, size);
	free(text);
	if (r < 0)
		return r;
	close(snapshot->fd);
	snapshot->fd = fd;
	return 0;
}

/* False: what stands behind the text is not what it asks for. Nothing is good: the sender had no
 * use for passwords. */
static bool take_secrets(struct conf *conf, const char *bytes, size_t size)
{
	if (size == 0)
		return true;
	if (size != 1 + count_secrets(conf) * SECRET_BYTES || bytes[0] != '\0')
		return false;
	bytes++;
	for (int i = 0; i < conf->vrrps_count; i++) {
		if (!conf->vrrps[i].auth_pass_file)
			continue;
		memcpy(conf->vrrps[i].auth_data, bytes, SECRET_BYTES);
		bytes += SECRET_BYTES;
	}
	return true;
}

int conf_snapshot_receive(uint32_t number, const char *node_name, int fd,
			  struct conf_snapshot *ret_snapshot)
{
	struct conf_snapshot snapshot = {.number = number, .fd = fd};
	struct conf_problems problems = {0};
	int seals = fcntl(fd, F_GET_SEALS);
	char *text = NULL;
	size_t size = 0, text_size;
	int r;

	if (seals < 0 || (seals & SEALS) != SEALS || strlen(node_name) >= sizeof snapshot.node) {
		r = -EPROTO;
		goto out;
	}
	r = read_text(fd, &text, &size);
	if (r < 0)
		goto out;
	text_size = strnlen(text, size);
	r = conf_parse(text, text_size, &problems, &snapshot.conf);
	if (r == 0)
		r = conf_set_self(snapshot.conf, node_name);
	if (r == 0 && !take_secrets(snapshot.conf, text + text_size, size - text_size))
		r = -EPROTO;
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
	if (text)
		explicit_bzero(text, size);
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
