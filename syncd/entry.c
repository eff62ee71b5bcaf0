/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/entry.h"

#include <assert.h>
#include <string.h>

/* A core has no strlen; every string here has a ceiling, and none that we made exceeds it. */
static size_t text_size(const char *text, size_t size_max)
{
	const char *end = memchr(text, '\0', size_max + 1);
	return end ? (size_t)(end - text) : size_max + 1;
}

static bool text_equal(const char *a, const char *b, size_t size_max)
{
	size_t size = text_size(a, size_max);
	return size == text_size(b, size_max) && memcmp(a, b, size) == 0;
}

const char *entry_verdict_text(enum entry_verdict verdict)
{
	switch (verdict) {
	case ENTRY_OK:
		return "well-formed";
	case ENTRY_TRUNCATED:
		return "ends in the middle";
	case ENTRY_TRAILING:
		return "goes on after its end";
	case ENTRY_BAD_TYPE:
		return "is neither a file nor a directory nor a symbolic link";
	case ENTRY_BAD_PATH:
		return "has a path that is not in normal form, or too long or too deep";
	case ENTRY_OUTSIDE:
		return "lies outside the mirrored paths";
	case ENTRY_STAGE_PATH:
		return "names tandem's own staging directory";
	case ENTRY_BAD_MODE:
		return "has a mode that is not replicated (setuid, or setgid or sticky on a file)";
	case ENTRY_BAD_OWNER:
		return "has an owner or group whose name no account can have";
	case ENTRY_BAD_SIZE:
		return "is larger than a mirrored file may be";
	case ENTRY_BAD_TARGET:
		return "has an empty or too long link target";
	case ENTRY_DISORDER:
		return "is out of order or there twice";
	case ENTRY_NO_PARENT:
		return "has no directory to stand in";
	case ENTRY_TOO_MANY:
		return "is one entry more than a mirror may have";
	case ENTRY_TOO_LARGE:
		return "makes the manifest larger than it may be";
	case ENTRY_BAD_VERSION:
		return "is encoded in a way that this version does not know";
	case ENTRY_VERDICTS:
		break;
	}
	assert(!"a verdict without words");
	return "";
}

const char *entry_type_name(uint8_t type)
{
	switch (type) {
	case ENTRY_DIR:
		return "directory";
	case ENTRY_FILE:
		return "file";
	case ENTRY_SYMLINK:
		return "symbolic link";
	default:
		return "unknown";
	}
}

int entry_path_compare(const char *a, size_t a_size, const char *b, size_t b_size)
{
	size_t shorter = a_size < b_size ? a_size : b_size;
	for (size_t i = 0; i < shorter; i++) {
		if (a[i] == b[i])
			continue;
		if (a[i] == '/')
			return -1;
		if (b[i] == '/')
			return 1;
		return (unsigned char)a[i] < (unsigned char)b[i] ? -1 : 1;
	}
	return a_size < b_size ? -1 : a_size > b_size;
}

bool entry_path_below(const char *path, size_t path_size, const char *dir, size_t dir_size)
{
	return path_size > dir_size && path[dir_size] == '/' && memcmp(path, dir, dir_size) == 0;
}

size_t entry_path_parent(const char *path, size_t path_size)
{
	while (path_size > 0 && path[path_size - 1] != '/')
		path_size--;
	return path_size > 0 ? path_size - 1 : 0;
}

