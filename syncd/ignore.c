/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/ignore.h"

#include <fnmatch.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

/* Each of these was seen to appear beside a real file while somebody saved, upgraded or copied;
 * several of them match an `include dir/ *` and would be served by the peer. */
static const char *const debris[] = {
	IGNORE_STAGE_NAME,
	"4913",	   /* vim's probe for a writable directory */
	"*~",	   /* backups of vim, emacs and others */
	".*.sw?",  /* vim's swap files */
	".*.swpx", /* a second vim */
	".#*",	   /* emacs' locks */
	"#*#",	   /* emacs' auto-saves */
	".*.kate-swp",
	"*.dpkg-*", /* dpkg-new, dpkg-old, dpkg-dist, dpkg-tmp */
	"*.ucf-*",
	"*.rpmnew",
	"*.rpmsave",
	"*.rpmorig",
	".~tmp~", /* rsync --delay-updates */
	".rsync-partial",
	".syncthing.*.tmp",
	"~syncthing~*",
	"*.sync-conflict-*",
	".stfolder",
	".nfs????????????????????????",
};

static const char *last_component(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool ignore_entry(const struct ignore *ignore, const char *path, bool is_directory)
{
	const char *name = last_component(path);

	for (size_t i = 0; i < sizeof debris / sizeof *debris; i++)
		if (fnmatch(debris[i], name, 0) == 0)
			return true;
	for (int i = 0; i < ignore->excludes_count; i++) {
		const char *pattern = ignore->excludes[i];
		size_t size = strlen(pattern);
		char trimmed[PATH_MAX];
		bool directories_alone = size > 1 && pattern[size - 1] == '/';

		if (size == 0 || size >= sizeof trimmed)
			continue;
		if (directories_alone && !is_directory)
			continue;
		memcpy(trimmed, pattern, size + 1);
		if (directories_alone)
			trimmed[size - 1] = '\0';
		if (strchr(trimmed, '/') == NULL) {
			if (fnmatch(trimmed, name, 0) == 0)
				return true;
		} else if (fnmatch(trimmed, path, FNM_PATHNAME) == 0) {
			return true;
		}
	}
	return false;
}
