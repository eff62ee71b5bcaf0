/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/delta.h"

#include <errno.h>
#include <fcntl.h>
#include <librsync.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

/* librsync is slow below 32 KiB; one buffer in, one out. */
#define BUFFER_BYTES (64 * 1024)
/* What is larger grows on disk, where there is one. */
#define MEMORY_BYTES_MAX (4ull * 1024 * 1024)
#define BLOCK_BYTES_MIN 32
#define ZSTD_LEVEL 3
/* Bounds the decoder's memory at 8 MiB whatever the frame says; level 3 needs 2 MiB. */
#define ZSTD_WINDOW_LOG_MAX 23

static void no_trace(rs_loglevel level, const char *text)
{
	(void)level;
	(void)text;
}

void delta_init(void)
{
	rs_trace_to(no_trace);
	rs_trace_set_level(RS_LOG_EMERG);
}

/* ---- bytes in, bytes out ---- */

struct source {
	int fd;
	uint64_t at;
	bool ended;
};

/* Bytes read, 0 at the end, -errno. */
static ssize_t source_read(struct source *source, void *bytes, size_t room)
{
	ssize_t n;

	do
		n = pread(source->fd, bytes, room, (off_t)source->at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	source->at += (uint64_t)n;
	source->ended = n == 0;
	return n;
}

/* Takes up to room_left bytes; more is DELTA_TOO_LONG. */
struct sink {
	int fd; /* -1: memory */
	uint64_t room_left;
	EVP_MD_CTX *md; /* or NULL */
	uint8_t *memory;
	size_t memory_size, memory_room;
};

static int sink_memory(struct sink *sink, const uint8_t *bytes, size_t size)
{
	if (size > sink->memory_room - sink->memory_size) {
		size_t room = sink->memory_room ? sink->memory_room * 2 : BUFFER_BYTES;
		uint8_t *memory;

		while (room < sink->memory_size + size)
			room *= 2;
		memory = realloc(sink->memory, room);
		if (!memory)
			return -ENOMEM;
		sink->memory = memory;
		sink->memory_room = room;
	}
	memcpy(sink->memory + sink->memory_size, bytes, size);
	sink->memory_size += size;
	return 0;
}

static int sink_put(struct sink *sink, const uint8_t *bytes, size_t size)
{
	if (size > sink->room_left)
		return DELTA_TOO_LONG;
	sink->room_left -= size;
	if (size == 0)
		return 0;
	if (sink->md && EVP_DigestUpdate(sink->md, bytes, size) != 1)
		return -ENOMEM;
	if (sink->fd < 0)
		return sink_memory(sink, bytes, size);
	while (size > 0) {
		ssize_t n = write(sink->fd, bytes, size);

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

/* ---- librsync ---- */

/* Feeds a job from source until it is done. What it leaves unread is moved to the front: how much
 * that is differs between releases. */
static int job_run(rs_job_t *job, struct source *source, struct sink *sink)
{
	uint8_t *in = malloc(BUFFER_BYTES), *out = malloc(BUFFER_BYTES);
	size_t in_size = 0;
	rs_result result;
	int rc = in && out ? 0 : -ENOMEM;

	while (rc == 0) {
		rs_buffers_t buffers = {0};
		size_t used, made;

		while (!source->ended && in_size < BUFFER_BYTES) {
			ssize_t n = source_read(source, in + in_size, BUFFER_BYTES - in_size);

			if (n < 0) {
				rc = (int)n;
				goto out;
			}
			in_size += (size_t)n;
		}
		buffers.next_in = (char *)in;
		buffers.avail_in = in_size;
		buffers.eof_in = source->ended;
		buffers.next_out = (char *)out;
		buffers.avail_out = BUFFER_BYTES;
		result = rs_job_iter(job, &buffers);
		used = in_size - buffers.avail_in;
		made = BUFFER_BYTES - buffers.avail_out;
		rc = sink_put(sink, out, made);
		if (rc != 0)
			break;
		memmove(in, in + used, in_size - used);
		in_size -= used;
		if (result == RS_DONE)
			break;
		if (result == RS_MEM_ERROR)
			rc = -ENOMEM;
		else if (result != RS_BLOCKED)
			rc = DELTA_MALFORMED;
		else if (used == 0 && made == 0)
			rc = DELTA_MALFORMED; /* it will never go on */
	}
	/* A job that is done before its input is: bytes behind the end. */
	if (rc == 0 && (in_size > 0 || !source->ended)) {
		uint8_t more;

		if (in_size > 0 || source_read(source, &more, 1) > 0)
			rc = DELTA_MALFORMED;
	}
out:
	free(in);
	free(out);
	return rc;
}

/* The signature of a base, loaded and indexed. The sums never leave this process, so they are as
 * long as they can be: a match is a match. */
static int signature_of(int base_fd, uint64_t base_size, rs_signature_t **ret_signature)
{
	struct sink sums = {.fd = -1, .room_left = UINT64_MAX};
	struct source source = {.fd = base_fd};
	rs_magic_number magic = RS_RK_BLAKE2_SIG_MAGIC;
	size_t block_bytes = 0, strong_bytes = 0;
	rs_signature_t *signature = NULL;
	rs_job_t *job;
	int rc;

	if (rs_sig_args((rs_long_t)base_size, &magic, &block_bytes, &strong_bytes) != RS_DONE)
		return -EINVAL;
	/* librsync balances what the signature costs on the wire; here it costs nothing there, so
	 * small blocks: they find more. Up to 1024 of them before they grow. */
	if (base_size / 1024 < block_bytes)
		block_bytes = base_size / 1024 > BLOCK_BYTES_MIN ? (size_t)base_size / 1024
								 : BLOCK_BYTES_MIN;
	job = rs_sig_begin(block_bytes, strong_bytes, magic);
	rc = job_run(job, &source, &sums);
	rs_job_free(job);
	if (rc == 0) {
		rs_buffers_t buffers = {
			.next_in = (char *)sums.memory, .avail_in = sums.memory_size, .eof_in = 1};
		rs_result result;

		job = rs_loadsig_begin(&signature);
		result = rs_job_iter(job, &buffers);
		rs_job_free(job);
		if (result != RS_DONE || rs_build_hash_table(signature) != RS_DONE)
			rc = -ENOMEM;
	}
	free(sums.memory);
	if (rc != 0 && signature)
		rs_free_sumset(signature);
	else if (rc == 0)
		*ret_signature = signature;
	return rc;
}

static int encode_delta(int base_fd, uint64_t base_size, int new_fd, struct sink *sink)
{
	struct source source = {.fd = new_fd};
	rs_signature_t *signature = NULL;
	rs_job_t *job;
	int rc = signature_of(base_fd, base_size, &signature);

	if (rc != 0)
		return rc;
	job = rs_delta_begin(signature);
	rc = job_run(job, &source, sink);
	rs_job_free(job);
	rs_free_sumset(signature);
	return rc;
}

struct patch_base {
	int fd;
	int error;
};

static rs_result patch_copy(void *opaque, rs_long_t at, size_t *size, void **buffer)
{
	struct patch_base *base = opaque;
	ssize_t n;

	if (at < 0)
		return RS_INPUT_ENDED;
	do
		n = pread(base->fd, *buffer, *size, (off_t)at);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		base->error = -errno;
		return RS_IO_ERROR;
	}
	if (n == 0)
		return RS_INPUT_ENDED;
	*size = (size_t)n;
	return RS_DONE;
}

static int decode_delta(int base_fd, struct source *source, struct sink *sink)
{
	struct patch_base base = {.fd = base_fd};
	rs_job_t *job;
	int rc;

	if (base_fd < 0)
		return DELTA_NO_BASE;
	job = rs_patch_begin(patch_copy, &base);
	rc = job_run(job, source, sink);
	rs_job_free(job);
	return base.error != 0 && base.error != -EINVAL ? base.error : rc;
}

/* ---- zstd ---- */

static int encode_zstd(int new_fd, uint64_t new_size, struct sink *sink)
{
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	struct source source = {.fd = new_fd};
	uint8_t *in = malloc(BUFFER_BYTES), *out = malloc(BUFFER_BYTES);
	int rc = 0;

	if (!ctx || !in || !out) {
		rc = -ENOMEM;
		goto out;
	}
	ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, ZSTD_LEVEL);
	ZSTD_CCtx_setPledgedSrcSize(ctx, new_size);
	for (bool done = false; !done;) {
		ssize_t n = source_read(&source, in, BUFFER_BYTES);
		ZSTD_inBuffer from = {in, n > 0 ? (size_t)n : 0, 0};
		ZSTD_EndDirective mode = n == 0 ? ZSTD_e_end : ZSTD_e_continue;
		size_t left;

		if (n < 0) {
			rc = (int)n;
			goto out;
		}
		do {
			ZSTD_outBuffer to = {out, BUFFER_BYTES, 0};

			left = ZSTD_compressStream2(ctx, &to, &from, mode);
			if (ZSTD_isError(left)) {
				/* The file has changed its size under us, or no memory. */
				rc = -EAGAIN;
				goto out;
			}
			rc = sink_put(sink, out, to.pos);
			if (rc != 0)
				goto out;
		} while (mode == ZSTD_e_end ? left != 0 : from.pos < from.size);
		done = mode == ZSTD_e_end;
	}
out:
	ZSTD_freeCCtx(ctx);
	free(in);
	free(out);
	return rc;
}

static int decode_zstd(struct source *source, struct sink *sink)
{
	ZSTD_DCtx *ctx = ZSTD_createDCtx();
	uint8_t *in = malloc(BUFFER_BYTES), *out = malloc(BUFFER_BYTES);
	size_t left = 1; /* 0: the frame is complete */
	int rc = 0;

	if (!ctx || !in || !out) {
		rc = -ENOMEM;
		goto out;
	}
	ZSTD_DCtx_setParameter(ctx, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
	for (;;) {
		ssize_t n = source_read(source, in, BUFFER_BYTES);
		ZSTD_inBuffer from = {in, n > 0 ? (size_t)n : 0, 0};
		ZSTD_outBuffer to;

		if (n < 0) {
			rc = (int)n;
			break;
		}
		if (n == 0) {
			rc = left == 0 ? 0 : DELTA_MALFORMED;
			break;
		}
		do {
			if (left == 0 && from.pos < from.size) {
				rc = DELTA_MALFORMED; /* bytes behind the frame */
				goto out;
			}
			to = (ZSTD_outBuffer){out, BUFFER_BYTES, 0};
			left = ZSTD_decompressStream(ctx, &to, &from);
			if (ZSTD_isError(left)) {
				rc = DELTA_MALFORMED;
				goto out;
			}
			rc = sink_put(sink, out, to.pos);
			if (rc != 0)
				goto out;
		} while (from.pos < from.size || to.pos == to.size);
	}
out:
	ZSTD_freeDCtx(ctx);
	free(in);
	free(out);
	return rc;
}

static int decode_raw(struct source *source, struct sink *sink)
{
	uint8_t *bytes = malloc(BUFFER_BYTES);
	ssize_t n = -ENOMEM;
	int rc = 0;

	while (bytes && rc == 0 && (n = source_read(source, bytes, BUFFER_BYTES)) > 0)
		rc = sink_put(sink, bytes, (size_t)n);
	free(bytes);
	return n < 0 ? (int)n : rc;
}

/* ---- what is smallest ---- */

static int scratch(int tmp_dirfd, uint64_t size_max)
{
	int fd;

	if (tmp_dirfd >= 0 && size_max > MEMORY_BYTES_MAX)
		fd = openat(tmp_dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	else
		fd = memfd_create("delta", MFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int regular_size(int fd, uint64_t *ret_size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

/* Tries one encoding that must come out smaller than best; replaces best if it does. */
static int try_encoding(enum session_encoding encoding, int base_fd, uint64_t base_size, int new_fd,
			uint64_t new_size, int tmp_dirfd, struct delta_encoded *best)
{
	struct sink sink = {.room_left = best->size - 1};
	int rc;

	sink.fd = scratch(tmp_dirfd, best->size);
	if (sink.fd < 0)
		return sink.fd;
	if (encoding == SESSION_DELTA)
		rc = encode_delta(base_fd, base_size, new_fd, &sink);
	else
		rc = encode_zstd(new_fd, new_size, &sink);
	if (rc == 0) {
		if (best->fd >= 0)
			close(best->fd);
		best->fd = sink.fd;
		best->size = best->size - 1 - sink.room_left;
		best->encoding = encoding;
		return 0;
	}
	close(sink.fd);
	/* Larger than what there is already: no failure. */
	return rc == DELTA_TOO_LONG ? 0 : rc < 0 ? rc : -EIO;
}

int delta_encode(int base_fd, int new_fd, int tmp_dirfd, struct delta_encoded *ret_encoded)
{
	struct delta_encoded best = {.encoding = SESSION_RAW, .fd = -1};
	uint64_t new_size = 0, base_size = 0;
	int rc = regular_size(new_fd, &new_size);

	if (rc == 0 && base_fd >= 0)
		rc = regular_size(base_fd, &base_size);
	if (rc < 0)
		return rc;
	best.size = new_size;
	if (new_size > DELTA_WHOLE_RAW_MAX) {
		/* The delta first: it is usually far smaller, and stops zstd early then. */
		if (base_size > 0 && base_size <= DELTA_BASE_BYTES_MAX &&
		    new_size <= DELTA_BASE_BYTES_MAX)
			rc = try_encoding(SESSION_DELTA, base_fd, base_size, new_fd, new_size,
					  tmp_dirfd, &best);
		if (rc == 0)
			rc = try_encoding(SESSION_ZSTD, -1, 0, new_fd, new_size, tmp_dirfd, &best);
	}
	if (rc == 0 && best.fd < 0) {
		best.fd = fcntl(new_fd, F_DUPFD_CLOEXEC, 0);
		if (best.fd < 0)
			rc = -errno;
	}
	if (rc < 0) {
		if (best.fd >= 0)
			close(best.fd);
		return rc;
	}
	*ret_encoded = best;
	return 0;
}

int delta_decode(enum session_encoding encoding, int base_fd, int in_fd, int out_fd,
		 uint64_t object_size, const uint8_t object[SESSION_HASH_BYTES])
{
	struct sink sink = {.fd = out_fd, .room_left = object_size, .md = EVP_MD_CTX_new()};
	struct source source = {.fd = in_fd};
	uint8_t hash[EVP_MAX_MD_SIZE];
	unsigned hash_size = 0;
	int rc = -ENOMEM;

	if (!sink.md || EVP_DigestInit_ex(sink.md, EVP_sha256(), NULL) != 1)
		goto out;
	switch (encoding) {
	case SESSION_RAW:
		rc = decode_raw(&source, &sink);
		break;
	case SESSION_ZSTD:
		rc = decode_zstd(&source, &sink);
		break;
	case SESSION_DELTA:
		rc = decode_delta(base_fd, &source, &sink);
		break;
	case SESSION_ENCODINGS:
		rc = DELTA_MALFORMED;
	}
	if (rc != 0)
		goto out;
	if (sink.room_left > 0)
		rc = DELTA_TOO_SHORT;
	else if (EVP_DigestFinal_ex(sink.md, hash, &hash_size) != 1)
		rc = -ENOMEM;
	else if (hash_size != SESSION_HASH_BYTES ||
		 CRYPTO_memcmp(hash, object, SESSION_HASH_BYTES) != 0)
		rc = DELTA_WRONG_HASH;
out:
	EVP_MD_CTX_free(sink.md);
	return rc;
}

static const char *const verdict_texts[DELTA_VERDICTS] = {
	[DELTA_OK] = "nothing is wrong",
	[DELTA_MALFORMED] = "the content is not in the encoding that was announced",
	[DELTA_TOO_LONG] = "more content comes out than was announced",
	[DELTA_TOO_SHORT] = "less content comes out than was announced",
	[DELTA_WRONG_HASH] = "the content does not have the hash that was announced",
	[DELTA_NO_BASE] = "the content that a delta builds on is not held here",
};

const char *delta_verdict_text(enum delta_verdict verdict)
{
	return (unsigned)verdict < DELTA_VERDICTS ? verdict_texts[verdict] : "?";
}
