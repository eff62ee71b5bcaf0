/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry: one line of a manifest: what stands at one path. Pure.
 *
 * An entry borrows its strings; whoever made it owns them (a struct tree owns those of its own).
 * Paths are absolute and in normal form. Their order is the order of their bytes with '/' lowest,
 * so that everything below a directory follows it directly.
 *
 * What makes two entries differ (entry_equal) is what a reader of the tree can see: type, mode,
 * owner, content, target. An mtime travels along but does not make a difference, and neither does
 * the number of an owner whose name is known, nor how the entry was last seen on this host.
 */
#ifndef TANDEM_SYNCD_ENTRY_H
#define TANDEM_SYNCD_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/wire.h"

#define ENTRY_HASH_BYTES 32	  /* SHA-256 */
#define ENTRY_PATH_BYTES_MAX 4095 /* PATH_MAX less its terminator */
#define ENTRY_NAME_BYTES_MAX 255  /* one component: NAME_MAX */
#define ENTRY_OWNER_BYTES_MAX 64  /* a user's or group's name; useradd(8) allows 32 */
#define ENTRY_DEPTH_MAX 128	  /* components; bounds what walks a tree */
#define ENTRY_FILE_BYTES_MAX (1ull << 32)
/* The longest encoding of one entry, see entry_encode(). */
#define ENTRY_ENCODED_BYTES_MAX                                                                    \
	(1 + 4 + 4 + 4 + 8 + 8 + ENTRY_HASH_BYTES + 4 * 2 + 2 * ENTRY_OWNER_BYTES_MAX +            \
	 2 * ENTRY_PATH_BYTES_MAX)
#define ENTRY_STAGE_NAME ".tandem-stage" /* our directory in each mount; never in a manifest */

enum entry_type { ENTRY_DIR = 1, ENTRY_FILE = 2, ENTRY_SYMLINK = 3 };

/* How this host last saw the entry. An unchanged sight means an unchanged entry, so that nothing is
 * hashed again, and so that what this host cannot represent (an unknown owner) does not make two
 * trees differ for ever. Never leaves the host. */
struct entry_seen {
	uint64_t ino; /* 0: never seen here */
	int64_t ctime_ns;
	int64_t mtime_ns;
	uint64_t size;
	uint32_t mode; /* st_mode, whole */
	uint32_t uid;
	uint32_t gid;
};

struct entry {
	const char *path; /* terminated */
	uint16_t path_size;
	uint8_t type; /* enum entry_type */
	uint32_t
		mode; /* permission bits; a directory may have setgid and sticky; 0777 for a link */
	uint32_t uid, gid;
	const char *owner; /* name, terminated; "": the number counts */
	const char *group;
	int64_t mtime_ns;
	uint64_t size;			/* files */
	uint8_t hash[ENTRY_HASH_BYTES]; /* files: of the content; directories: of what is in it,
					 * filled by tree_seal(); else zeros */
	const char *target;		/* links: terminated, as readlink(2) gives it; else "" */
	uint16_t target_size;
	struct entry_seen seen;
};

/* What can be wrong with an entry or a manifest. */
enum entry_verdict {
	ENTRY_OK,
	ENTRY_TRUNCATED, /* ends in the middle */
	ENTRY_TRAILING,	 /* goes on after its end */
	ENTRY_BAD_TYPE,
	ENTRY_BAD_PATH,	   /* relative, not in normal form, too long, too deep, a NUL */
	ENTRY_OUTSIDE,	   /* below none of the mirror's paths */
	ENTRY_STAGE_PATH,  /* names our own staging directory */
	ENTRY_BAD_MODE,	   /* setuid, or bits that this type may not have */
	ENTRY_BAD_OWNER,   /* a name that no account could have */
	ENTRY_BAD_SIZE,	   /* larger than a file may be, or a size on what has none */
	ENTRY_BAD_TARGET,  /* empty or too long a link, or a target on what has none */
	ENTRY_DISORDER,	   /* not sorted, or the same path twice */
	ENTRY_NO_PARENT,   /* its directory is not in the manifest, or is none */
	ENTRY_TOO_MANY,	   /* more entries than a manifest may have */
	ENTRY_TOO_LARGE,   /* more bytes than a manifest may have */
	ENTRY_BAD_VERSION, /* an encoding that this program does not know */
	ENTRY_VERDICTS
};

/* "outside the mirrored paths", ... */
const char *entry_verdict_text(enum entry_verdict verdict);
const char *entry_type_name(uint8_t type); /* "directory", "file", "symbolic link" */

/* memcmp's sign, '/' lowest. */
int entry_path_compare(const char *a, size_t a_size, const char *b, size_t b_size);
/* path is strictly below dir. */
bool entry_path_below(const char *path, size_t path_size, const char *dir, size_t dir_size);
/* The size of the path's directory part: of "/a/b" it is 2. 0 for "/a". */
size_t entry_path_parent(const char *path, size_t path_size);
/* ENTRY_OK, ENTRY_BAD_PATH or ENTRY_STAGE_PATH. */
enum entry_verdict entry_path_check(const char *path, size_t path_size);

/* Everything that can be said of one entry alone. */
enum entry_verdict entry_check(const struct entry *entry);
/* The same to a reader of the tree (see above). Paths must be equal, or are not looked at. */
bool entry_equal(const struct entry *a, const struct entry *b);
/* As entry_equal, for owner and mode alone. */
bool entry_attrs_equal(const struct entry *a, const struct entry *b);
/* As seen before: not a bit of the sight has changed. */
bool entry_seen_equal(const struct entry_seen *a, const struct entry_seen *b);
/* The entry that has exactly this path, by binary search; NULL if there is none. */
const struct entry *entry_find(const struct entry *entries, size_t count, const char *path,
			       size_t path_size);

/* The encoding: u8 type, string path, u32 mode, u32 uid, u32 gid, string owner, string group,
 * u64 mtime ns (two's complement), then for a file u64 size and 32 bytes of hash, for a link string
 * target. The writer's sticky failure tells that it was too long. */
void entry_encode(struct wire_writer *writer, const struct entry *entry);
/* Decodes and checks (entry_check). Strings are not terminated in the encoding, so they are copied
 * into the caller's buffer, which must outlive the entry. */
struct entry_strings {
	char path[ENTRY_PATH_BYTES_MAX + 1];
	char target[ENTRY_PATH_BYTES_MAX + 1];
	char owner[ENTRY_OWNER_BYTES_MAX + 1];
	char group[ENTRY_OWNER_BYTES_MAX + 1];
};
enum entry_verdict entry_decode(struct wire_reader *reader, struct entry_strings *strings,
				struct entry *ret_entry);

#endif
