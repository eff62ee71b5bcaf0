/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent_claims.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/durable.h"
#include "shared/log.h"

#define CLAIMS_BYTES_MAX (4 * 1024 * 1024)
#define BOOT_ID_BYTES 37

/* Addresses do not outlive the kernel, so neither does the file (a run directory on a disk). */
static void read_boot_id(char boot_id[BOOT_ID_BYTES])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!file || !fgets(boot_id, BOOT_ID_BYTES, file))
		snprintf(boot_id, BOOT_ID_BYTES, "unknown");
	if (file)
		fclose(file);
}

bool agent_claims_has(const struct agent_claims *claims, const char *ifname,
		      const struct ip_addr *addr)
{
	for (int i = 0; i < claims->count; i++)
		if (ip_equal(&claims->items[i].addr, addr) &&
		    !strcmp(claims->items[i].ifname, ifname))
			return true;
	return false;
}

int agent_claims_add(struct agent_claims *claims, const char *ifname, const struct ip_addr *addr)
{
	if (agent_claims_has(claims, ifname, addr))
		return 0;
	if (claims->count == AGENT_CLAIMS_MAX)
		return -ENOSPC;
	if (claims->count == claims->room) {
		int room = claims->room ? 2 * claims->room : 64;
		struct agent_claim *more =
			reallocarray(claims->items, (size_t)room, sizeof *claims->items);

		if (!more)
			return -ENOMEM;
		claims->items = more;
		claims->room = room;
	}
	snprintf(claims->items[claims->count].ifname, IF_NAMESIZE, "%s", ifname);
	claims->items[claims->count].addr = *addr;
	claims->count++;
	return 0;
}

void agent_claims_release(struct agent_claims *claims)
{
	free(claims->items);
	*claims = (struct agent_claims){0};
}

int agent_claims_read(struct agent_claims *claims, const char *run_dir)
{
	int dirfd = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *text = NULL, *rest, *line;
	char this_boot[BOOT_ID_BYTES];
	size_t size;
	int error;

	if (dirfd < 0)
		return -errno;
	error = durable_read(dirfd, AGENT_CLAIMS_FILE, CLAIMS_BYTES_MAX, &text, &size);
	close(dirfd);
	if (error == -ENOENT)
		return 0;
	if (error) {
		log_warn("%s/%s cannot be read (%s): addresses left by an earlier run are known "
			 "by the kernel's mark alone",
			 run_dir, AGENT_CLAIMS_FILE, strerror(-error));
		return 0;
	}
	read_boot_id(this_boot);
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char ifname[IF_NAMESIZE], address[IP_TEXT_MAX], boot_id[BOOT_ID_BYTES];
		struct ip_addr addr;

		if (sscanf(line, "boot %36s", boot_id) == 1) {
			if (strcmp(boot_id, this_boot) != 0)
				break; /* another kernel's: nothing of it is left */
		} else if (sscanf(line, "address %15s %45s", ifname, address) == 2 &&
			   ip_parse(address, &addr)) {
			error = agent_claims_add(claims, ifname, &addr);
			if (error)
				break;
		} else if (*line) {
			log_warn("%s/%s: a line that is not ours: \"%.60s\"", run_dir,
				 AGENT_CLAIMS_FILE, line);
		}
	}
	free(text);
	return error;
}

int agent_claims_write(const struct agent_claims *claims, const char *run_dir)
{
	char *text = NULL, this_boot[BOOT_ID_BYTES];
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int dirfd, error;

	if (!out)
		return -ENOMEM;
	read_boot_id(this_boot);
	fprintf(out, "boot %s\n", this_boot);
	for (int i = 0; i < claims->count; i++) {
		char address[IP_TEXT_MAX];

		fprintf(out, "address %s %s\n", claims->items[i].ifname,
			ip_format(&claims->items[i].addr, address));
	}
	if (fclose(out)) {
		free(text);
		return -ENOMEM;
	}
	dirfd = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	error = dirfd < 0 ? -errno : durable_write(dirfd, AGENT_CLAIMS_FILE, text, size, 0644);
	if (dirfd >= 0)
		close(dirfd);
	free(text);
	return error;
}
