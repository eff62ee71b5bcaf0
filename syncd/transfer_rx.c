/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shared/wire.h"
#include "syncd/delta.h"
#include "syncd/transfer.h"
#include "syncd/transfer_private.h"

/* What is larger goes to disk, where there is one. */
#define MEMORY_BYTES_MAX (4ull * 1024 * 1024)

/* One object that the new tree needs and the old one did not. */
struct wanted {
	uint8_t hash[SESSION_HASH_BYTES];
	uint64_t size;
	bool held;
};

/* The object whose pieces are coming in. */
struct incoming {
	bool active;
	struct session_content first; /* without its bytes */
	uint64_t received;
	int fd;
	struct wanted *wanted;
};

struct transfer_rx {
	struct transfer_port port;
	uint32_t transfer;
	struct generation generation;
	struct tree *base_tree;
	const char *const *paths;
	int paths_count;
	uint32_t tree_count;
	/* until the last entry has come */
	struct tree *puts; /* never sealed: owns what was put */
	char **removed;
	size_t removed_count, removed_room;
	size_t bytes;
	/* from then on */
	struct tree *tree;
	struct wanted *wanted;
	size_t wanted_count;
	struct incoming incoming;
	uint8_t *missing;
	size_t missing_before;
	char why[TRANSFER_WHY_ROOM];
};

static int peer_wrong(struct transfer_rx *rx, const char *what, const char *detail)
{
	snprintf(rx->why, sizeof(rx->why), "%s%s%s", what, detail ? ": " : "",
		 detail ? detail : "");
	return -EBADMSG;
}

static int host_failed(struct transfer_rx *rx, int rc, const char *what)
{
	snprintf(rx->why, sizeof(rx->why), "%s: %s", what, strerror(-rc));
	return rc;
}

int transfer_rx_new(const struct transfer_port *port, const struct session_offer *offer,
		    const struct generation *generation, struct tree *base_tree,
		    const char *const *paths, int paths_count, struct transfer_rx **ret_rx)
{
	struct transfer_rx *rx = calloc(1, sizeof(*rx));

	if (!rx)
		return -ENOMEM;
	rx->port = *port;
	rx->transfer = offer->transfer;
	rx->generation = *generation;
	rx->base_tree = base_tree ? tree_ref(base_tree) : NULL;
	rx->paths = paths;
	rx->paths_count = paths_count;
	rx->tree_count = offer->tree_count;
	rx->incoming.fd = -1;
	rx->puts = tree_new();
	if (!rx->puts) {
		transfer_rx_free(rx);
		return -ENOMEM;
	}
	*ret_rx = rx;
	return 0;
}

/* ---- entries ---- */

static int take_removed(struct transfer_rx *rx, struct wire_reader *r)
{
	size_t size = 0;
	const char *path = wire_get_string(r, &size);
	enum entry_verdict verdict;
	char *copy;

	if (!path)
		return peer_wrong(rx, "a removed path cannot be read", NULL);
	verdict = entry_path_check(path, size);
	if (verdict != ENTRY_OK)
		return peer_wrong(rx, "a removed path", entry_verdict_text(verdict));
	if (rx->removed_count == rx->removed_room) {
		size_t room = rx->removed_room ? rx->removed_room * 2 : 16;
		char **removed = realloc(rx->removed, room * sizeof(*removed));

		if (!removed)
			return host_failed(rx, -ENOMEM, "a manifest");
		rx->removed = removed;
		rx->removed_room = room;
	}
	copy = strndup(path, size);
	if (!copy)
		return host_failed(rx, -ENOMEM, "a manifest");
	rx->removed[rx->removed_count++] = copy;
	return 0;
}

