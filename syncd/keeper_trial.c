/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reload would do: the runner has read and checked the file, and here it is held against
 * what runs. A reload starts this process anew, which disturbs nobody; what counts is which mirrors
 * there are, and whether they still cover the same: nodes whose definitions differ exchange
 * nothing.
 */
#include <string.h>
#include <unistd.h>

#include "shared/conf_diff.h"
#include "syncd/keeper_private.h"

static const char *effect_of(const struct mirror *m, const struct conf_mirror *next)
{
	uint8_t definition[ENTRY_HASH_BYTES];

	tree_definition_hash((const char *const *)next->paths, next->paths_count,
			     (const char *const *)next->excludes, next->excludes_count, definition);
	return memcmp(definition, m->definition, sizeof definition) ? "redefined" : "kept";
}

static json_t *mirrors_of(const struct keeper *k, const struct conf *next)
{
	json_t *list = json_array();

	for (int i = 0; i < k->mirrors_count; i++) {
		const char *name = k->mirrors[i].conf->name;
		int at = conf_mirror_index(next, name);

		json_array_append_new(
			list, json_pack("{s:s s:s}", "name", name, "effect",
					at < 0 ? "removed"
					       : effect_of(&k->mirrors[i], &next->mirrors[at])));
	}
	for (int i = 0; i < next->mirrors_count; i++)
		if (conf_mirror_index(k->conf, next->mirrors[i].name) < 0)
			json_array_append_new(list,
					      json_pack("{s:s s:s}", "name", next->mirrors[i].name,
							"effect", "added"));
	return list;
}

/* Mirrors, nodes, and what stands at the top; the agent says the rest. */
static bool is_ours(const json_t *change)
{
	const char *section = json_string_value(json_object_get(change, "section"));

	return !strcmp(section, "mirrors") || !strcmp(section, "nodes") || !*section;
}

static void answer(const struct keeper *k, struct ctl_client *client,
		   const struct conf_snapshot *next)
{
	json_t *changes;
	int error = conf_diff(k->options->snapshot, next, &changes);

	if (error) {
		ctl_fail(client, "failed", "the files cannot be compared: %s", strerror(-error));
		return;
	}
	for (size_t i = json_array_size(changes); i-- > 0;)
		if (!is_ours(json_array_get(changes, i)))
			json_array_remove(changes, i);
	ctl_answer(client, json_pack("{s:b s:I s:o s:o}", "ok", 1, "snapshot",
				     (json_int_t)k->options->snapshot->number, "mirrors",
				     mirrors_of(k, next->conf), "changes", changes));
}

void trial_done(struct keeper *k, struct wire_reader *r, int fd)
{
	struct ctl_client *client = k->reload_client;
	uint32_t ticket = wire_get_u32(r);
	bool ok = wire_get_u8(r) != 0;
	char text[KEEPER_TEXT_MAX + 1], node[CONF_NAME_BYTES_MAX + 1];
	struct conf_snapshot next;

	wire_get_string_into(r, text, sizeof text);
	wire_get_string_into(r, node, sizeof node);
	if (!wire_reader_done(r) || client == NULL || ticket != k->reload_ticket ||
	    ok != (fd >= 0)) {
		if (fd >= 0)
			close(fd);
		return;
	}
	k->reload_client = NULL;
	if (!ok) {
		ctl_fail(client, "wrong-configuration", "%s", text);
	} else if (conf_snapshot_receive(0, node, fd, &next) < 0) {
		ctl_fail(client, "failed", "the file cannot be looked at; try again");
	} else {
		answer(k, client, &next);
		conf_snapshot_release(&next);
	}
}
