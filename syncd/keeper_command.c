/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_command: what people ask of the keeper over the control socket (docs/PROTOCOL.md).
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "syncd/keeper_private.h"

#define SHOW_BYTES_MAX (1024 * 1024)

static const char *string_of(const json_t *request, const char *key)
{
	return json_string_value(json_object_get(request, key));
}

static struct mirror *mirror_named(struct keeper *k, const char *name)
{
	int index = conf_mirror_index(k->conf, name);

	return index < 0 ? NULL : &k->mirrors[index];
}

static void no_such_mirror(struct keeper *k, struct ctl_client *client, const char *name)
{
	char known[512] = "";

	for (int i = 0; i < k->mirrors_count; i++) {
		size_t used = strlen(known);

		snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
			 k->mirrors[i].conf->name);
	}
	ctl_fail(client, "no-such-mirror", "there is no mirror \"%s\"; there is %s", name,
		 *known ? known : "none");
}

/* ---- sync ---- */

static void sync_again(struct keeper *k, struct ctl_client *client, struct mirror *only)
{
	json_t *mirrors = json_array();

	for (int i = 0; i < k->mirrors_count; i++) {
		struct mirror *m = &k->mirrors[i];

		if (only != NULL && only != m)
			continue;
		(void)store_refused_clear(k->store, m->conf->name);
		for (int p = 0; p < k->peers_count; p++) {
			k->peers[p].mirrors[i].refused = false;
			k->peers[p].mirrors[i].decided = false;
		}
		m->forced = true;
		mirror_resync(m, true);
		peers_ask_sync(m);
		json_array_append_new(
			mirrors,
			json_pack("{s:s, s:s, s:o, s:s}", "name", m->conf->name, "outcome", "asked",
				  "generation",
				  m->head.present ? json_integer((json_int_t)m->head.header.lamport)
						  : json_null(),
				  "text", "everything is looked at again; see `tandem status`"));
	}
	ctl_answer(client, json_pack("{s:b, s:o}", "ok", 1, "mirrors", mirrors));
}

static void sync(struct keeper *k, struct ctl_client *client, const json_t *request)
{
	const char *name = string_of(request, "mirror"), *from = string_of(request, "from");
	struct mirror *only = name ? mirror_named(k, name) : NULL;
	int node;

	if (name != NULL && only == NULL) {
		no_such_mirror(k, client, name);
		return;
	}
	if (from == NULL) {
		sync_again(k, client, only);
		return;
	}
	node = conf_node_index(k->conf, from);
	if (node < 0) {
		ctl_fail(client, "no-such-node", "there is no node \"%s\" in the configuration",
			 from);
		return;
	}
	if (k->settling.pending > 0) {
		ctl_fail(client, "busy", "another `tandem sync --from` is not finished yet");
		return;
	}
	k->settling.client = client;
	k->settling.mirrors = json_array();
	for (int i = 0; i < k->mirrors_count; i++)
		if (only == NULL || only == &k->mirrors[i])
			k->settling.pending++;
	if (k->settling.pending == 0) {
		ctl_answer(client,
			   json_pack("{s:b, s:o}", "ok", 1, "mirrors", k->settling.mirrors));
		k->settling = (struct settling){0};
		return;
	}
	/* All of them are told first: the first may be settled before this returns. */
	for (int i = 0; i < k->mirrors_count; i++)
		if (only == NULL || only == &k->mirrors[i])
			k->mirrors[i].settle_from = node;
	for (int i = 0; i < k->mirrors_count; i++)
		mirror_next(&k->mirrors[i]);
}

/* ---- conflicts ---- */

static json_t *time_text(int64_t unix_s)
{
	char text[32];
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(text, sizeof text, "%FT%TZ", &tm) == 0)
		return json_null();
	return json_string(text);
}