static int take_put(struct transfer_rx *rx, struct wire_reader *r)
{
	struct entry_strings strings;
	struct entry entry;
	enum entry_verdict verdict = entry_decode(r, &strings, &entry);
	int rc;

	if (verdict != ENTRY_OK)
		return peer_wrong(rx, "an entry of the manifest", entry_verdict_text(verdict));
	rc = tree_add(rx->puts, &entry);
	if (rc < 0)
		return host_failed(rx, rc, "a manifest");
	if (rc > 0)
		return peer_wrong(rx, "an entry of the manifest",
				  entry_verdict_text((enum entry_verdict)rc));
	return 0;
}

static int take_entries(struct transfer_rx *rx, const struct session_entries *entries)
{
	struct wire_reader r;
	int rc = 0;

	if (rx->tree)
		return peer_wrong(rx, "entries come after the last of them", NULL);
	/* As large as a whole manifest may be, whatever way it comes. */
	rx->bytes += entries->size;
	if (rx->bytes > TREE_ENCODED_BYTES_MAX)
		return peer_wrong(rx, "the manifest", entry_verdict_text(ENTRY_TOO_LARGE));
	wire_reader_init(&r, entries->bytes, entries->size);
	for (uint16_t i = 0; rc == 0 && i < entries->count; i++) {
		uint8_t change = wire_get_u8(&r);

		if (change == TRANSFER_PUT)
			rc = take_put(rx, &r);
		else if (change == TRANSFER_REMOVE && wire_reader_ok(&r))
			rc = take_removed(rx, &r);
		else
			rc = peer_wrong(rx, "an entry is neither put nor removed", NULL);
	}
	if (rc == 0 && !wire_reader_done(&r))
		rc = peer_wrong(rx, "bytes after the last entry of a frame", NULL);
	return rc;
}

/* ---- the manifest is whole ---- */

static int compare_wanted(const void *a, const void *b)
{
	return memcmp(((const struct wanted *)a)->hash, ((const struct wanted *)b)->hash,
		      SESSION_HASH_BYTES);
}

static struct wanted *find_wanted(struct transfer_rx *rx, const uint8_t *hash)
{
	struct wanted key;

	memcpy(key.hash, hash, SESSION_HASH_BYTES);
	return rx->wanted_count == 0
		       ? NULL
		       : bsearch(&key, rx->wanted, rx->wanted_count, sizeof(key), compare_wanted);
}

/* What of the new tree the base did not have; without a base, everything. */
static int list_wanted(struct transfer_rx *rx)
{
	struct tree *empty = NULL;
	struct tree_change change;
	struct tree_diff diff;
	size_t room = 0, kept = 0;
	int rc;

	rc = rx->base_tree ? 0 : tree_from_entries(NULL, 0, &empty);
	if (rc != 0)
		return -ENOMEM;
	tree_diff_init(&diff, rx->base_tree ? rx->base_tree : empty, rx->tree);
	while (tree_diff_next(&diff, &change)) {
		struct wanted *wanted;

		if (!change.to || change.to->type != ENTRY_FILE)
			continue;
		if (rx->wanted_count == room) {
			room = room ? room * 2 : 16;
			wanted = realloc(rx->wanted, room * sizeof(*wanted));
			if (!wanted) {
				tree_free(empty);
				return -ENOMEM;
			}
			rx->wanted = wanted;
		}
		wanted = &rx->wanted[rx->wanted_count++];
		memcpy(wanted->hash, change.to->hash, SESSION_HASH_BYTES);
		wanted->size = change.to->size;
		wanted->held = false;
	}
	tree_free(empty);
	if (rx->wanted_count == 0)
		return 0;
	qsort(rx->wanted, rx->wanted_count, sizeof(*rx->wanted), compare_wanted);
	for (size_t i = 0; i < rx->wanted_count; i++) {
		if (kept > 0 && compare_wanted(&rx->wanted[kept - 1], &rx->wanted[i]) == 0)
			continue;
		rx->wanted[kept] = rx->wanted[i];
		rx->wanted[kept].held = rx->port.has_object(rx->port.ctx, rx->wanted[i].hash);
		kept++;
	}
	rx->wanted_count = kept;
	rx->missing_before = SIZE_MAX;
	return 0;
}