enum entry_verdict entry_path_check(const char *path, size_t path_size)
{
	if (path_size < 2 || path_size > ENTRY_PATH_BYTES_MAX || path[0] != '/')
		return ENTRY_BAD_PATH;
	if (memchr(path, '\0', path_size))
		return ENTRY_BAD_PATH;
	unsigned depth = 0;
	for (size_t at = 0; at < path_size;) {
		const char *name = path + at + 1;
		size_t left = path_size - at - 1;
		const char *slash = left ? memchr(name, '/', left) : NULL;
		size_t size = slash ? (size_t)(slash - name) : left;
		if (size == 0 || size > ENTRY_NAME_BYTES_MAX || ++depth > ENTRY_DEPTH_MAX)
			return ENTRY_BAD_PATH;
		if (name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.')))
			return ENTRY_BAD_PATH;
		if (size == sizeof ENTRY_STAGE_NAME - 1 &&
		    memcmp(name, ENTRY_STAGE_NAME, size) == 0)
			return ENTRY_STAGE_PATH;
		at += 1 + size;
	}
	return ENTRY_OK;
}

/* What no account database could hold, or what would forge a line of a log. */
static bool owner_is_good(const char *name)
{
	size_t size = text_size(name, ENTRY_OWNER_BYTES_MAX);
	if (size > ENTRY_OWNER_BYTES_MAX)
		return false;
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)name[i];
		if (c <= ' ' || c == 0x7f || c == ':' || c == '/')
			return false;
	}
	return true;
}

enum entry_verdict entry_check(const struct entry *entry)
{
	static const uint8_t no_hash[ENTRY_HASH_BYTES];
	enum entry_verdict verdict = entry_path_check(entry->path, entry->path_size);
	if (verdict != ENTRY_OK)
		return verdict;
	switch (entry->type) {
	case ENTRY_DIR:
		if (entry->mode & ~03777u)
			return ENTRY_BAD_MODE;
		break;
	case ENTRY_FILE:
		if (entry->mode & ~0777u)
			return ENTRY_BAD_MODE;
		if (entry->size > ENTRY_FILE_BYTES_MAX)
			return ENTRY_BAD_SIZE;
		break;
	case ENTRY_SYMLINK:
		if (entry->mode != 0777u)
			return ENTRY_BAD_MODE;
		break;
	default:
		return ENTRY_BAD_TYPE;
	}
	if (entry->type != ENTRY_FILE && entry->size != 0)
		return ENTRY_BAD_SIZE;
	if (entry->type == ENTRY_SYMLINK) {
		if (entry->target_size == 0 || entry->target_size > ENTRY_PATH_BYTES_MAX ||
		    memchr(entry->target, '\0', entry->target_size))
			return ENTRY_BAD_TARGET;
		if (memcmp(entry->hash, no_hash, sizeof no_hash) != 0)
			return ENTRY_BAD_TARGET;
	} else if (entry->target_size != 0) {
		return ENTRY_BAD_TARGET;
	}
	if (!owner_is_good(entry->owner) || !owner_is_good(entry->group))
		return ENTRY_BAD_OWNER;
	return ENTRY_OK;
}

static bool owner_equal(const char *a_name, uint32_t a_id, const char *b_name, uint32_t b_id)
{
	if (a_name[0] == '\0' && b_name[0] == '\0')
		return a_id == b_id;
	return text_equal(a_name, b_name, ENTRY_OWNER_BYTES_MAX);
}

bool entry_attrs_equal(const struct entry *a, const struct entry *b)
{
	return a->mode == b->mode && owner_equal(a->owner, a->uid, b->owner, b->uid) &&
	       owner_equal(a->group, a->gid, b->group, b->gid);
}

bool entry_equal(const struct entry *a, const struct entry *b)
{
	if (a == b)
		return true;
	if (a->type != b->type || !entry_attrs_equal(a, b))
		return false;
	switch (a->type) {
	case ENTRY_FILE:
		return a->size == b->size && memcmp(a->hash, b->hash, ENTRY_HASH_BYTES) == 0;
	case ENTRY_SYMLINK:
		return a->target_size == b->target_size &&
		       memcmp(a->target, b->target, a->target_size) == 0;
	default:
		/* A directory's hash is about what is in it, which is told by other entries. */
		return true;
	}
}