static json_t *side(const struct held *held)
{
	char hex[2 * GENERATION_ID_BYTES + 1];

	if (!held->present)
		return json_null();
	for (int i = 0; i < GENERATION_ID_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", held->id[i]);
	return json_pack("{s:I, s:s, s:s}", "generation", (json_int_t)held->header.lamport, "id",
			 hex, "author", held->header.author);
}

static json_t *type_at(const struct held *held, const char *path)
{
	const struct entry *entry = held->tree ? tree_find(held->tree, path, strlen(path)) : NULL;

	return entry ? json_string(entry_type_name(entry->type)) : json_null();
}

static void add_path(json_t *paths, const char *path, const struct held *local,
		     const struct held *remote)
{
	json_array_append_new(
		paths, json_pack("{s:o, s:o, s:o}", "path", ctl_text(path, strlen(path)), "local",
				 type_at(local, path), "remote", type_at(remote, path)));
}

#define PATHS_SHOWN_MAX 200

struct listing {
	struct keeper *keeper;
	json_t *list;
};

static void list_conflict(void *ctx, const struct store_conflict *conflict)
{
	struct listing *listing = ctx;
	struct keeper *k = listing->keeper;
	struct mirror *m = mirror_named(k, conflict->mirror);
	int node = conf_node_index(k->conf, conflict->node);
	struct peer *p = node < 0 ? NULL : peer_of_node(k, node);
	struct held local = {0}, remote = {0};
	json_t *paths = json_array();

	if (m != NULL) {
		(void)held_load(k, conflict->mirror, conflict->local, true, &local);
		(void)held_load(k, conflict->mirror, conflict->remote, true, &remote);
	}
	for (size_t i = 0; i < conflict->paths_count; i++)
		add_path(paths, conflict->paths[i], &local, &remote);
	/* Without a common past everything that differs stands against each other. */
	if (conflict->diverged && local.tree && remote.tree) {
		struct tree_diff diff;
		struct tree_change change;

		tree_diff_init(&diff, local.tree, remote.tree);
		while (json_array_size(paths) < PATHS_SHOWN_MAX && tree_diff_next(&diff, &change)) {
			const struct entry *entry = change.to ? change.to : change.from;

			if (entry->type != ENTRY_DIR || !change.from || !change.to)
				add_path(paths, entry->path, &local, &remote);
		}
	}
	const char *text = m && p ? p->mirrors[m->index].reason : "";

	json_array_append_new(listing->list,
			      json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "mirror",
					conflict->mirror, "node", conflict->node, "kind",
					conflict->diverged ? "diverged" : "conflict", "local",
					side(&local), "remote", side(&remote), "since",
					time_text(conflict->since_unix_s), "text",
					ctl_text(text, strlen(text)), "paths", paths));
	held_release(&local);
	held_release(&remote);
}

static void list_rescue(void *ctx, const struct store_rescue *rescue)
{
	struct listing *listing = ctx;

	json_array_append_new(listing->list,
			      json_pack("{s:s, s:o, s:o}", "mirror", rescue->mirror, "path",
					ctl_text(rescue->path, strlen(rescue->path)), "since",
					time_text(rescue->since_unix_s)));
}

static void conflicts(struct keeper *k, struct ctl_client *client, const json_t *request)
{
	const char *name = string_of(request, "mirror");
	struct listing found = {k, json_array()}, rescued = {k, json_array()};
	int r;

	if (name != NULL && mirror_named(k, name) == NULL) {
		json_decref(found.list);
		json_decref(rescued.list);
		no_such_mirror(k, client, name);
		return;
	}
	r = store_conflicts(k->store, name, list_conflict, &found);
	for (int i = 0; r == 0 && i < k->mirrors_count; i++)
		if (name == NULL || strcmp(name, k->mirrors[i].conf->name) == 0)
			r = store_rescues(k->store, k->mirrors[i].conf->name, list_rescue,
					  &rescued);
	if (r < 0) {
		json_decref(found.list);
		json_decref(rescued.list);
		ctl_fail(client, "failed", "%s", store_error(k->store));
		return;
	}
	ctl_answer(client, json_pack("{s:b, s:o, s:o}", "ok", 1, "conflicts", found.list, "rescued",
				     rescued.list));
}

/* ---- show ---- */

static void add_content(json_t *answer, const uint8_t *data, size_t size)
{
	json_t *text = json_stringn((const char *)data, size);
	char *base64;

	/* A NUL is legal in JSON, but not what a terminal should be given. */
	if (text != NULL && memchr(data, '\0', size) == NULL) {
		json_object_set_new(answer, "text", text);
		return;
	}
	json_decref(text);
	base64 = malloc(4 * (size / 3 + 1) + 1);
	if (base64 == NULL)
		return;
	EVP_EncodeBlock((unsigned char *)base64, data, (int)size);
	json_object_set_new(answer, "base64", json_string(base64));
	free(base64);
}

