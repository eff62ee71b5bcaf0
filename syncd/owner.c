/* SPDX-License-Identifier: Apache-2.0 */
#include "syncd/owner.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

/* A mirror's files belong to a handful of accounts. When the table is full the oldest goes; a name
 * in use is asked for again. */
#define OWNER_REMEMBERED 32
#define OWNER_LOOKUP_BYTES 16384

struct memory {
	bool known;  /* the slot is in use */
	bool exists; /* the account does */
	uint32_t number;
	char name[ENTRY_OWNER_BYTES_MAX + 1];
};

struct memories {
	struct memory slots[OWNER_REMEMBERED];
	unsigned next;
};

static struct memories user_by_number, group_by_number, user_by_name, group_by_name;

static struct memory *find(struct memories *all, const char *name, uint32_t number)
{
	for (unsigned i = 0; i < OWNER_REMEMBERED; i++) {
		struct memory *m = &all->slots[i];
		if (m->known && (name ? strcmp(m->name, name) == 0 : m->number == number))
			return m;
	}
	return NULL;
}

static struct memory *take_slot(struct memories *all)
{
	struct memory *m = &all->slots[all->next];
	all->next = (all->next + 1) % OWNER_REMEMBERED;
	memset(m, 0, sizeof *m);
	m->known = true;
	return m;
}

/* By name if there is one, else by number. */
static bool ask_user(char name[ENTRY_OWNER_BYTES_MAX + 1], bool by_name, uint32_t *number)
{
	char buffer[OWNER_LOOKUP_BYTES];
	struct passwd account, *found = NULL;
	int rc = by_name ? getpwnam_r(name, &account, buffer, sizeof buffer, &found)
			 : getpwuid_r(*number, &account, buffer, sizeof buffer, &found);
	if (rc != 0 || !found || strlen(found->pw_name) > ENTRY_OWNER_BYTES_MAX)
		return false;
	strcpy(name, found->pw_name);
	*number = found->pw_uid;
	return true;
}

static bool ask_group(char name[ENTRY_OWNER_BYTES_MAX + 1], bool by_name, uint32_t *number)
{
	char buffer[OWNER_LOOKUP_BYTES];
	struct group account, *found = NULL;
	int rc = by_name ? getgrnam_r(name, &account, buffer, sizeof buffer, &found)
			 : getgrgid_r(*number, &account, buffer, sizeof buffer, &found);
	/* A group with very many members does not fit: its number then counts, which is stable. */
	if (rc != 0 || !found || strlen(found->gr_name) > ENTRY_OWNER_BYTES_MAX)
		return false;
	strcpy(name, found->gr_name);
	*number = found->gr_gid;
	return true;
}

typedef bool (*ask_fn)(char name[ENTRY_OWNER_BYTES_MAX + 1], bool by_name, uint32_t *number);

static const char *name_of(struct memories *all, uint32_t number, ask_fn ask)
{
	struct memory *m = find(all, NULL, number);
	if (!m) {
		m = take_slot(all);
		m->number = number;
		m->exists = ask(m->name, false, &m->number);
		m->number = number;
		if (!m->exists)
			m->name[0] = '\0';
	}
	return m->name;
}

static uint32_t number_of(struct memories *all, const char *name, uint32_t number, ask_fn ask,
			  bool *ret_unknown)
{
	if (ret_unknown)
		*ret_unknown = false;
	if (name[0] == '\0')
		return number;
	struct memory *m = find(all, name, 0);
	if (!m) {
		char asked[ENTRY_OWNER_BYTES_MAX + 1];
		strcpy(asked, name);
		m = take_slot(all);
		m->exists = ask(asked, true, &m->number);
		strcpy(m->name, name);
	}
	if (ret_unknown)
		*ret_unknown = !m->exists;
	return m->exists ? m->number : number;
}

const char *owner_user_name(uint32_t uid)
{
	return name_of(&user_by_number, uid, ask_user);
}

const char *owner_group_name(uint32_t gid)
{
	return name_of(&group_by_number, gid, ask_group);
}

uint32_t owner_uid(const struct entry *entry, bool *ret_unknown)
{
	return number_of(&user_by_name, entry->owner, entry->uid, ask_user, ret_unknown);
}

uint32_t owner_gid(const struct entry *entry, bool *ret_unknown)
{
	return number_of(&group_by_name, entry->group, entry->gid, ask_group, ret_unknown);
}

void owner_forget(void)
{
	memset(&user_by_number, 0, sizeof user_by_number);
	memset(&group_by_number, 0, sizeof group_by_number);
	memset(&user_by_name, 0, sizeof user_by_name);
	memset(&group_by_name, 0, sizeof group_by_name);
}