static int build_tree(struct transfer_rx *rx)
{
	const struct entry *bad = NULL;
	struct tree *tree = NULL;
	enum entry_verdict verdict;
	char text[400];
	int rc = tree_apply(rx->base_tree, (const char *const *)rx->removed, rx->removed_count,
			    rx->puts->entries, rx->puts->count, &tree);

	if (rc < 0)
		return host_failed(rx, rc, "a manifest");
	if (rc > 0)
		return peer_wrong(rx, "the manifest", entry_verdict_text((enum entry_verdict)rc));
	rx->tree = tree;
	verdict = tree_check_paths(tree, rx->paths, rx->paths_count, &bad);
	if (verdict != ENTRY_OK) {
		snprintf(text, sizeof(text), "%.300s: %s", bad ? bad->path : "?",
			 entry_verdict_text(verdict));
		return peer_wrong(rx, "the manifest", text);
	}
	if (tree->count != rx->tree_count)
		return peer_wrong(rx, "the manifest has another number of entries than announced",
				  NULL);
	if (memcmp(tree->hash, rx->generation.tree, ENTRY_HASH_BYTES) != 0)
		return peer_wrong(
			rx, "the manifest does not have the hash that its generation names", NULL);
	rc = list_wanted(rx);
	return rc < 0 ? host_failed(rx, rc, "a manifest") : 0;
}

/* ---- contents ---- */