static void show_object(struct keeper *k, struct ctl_client *client, json_t *answer,
			const uint8_t *hash)
{
	char hex[2 * ENTRY_HASH_BYTES + 1];
	uint8_t *data = NULL;
	size_t size = 0;
	int r = objects_read(k->objects, hash, SHOW_BYTES_MAX, &data, &size);

	if (r < 0) {
		json_decref(answer);
		if (r == -EFBIG)
			ctl_fail(client, "too-large", "it is larger than 1 MiB");
		else
			ctl_fail(client, "not-held", "its content is not held here: %s",
				 strerror(-r));
		return;
	}
	for (int i = 0; i < ENTRY_HASH_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	json_object_set_new(answer, "size", json_integer((json_int_t)size));
	json_object_set_new(answer, "sha256", json_string(hex));
	add_content(answer, data, size);
	free(data);
	ctl_answer(client, answer);
}

struct wanted_rescue {
	const char *path;
	bool found;
	uint8_t hash[ENTRY_HASH_BYTES];
};

static void find_rescue(void *ctx, const struct store_rescue *rescue)
{
	struct wanted_rescue *wanted = ctx;

	if (strcmp(rescue->path, wanted->path) != 0)
		return;
	wanted->found = true;
	memcpy(wanted->hash, rescue->hash, sizeof wanted->hash);
}

/* The generation of a node that can be shown: ours, a peer's head, or what a conflict holds. */
static int generation_of(struct mirror *m, int node, uint8_t ret_id[GENERATION_ID_BYTES])
{
	struct keeper *k = m->keeper;
	struct store_conflict conflict;
	struct peer *p;

	if (node == k->conf->self) {
		memcpy(ret_id, m->head.id, GENERATION_ID_BYTES);
		return m->head.present ? 0 : -ENOENT;
	}
	p = peer_of_node(k, node);
	if (p == NULL)
		return -ENOENT;
	if (store_conflict_get(k->store, m->conf->name, p->name, &conflict) == 0) {
		memcpy(ret_id, conflict.remote, GENERATION_ID_BYTES);
		store_conflict_release(&conflict);
		return 0;
	}
	if (p->mirrors[m->index].head.present) {
		memcpy(ret_id, p->mirrors[m->index].head.id, GENERATION_ID_BYTES);
		return 0;
	}
	return store_acked_get(k->store, m->conf->name, p->name, ret_id);
}

static void show_entry(struct keeper *k, struct ctl_client *client, const struct entry *entry)
{
	char mode[8];
	json_t *answer;

	snprintf(mode, sizeof mode, "%04o", entry->mode & 07777);
	answer = json_pack("{s:b, s:s, s:s, s:s, s:s}", "ok", 1, "type",
			   entry_type_name(entry->type), "mode", mode, "owner", entry->owner,
			   "group", entry->group);
	if (entry->type == ENTRY_FILE) {
		show_object(k, client, answer, entry->hash);
		return;
	}
	if (entry->type == ENTRY_SYMLINK)
		json_object_set_new(answer, "target", ctl_text(entry->target, entry->target_size));
	ctl_answer(client, answer);
}

static void show(struct keeper *k, struct ctl_client *client, const json_t *request)
{
	const char *name = string_of(request, "mirror"), *node_name = string_of(request, "node");
	const char *path = string_of(request, "path");
	struct mirror *m = name ? mirror_named(k, name) : NULL;
	uint8_t id[GENERATION_ID_BYTES];
	struct held held = {0};
	const struct entry *entry;
	int node;

	if (name == NULL || node_name == NULL || path == NULL) {
		ctl_fail(client, "bad-request", "show needs mirror, node and path");
		return;
	}
	if (m == NULL) {
		no_such_mirror(k, client, name);
		return;
	}
	node = conf_node_index(k->conf, node_name);
	if (node < 0) {
		ctl_fail(client, "no-such-node", "there is no node \"%s\" in the configuration",
			 node_name);
		return;
	}
	if (json_is_true(json_object_get(request, "rescued"))) {
		struct wanted_rescue wanted = {.path = path};

		(void)store_rescues(k->store, name, find_rescue, &wanted);
		if (wanted.found)
			show_object(k, client, json_pack("{s:b, s:s}", "ok", 1, "type", "file"),
				    wanted.hash);
		else
			ctl_fail(client, "no-such-path", "no edit of %s is kept aside", path);
		return;
	}
	if (generation_of(m, node, id) < 0 || held_load(k, name, id, true, &held) < 0) {
		ctl_fail(client, "not-held", "the version of %s is not held here", node_name);
		return;
	}
	entry = tree_find(held.tree, path, strlen(path));
	if (entry == NULL)
		ctl_fail(client, "no-such-path", "%s has nothing at %s", node_name, path);
	else
		show_entry(k, client, entry);
	held_release(&held);
}

/* ---- the rest ---- */

/* what: KEEPER_MSG_RELOAD, or KEEPER_MSG_TRY. */
static void ask_runner(struct keeper *k, struct ctl_client *client, enum keeper_msg what)
{
	uint8_t payload[4];
	struct wire_writer w;

	if (k->reload_client != NULL || k->stopping) {
		ctl_fail(client, "busy", "a reload or stop is already on its way");
		return;
	}
	k->reload_client = client;
	k->reload_ticket = ++k->tickets;
	wire_writer_init(&w, payload, sizeof payload);
	wire_put_u32(&w, k->reload_ticket);
	if (msg_send(k->runner, (uint16_t)what, payload, w.at, -1) < 0)
		loop_quit(k->loop, EXIT_FAILURE);
}

void command_request(void *ctx, struct ctl_client *client, const char *command,
		     const json_t *request)
{
	struct keeper *k = ctx;

	if (strcmp(command, "status") == 0)
		ctl_answer(client, status_make(k));
	else if (strcmp(command, "reload") == 0)
		ask_runner(k, client, KEEPER_MSG_RELOAD);
	else if (strcmp(command, "reload-dry-run") == 0)
		ask_runner(k, client, KEEPER_MSG_TRY);
	else if (strcmp(command, "sync") == 0)
		sync(k, client, request);
	else if (strcmp(command, "conflicts") == 0)
		conflicts(k, client, request);
	else if (strcmp(command, "show") == 0)
		show(k, client, request);
	else
		ctl_fail(client, "unknown-command",
			 "tandem-syncd knows status, reload, reload-dry-run, sync, conflicts and "
			 "show, not \"%s\"",
			 command);
}

void command_gone(void *ctx, struct ctl_client *client)
{
	struct keeper *k = ctx;

	if (k->settling.client == client)
		k->settling.client = NULL;
	if (k->reload_client == client)
		k->reload_client = NULL;
}
