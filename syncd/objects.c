/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/objects.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/durable.h"

#define COPY_BYTES (256 * 1024)
#define HEX_BYTES (2 * ENTRY_HASH_BYTES)
#define NAME_BYTES (3 + HEX_BYTES + 1) /* "ab/" and the hex digits */
#define TEMP_DIR "tmp"
/* A handful of files is made durable one by one; of more the whole file system is told at once. */
#define SYNC_SINGLE_MAX 16

struct objects {
	int dir_fd;
	int temp_fd;
	unsigned long temp_next;
	uint8_t pending[SYNC_SINGLE_MAX][ENTRY_HASH_BYTES]; /* added, not yet durable */
	unsigned pending_count;				    /* may exceed the array: then all */
	uint8_t *buffer;
};

/* A file that has no name yet. */
struct writer {
	struct objects *objects;
	int fd;
	char name[32];
};

static void name_of(const uint8_t hash[ENTRY_HASH_BYTES], char name[NAME_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	char *at = name;
	*at++ = digits[hash[0] >> 4];
	*at++ = digits[hash[0] & 15];
	*at++ = '/';
	for (int i = 0; i < ENTRY_HASH_BYTES; i++) {
		*at++ = digits[hash[i] >> 4];
		*at++ = digits[hash[i] & 15];
	}
	*at = '\0';
}

static bool hash_of(const char *hex, uint8_t ret_hash[ENTRY_HASH_BYTES])
{
	if (strlen(hex) != HEX_BYTES || strspn(hex, "0123456789abcdef") != HEX_BYTES)
		return false;
	for (int i = 0; i < ENTRY_HASH_BYTES; i++) {
		unsigned value;
		sscanf(hex + (ptrdiff_t)2 * i, "%2x", &value);
		ret_hash[i] = (uint8_t)value;
	}
	return true;
}

/* What an earlier process left in the middle of writing has no name that anybody refers to. */
static void empty_temp(int temp_fd)
{
	int fd = openat(temp_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (struct dirent *e; (e = readdir(dir));)
		if (e->d_name[0] != '.')
			unlinkat(temp_fd, e->d_name, 0);
	closedir(dir);
}

int objects_open(const char *state_dir, struct objects **ret_objects, struct fault *fault)
{
	char path[4096];
	int rc;
	struct objects *objects = calloc(1, sizeof *objects);
	if (!objects)
		return fault_set(fault, -ENOMEM, "cannot open the object store");
	objects->dir_fd = objects->temp_fd = -1;
	objects->buffer = malloc(COPY_BYTES);
	snprintf(path, sizeof path, "%s/objects/" TEMP_DIR, state_dir);
	rc = objects->buffer ? durable_mkdir(path, 0700) : -ENOMEM;
	if (rc == 0) {
		objects->temp_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = objects->temp_fd < 0 ? -errno : 0;
	}
	if (rc == 0) {
		path[strlen(path) - sizeof TEMP_DIR] = '\0';
		objects->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = objects->dir_fd < 0 ? -errno : 0;
	}
	/* Private keys lie here: nobody else may even look, whatever the umask was. */
	if (rc == 0 && fchmod(objects->dir_fd, 0700) < 0)
		rc = -errno;
	if (rc < 0) {
		objects_free(objects);
		return fault_set(fault, rc, "%s: cannot open the object store", path);
	}
	empty_temp(objects->temp_fd);
	*ret_objects = objects;
	return 0;
}

struct objects *objects_free(struct objects *objects)
{
	if (!objects)
		return NULL;
	if (objects->dir_fd >= 0)
		close(objects->dir_fd);
	if (objects->temp_fd >= 0)
		close(objects->temp_fd);
	free(objects->buffer);
	free(objects);
	return NULL;
}

/* ---- hashing ---- */

static EVP_MD_CTX *hash_begin(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	if (ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(ctx);
		ctx = NULL;
	}
	return ctx;
}

static ssize_t read_some(int fd, void *buffer, size_t size)
{
	ssize_t n;
	do
		n = read(fd, buffer, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Reads fd to its end into the hash, and writes it on to to_fd unless that is -1. *ret_write_failed
 * says on which side an error was. */
static int pump(int fd, int to_fd, uint64_t size_max, uint8_t *buffer, uint8_t *ret_hash,
		uint64_t *ret_size, bool *ret_write_failed)
{
	uint64_t total = 0;
	unsigned hash_size = ENTRY_HASH_BYTES;
	EVP_MD_CTX *ctx = hash_begin();
	int rc = ctx ? 0 : -ENOMEM;
	*ret_write_failed = false;
	while (rc == 0) {
		ssize_t n = read_some(fd, buffer, COPY_BYTES);
		if (n < 0)
			rc = (int)n;
		if (n <= 0)
			break;
		total += (uint64_t)n;
		if (total > size_max)
			rc = -EFBIG;
		else if (EVP_DigestUpdate(ctx, buffer, (size_t)n) != 1)
			rc = -ENOMEM;
		else if (to_fd >= 0) {
			rc = durable_write_all(to_fd, buffer, (size_t)n);
			*ret_write_failed = rc < 0;
		}
	}
	if (rc == 0 && EVP_DigestFinal_ex(ctx, ret_hash, &hash_size) != 1)
		rc = -ENOMEM;
	EVP_MD_CTX_free(ctx);
	if (rc == 0 && ret_size)
		*ret_size = total;
	return rc;
}

int objects_hash_fd(int fd, uint64_t size_max, uint8_t ret_hash[ENTRY_HASH_BYTES],
		    uint64_t *ret_size)
{
	bool write_failed;
	uint8_t *buffer = malloc(COPY_BYTES);
	if (!buffer)
		return -ENOMEM;
	int rc = pump(fd, -1, size_max, buffer, ret_hash, ret_size, &write_failed);
	free(buffer);
	return rc;
}

/* ---- looking up ---- */

bool objects_have(struct objects *objects, const uint8_t hash[ENTRY_HASH_BYTES])
{
	char name[NAME_BYTES];
	name_of(hash, name);
	return faccessat(objects->dir_fd, name, F_OK, 0) == 0;
}

int objects_get(struct objects *objects, const uint8_t hash[ENTRY_HASH_BYTES], int *ret_fd,
		uint64_t *ret_size)
{
	char name[NAME_BYTES];
	struct stat st;
	name_of(hash, name);
	int fd = openat(objects->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EIO;
	}
	*ret_fd = fd;
	if (ret_size)
		*ret_size = (uint64_t)st.st_size;
	return 0;
}

int objects_read(struct objects *objects, const uint8_t hash[ENTRY_HASH_BYTES], size_t size_max,
		 uint8_t **ret_data, size_t *ret_size)
{
	int fd;
	uint64_t size;
	int rc = objects_get(objects, hash, &fd, &size);
	if (rc < 0)
		return rc;
	uint8_t *data = NULL;
	if (size > size_max)
		rc = -EFBIG;
	else if (!(data = malloc((size_t)size + 1)))
		rc = -ENOMEM;
	size_t at = 0;
	while (rc == 0 && at < size) {
		ssize_t n = read_some(fd, data + at, (size_t)size - at);
		if (n <= 0)
			rc = n < 0 ? (int)n : -EIO;
		else
			at += (size_t)n;
	}
	close(fd);
	if (rc < 0) {
		free(data);
		return rc;
	}
	data[size] = '\0';
	*ret_data = data;
	*ret_size = (size_t)size;
	return 0;
}

/* ---- adding ---- */

static void remember_pending(struct objects *objects, const uint8_t hash[ENTRY_HASH_BYTES])
{
	if (objects->pending_count < SYNC_SINGLE_MAX)
		memcpy(objects->pending[objects->pending_count], hash, ENTRY_HASH_BYTES);
	objects->pending_count++;
}

static int begin(struct writer *writer, struct objects *objects, struct fault *fault)
{
	writer->objects = objects;
	snprintf(writer->name, sizeof writer->name, "%lu", objects->temp_next++);
	writer->fd = openat(objects->temp_fd, writer->name,
			    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return writer->fd < 0 ? fault_set(fault, -errno, "cannot write into the object store") : 0;
}

/* What was not placed goes. */
static void end(struct writer *writer)
{
	unlinkat(writer->objects->temp_fd, writer->name, 0);
	close(writer->fd);
}

/* Gives a whole file its name. One that is there already stays: same hash, same content. */
static int place(struct writer *writer, const uint8_t hash[ENTRY_HASH_BYTES])
{
	struct objects *objects = writer->objects;
	char name[NAME_BYTES], dir[3];
	name_of(hash, name);
	memcpy(dir, name, 2);
	dir[2] = '\0';
	if (objects_have(objects, hash))
		return 0;
	if (renameat(objects->temp_fd, writer->name, objects->dir_fd, name) == 0)
		return remember_pending(objects, hash), 0;
	if (errno != ENOENT)
		return -errno;
	if (mkdirat(objects->dir_fd, dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (renameat(objects->temp_fd, writer->name, objects->dir_fd, name) < 0)
		return -errno;
	remember_pending(objects, hash);
	return 0;
}

int objects_add_memory(struct objects *objects, const void *data, size_t size,
		       uint8_t ret_hash[ENTRY_HASH_BYTES], struct fault *fault)
{
	uint8_t hash[ENTRY_HASH_BYTES];
	unsigned hash_size = sizeof hash;
	struct writer writer;
	if (EVP_Digest(data, size, hash, &hash_size, EVP_sha256(), NULL) != 1)
		return fault_set(fault, -ENOMEM, "cannot hash");
	if (!objects_have(objects, hash)) {
		int rc = begin(&writer, objects, fault);
		if (rc < 0)
			return rc;
		rc = durable_write_all(writer.fd, data, size);
		if (rc == 0)
			rc = place(&writer, hash);
		end(&writer);
		if (rc < 0)
			return fault_set(fault, rc, "cannot write into the object store");
	}
	memcpy(ret_hash, hash, sizeof hash);
	return 0;
}

int objects_add_fd(struct objects *objects, int fd, uint64_t size_max,
		   uint8_t ret_hash[ENTRY_HASH_BYTES], uint64_t *ret_size, struct fault *fault)
{
	/* A small file, which nearly all are, is read once and written only if it is new. */
	size_t at = 0;
	while (at < COPY_BYTES) {
		ssize_t n = read_some(fd, objects->buffer + at, COPY_BYTES - at);
		if (n < 0)
			return fault_set(fault, (int)n, "cannot read");
		if (n == 0) {
			if (at > size_max)
				return fault_set(fault, -EFBIG, "cannot store");
			int rc = objects_add_memory(objects, objects->buffer, at, ret_hash, fault);
			if (rc == 0 && ret_size)
				*ret_size = at;
			return rc;
		}
		at += (size_t)n;
	}
	struct writer writer;
	uint8_t hash[ENTRY_HASH_BYTES];
	uint64_t size = 0;
	bool write_failed = false;
	int rc = lseek(fd, -(off_t)at, SEEK_CUR) < 0 ? fault_set(fault, -errno, "cannot read")
						     : begin(&writer, objects, fault);
	if (rc < 0)
		return rc;
	rc = pump(fd, writer.fd, size_max, objects->buffer, hash, &size, &write_failed);
	if (rc == 0) {
		write_failed = true;
		rc = place(&writer, hash);
	}
	end(&writer);
	if (rc < 0)
		return fault_set(fault, rc,
				 write_failed ? "cannot write into the object store"
					      : "cannot read");
	memcpy(ret_hash, hash, sizeof hash);
	if (ret_size)
		*ret_size = size;
	return 0;
}

/* ---- using ---- */

int objects_copy(struct objects *objects, const uint8_t hash[ENTRY_HASH_BYTES], int to_fd,
		 struct fault *fault)
{
	int fd;
	uint8_t found[ENTRY_HASH_BYTES];
	char name[NAME_BYTES];
	bool write_failed = false;
	name_of(hash, name);
	int rc = objects_get(objects, hash, &fd, NULL);
	if (rc < 0)
		return fault_set(fault, rc, "objects/%s: cannot read", name);
	rc = pump(fd, to_fd, UINT64_MAX, objects->buffer, found, NULL, &write_failed);
	close(fd);
	if (rc < 0 && write_failed)
		return fault_set(fault, rc, "cannot write");
	if (rc < 0)
		return fault_set(fault, rc, "objects/%s: cannot read", name);
	if (memcmp(found, hash, ENTRY_HASH_BYTES) == 0)
		return 0;
	/* Not what its name says: without it, it can be fetched again. */
	unlinkat(objects->dir_fd, name, 0);
	return fault_set(fault, -EBADMSG, "objects/%s was damaged, and has been dropped", name);
}

int objects_sync(struct objects *objects, struct fault *fault)
{
	int rc = 0;
	if (objects->pending_count == 0)
		return 0;
	if (objects->pending_count > SYNC_SINGLE_MAX) {
		rc = syncfs(objects->dir_fd) < 0 ? -errno : 0;
	} else {
		for (unsigned i = 0; i < objects->pending_count && rc == 0; i++) {
			int fd;
			char name[NAME_BYTES];
			rc = objects_get(objects, objects->pending[i], &fd, NULL);
			if (rc == -ENOENT) {
				rc = 0; /* collected or dropped since */
				continue;
			}
			if (rc < 0)
				break;
			if (fsync(fd) < 0)
				rc = -errno;
			close(fd);
			name_of(objects->pending[i], name);
			name[2] = '\0';
			fd = openat(objects->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (fd < 0 || fsync(fd) < 0)
				rc = rc ? rc : -errno;
			if (fd >= 0)
				close(fd);
		}
		if (rc == 0 && fsync(objects->dir_fd) < 0)
			rc = -errno;
	}
	/* After a failed fsync the pages count as clean: only a full pass can still be believed. */
	objects->pending_count = rc < 0 ? SYNC_SINGLE_MAX + 1 : 0;
	return rc < 0 ? fault_set(fault, rc, "cannot make the object store durable") : 0;
}

int64_t objects_collect(struct objects *objects, objects_keep_fn keep, void *ctx)
{
	int64_t gone = 0;
	for (unsigned i = 0; i < 256; i++) {
		char name[3];
		snprintf(name, sizeof name, "%02x", i);
		int fd = openat(objects->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			continue;
		DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
		if (!dir) {
			int rc = -errno;
			if (fd >= 0)
				close(fd);
			return rc;
		}
		for (struct dirent *e; (e = readdir(dir));) {
			uint8_t hash[ENTRY_HASH_BYTES];
			if (!hash_of(e->d_name, hash) || keep(ctx, hash))
				continue;
			if (unlinkat(dirfd(dir), e->d_name, 0) == 0)
				gone++;
		}
		closedir(dir);
	}
	return gone;
}