static int scratch(const struct transfer_rx *rx, uint64_t size)
{
	int fd;

	if (rx->port.tmp_dirfd >= 0 && size > MEMORY_BYTES_MAX)
		fd = openat(rx->port.tmp_dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	else
		fd = memfd_create("transfer", MFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int append(int fd, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, bytes, size);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		bytes += n;
		size -= (size_t)n;
	}
	return 0;
}

static void end_incoming(struct transfer_rx *rx)
{
	if (rx->incoming.fd >= 0)
		close(rx->incoming.fd);
	rx->incoming = (struct incoming){.fd = -1};
}

/* All pieces are here. */
static int finish_object(struct transfer_rx *rx)
{
	struct incoming *in = &rx->incoming;
	int base_fd = -1, out_fd, rc;

	if (in->wanted->held)
		return 0;
	if (in->first.encoding == SESSION_DELTA) {
		base_fd = rx->port.open_object(rx->port.ctx, in->first.base);
		if (base_fd < 0)
			return 0; /* it stays missing, and is asked for whole */
	}
	out_fd = scratch(rx, in->first.object_size);
	if (out_fd < 0) {
		if (base_fd >= 0)
			close(base_fd);
		return host_failed(rx, out_fd, "an object cannot be stored");
	}
	rc = delta_decode((enum session_encoding)in->first.encoding, base_fd, in->fd, out_fd,
			  in->first.object_size, in->first.object);
	if (rc == 0) {
		(void)lseek(out_fd, 0, SEEK_SET);
		rc = rx->port.add_object(rx->port.ctx, in->first.object, out_fd,
					 in->first.object_size);
		in->wanted->held = rc == 0;
	}
	if (base_fd >= 0)
		close(base_fd);
	close(out_fd);
	/* A delta that goes wrong may do so for the base's sake, which may be damaged here: then it
	 * comes whole. */
	if (rc > 0 && in->first.encoding == SESSION_DELTA)
		return 0;
	if (rc > 0)
		return peer_wrong(rx, "an object", delta_verdict_text((enum delta_verdict)rc));
	return rc < 0 ? host_failed(rx, rc, "an object cannot be stored") : 0;
}

static int begin_object(struct transfer_rx *rx, const struct session_content *content)
{
	struct wanted *wanted = find_wanted(rx, content->object);
	int fd;

	if (!wanted)
		return peer_wrong(rx, "content comes that the manifest does not name", NULL);
	if (wanted->size != content->object_size)
		return peer_wrong(rx, "content comes with another size than in the manifest", NULL);
	if (content->offset != 0)
		return peer_wrong(rx, "content begins in the middle", NULL);
	fd = scratch(rx, content->encoded_size);
	if (fd < 0)
		return host_failed(rx, fd, "an object cannot be stored");
	rx->incoming = (struct incoming){.active = true, .first = *content, .fd = fd};
	rx->incoming.wanted = wanted;
	return 0;
}

static int take_content(struct transfer_rx *rx, const struct session_content *content)
{
	struct incoming *in = &rx->incoming;
	int rc = 0;

	if (!rx->tree)
		rc = build_tree(rx);
	if (rc == 0 && !in->active)
		rc = begin_object(rx, content);
	else if (rc == 0 && (memcmp(in->first.object, content->object, SESSION_HASH_BYTES) != 0 ||
			     content->offset != in->received ||
			     content->encoded_size != in->first.encoded_size ||
			     content->encoding != in->first.encoding ||
			     content->object_size != in->first.object_size))
		rc = peer_wrong(rx, "the pieces of an object do not follow each other", NULL);
	if (rc < 0)
		return rc;
	rc = append(in->fd, content->bytes, content->size);
	if (rc < 0)
		return host_failed(rx, rc, "an object cannot be stored");
	in->received += content->size;
	if (in->received < in->first.encoded_size)
		return 0;
	rc = finish_object(rx);
	end_incoming(rx);
	return rc;
}

int transfer_rx_frame(struct transfer_rx *rx, const struct session_frame *frame)
{
	switch (frame->type) {
	case SESSION_ENTRIES:
		return take_entries(rx, &frame->entries);
	case SESSION_CONTENT:
		return take_content(rx, &frame->content);
	default:
		return peer_wrong(rx, "a frame that is no part of a transfer", NULL);
	}
}

int transfer_rx_end(struct transfer_rx *rx, struct tree **ret_tree, const uint8_t **ret_missing,
		    size_t *ret_missing_count)
{
	size_t count = 0;
	int rc = rx->tree ? 0 : build_tree(rx);

	if (rc < 0)
		return rc;
	if (rx->incoming.active)
		return peer_wrong(rx, "the transfer ends in the middle of an object", NULL);
	for (size_t i = 0; i < rx->wanted_count; i++)
		count += !rx->wanted[i].held;
	if (count == 0) {
		*ret_tree = tree_ref(rx->tree);
		return 0;
	}
	/* Asked for, and nothing of it came: it will not come the next time either. */
	if (count >= rx->missing_before)
		return peer_wrong(rx, "the objects that were asked for did not come", NULL);
	rx->missing_before = count;
	free(rx->missing);
	rx->missing = malloc(count * SESSION_HASH_BYTES);
	if (!rx->missing)
		return host_failed(rx, -ENOMEM, "a manifest");
	count = 0;
	for (size_t i = 0; i < rx->wanted_count; i++) {
		if (!rx->wanted[i].held)
			memcpy(rx->missing + SESSION_HASH_BYTES * count++, rx->wanted[i].hash,
			       SESSION_HASH_BYTES);
	}
	*ret_missing = rx->missing;
	*ret_missing_count = count;
	return -EAGAIN;
}

const char *transfer_rx_why(const struct transfer_rx *rx)
{
	return rx->why;
}

struct transfer_rx *transfer_rx_free(struct transfer_rx *rx)
{
	if (!rx)
		return NULL;
	end_incoming(rx);
	tree_free(rx->base_tree);
	tree_free(rx->puts);
	tree_free(rx->tree);
	for (size_t i = 0; i < rx->removed_count; i++)
		free(rx->removed[i]);
	free(rx->removed);
	free(rx->wanted);
	free(rx->missing);
	free(rx);
	return NULL;
}