bool entry_seen_equal(const struct entry_seen *a, const struct entry_seen *b)
{
	return a->ino != 0 && a->ino == b->ino && a->ctime_ns == b->ctime_ns &&
	       a->mtime_ns == b->mtime_ns && a->size == b->size && a->mode == b->mode &&
	       a->uid == b->uid && a->gid == b->gid;
}

const struct entry *entry_find(const struct entry *entries, size_t count, const char *path,
			       size_t path_size)
{
	size_t low = 0, high = count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = entry_path_compare(entries[middle].path, entries[middle].path_size,
					       path, path_size);
		if (order == 0)
			return &entries[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

void entry_encode(struct wire_writer *writer, const struct entry *entry)
{
	wire_put_u8(writer, entry->type);
	wire_put_string(writer, entry->path, entry->path_size);
	wire_put_u32(writer, entry->mode);
	wire_put_u32(writer, entry->uid);
	wire_put_u32(writer, entry->gid);
	wire_put_string(writer, entry->owner, text_size(entry->owner, ENTRY_OWNER_BYTES_MAX));
	wire_put_string(writer, entry->group, text_size(entry->group, ENTRY_OWNER_BYTES_MAX));
	wire_put_u64(writer, (uint64_t)entry->mtime_ns);
	if (entry->type == ENTRY_FILE) {
		wire_put_u64(writer, entry->size);
		wire_put_bytes(writer, entry->hash, ENTRY_HASH_BYTES);
	} else if (entry->type == ENTRY_SYMLINK) {
		wire_put_string(writer, entry->target, entry->target_size);
	}
}

/* A string into a terminated buffer. false: it does not fit; the reader's own failure is asked for
 * by the caller. */
static bool take_string(struct wire_reader *reader, char *text, size_t room, size_t *ret_size)
{
	size_t size = 0;
	const char *from = wire_get_string(reader, &size);
	*ret_size = 0;
	text[0] = '\0';
	if (!wire_reader_ok(reader))
		return true;
	if (size >= room)
		return false;
	if (size)
		memcpy(text, from, size);
	text[size] = '\0';
	*ret_size = size;
	return true;
}

enum entry_verdict entry_decode(struct wire_reader *reader, struct entry_strings *strings,
				struct entry *ret_entry)
{
	struct entry entry;
	size_t path_size, owner_size, group_size, target_size = 0;
	memset(&entry, 0, sizeof entry);
	entry.type = wire_get_u8(reader);
	if (wire_reader_ok(reader) && (entry.type < ENTRY_DIR || entry.type > ENTRY_SYMLINK))
		return ENTRY_BAD_TYPE;
	if (!take_string(reader, strings->path, sizeof strings->path, &path_size))
		return ENTRY_BAD_PATH;
	entry.mode = wire_get_u32(reader);
	entry.uid = wire_get_u32(reader);
	entry.gid = wire_get_u32(reader);
	if (!take_string(reader, strings->owner, sizeof strings->owner, &owner_size) ||
	    !take_string(reader, strings->group, sizeof strings->group, &group_size))
		return ENTRY_BAD_OWNER;
	entry.mtime_ns = (int64_t)wire_get_u64(reader);
	strings->target[0] = '\0';
	if (entry.type == ENTRY_FILE) {
		entry.size = wire_get_u64(reader);
		wire_get_bytes(reader, entry.hash, ENTRY_HASH_BYTES);
	} else if (entry.type == ENTRY_SYMLINK) {
		if (!take_string(reader, strings->target, sizeof strings->target, &target_size))
			return ENTRY_BAD_TARGET;
	}
	if (!wire_reader_ok(reader))
		return ENTRY_TRUNCATED;
	entry.path = strings->path;
	entry.path_size = (uint16_t)path_size;
	entry.owner = strings->owner;
	entry.group = strings->group;
	entry.target = strings->target;
	entry.target_size = (uint16_t)target_size;
	enum entry_verdict verdict = entry_check(&entry);
	if (verdict == ENTRY_OK)
		*ret_entry = entry;
	return verdict;
}
