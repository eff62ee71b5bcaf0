/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_rules: what holds between settings, and what is legal and still wrong.
 *
 * This runs also over a file that already has errors, so that all come out in one go: names may be
 * NULL, numbers 0, addresses IP_NONE, and none of that is complained about twice.
 */
#include <stdlib.h>
#include <string.h>

#include "shared/conf_private.h"

static void add(struct conf_reader *reader, enum conf_severity severity, int line, const char *kind,
		const char *name, const char *setting, char *cause, char *cure)
{
	char path[CONF_PATH_BYTES_MAX];

	snprintf(path, sizeof path, "%s.%s%s%s", kind, name ? name : "?", setting ? "." : "",
		 setting ? setting : "");
	conf_add(reader, severity, line, path, cause, cure);
}

static void unique_name(struct conf_reader *reader, const char *kind, const char *a, int a_line,
			const char *b, int b_line)
{
	if (a && b && strcmp(a, b) == 0)
		add(reader, CONF_ERROR, b_line, kind, b, "name",
		    conf_say("the name stands in line %d already", a_line),
		    conf_say("give one of the two another name"));
}

static void rules_nodes(struct conf_reader *reader, const struct conf *conf)
{
	char text[IP_TEXT_MAX];
	bool peers = false;

	for (int b = 0; b < conf->nodes_count; b++) {
		const struct conf_node *second = &conf->nodes[b];

		for (int a = 0; a < b; a++) {
			const struct conf_node *first = &conf->nodes[a];

			unique_name(reader, "nodes", first->name, first->line, second->name,
				    second->line);
			if (first->address.family != IP_NONE &&
			    ip_equal(&first->address, &second->address))
				add(reader, CONF_ERROR, second->line, "nodes", second->name,
				    "address",
				    conf_say("%s is the address of %s already",
					     ip_format(&second->address, text),
					     first->name ? first->name : "another node"),
				    conf_say("each node has an address of its own"));
			for (int i = 0; i < first->pins_count; i++)
				for (int k = 0; k < second->pins_count; k++)
					if (memcmp(first->pins[i], second->pins[k],
						   CONF_PIN_BYTES) == 0)
						add(reader, CONF_ERROR, second->line, "nodes",
						    second->name, "key",
						    conf_say("is the key of %s already",
							     first->name ? first->name
									 : "another node"),
						    conf_say("run `tandem keygen` on each node; "
							     "never copy node.key"));
		}
	}
	for (int i = 0; i < conf->vrrps_count; i++)
		peers |= conf->vrrps[i].peers_count > 0;
	if (conf->nodes_count == 1 && !peers)
		conf_add(reader, CONF_WARNING, conf->nodes[0].line, "nodes",
			 conf_say("there is one node only, and nobody to take over"),
			 conf_say("add the second one"));
}

/* No failover by this check alone: the best node, failing it, still outranks the next. */
static void rule_weight(struct conf_reader *reader, const struct conf *conf,
			const struct conf_vrrp *vrrp, const struct conf_track *track)
{
	int best = -1, next = -1;
	int swing = abs(track->weight);

	for (int i = 0; i < conf->nodes_count; i++) {
		if (vrrp->priorities[i] == 0)
			continue;
		if (best < 0 || vrrp->priorities[i] > vrrp->priorities[best]) {
			next = best;
			best = i;
		} else if (next < 0 || vrrp->priorities[i] > vrrp->priorities[next]) {
			next = i;
		}
	}
	/* What a file may say is not known here. */
	if (track->weight == 0 || best < 0 || next < 0 ||
	    conf->checks[track->check].kind == CONF_CHECK_FILE)
		return;
	if (vrrp->priorities[best] == 255)
		add(reader, CONF_WARNING, vrrp->line, "vrrp", vrrp->name, "track",
		    conf_say("the check \"%s\" can never cause a failover: %s has priority 255, "
			     "which no "
			     "weight changes",
			     conf->checks[track->check].name, conf->nodes[best].name),
		    conf_say("give it 254 or less"));
	else if (swing <= vrrp->priorities[best] - vrrp->priorities[next])
		add(reader, CONF_WARNING, vrrp->line, "vrrp", vrrp->name, "track",
		    conf_say("the check \"%s\" can never cause a failover: its weight %d does not "
			     "outweigh the difference between %s (%d) and %s (%d)",
			     conf->checks[track->check].name, track->weight, conf->nodes[best].name,
			     vrrp->priorities[best], conf->nodes[next].name,
			     vrrp->priorities[next]),
		    conf_say("use a weight beyond %d, or 0",
			     vrrp->priorities[best] - vrrp->priorities[next]));
}

/* Are all bits past the prefix those of byte, 0 or 0xff? */
static bool host_is(const struct ip_prefix *prefix, uint8_t byte)
{
	for (size_t at = 0; at < ip_size(&prefix->addr); at++) {
		unsigned mask = at * 8 >= prefix->prefix_len ? 0xffu
				: at * 8 + 8 <= prefix->prefix_len
					? 0u
					: 0xffu >> (prefix->prefix_len % 8);

		if ((prefix->addr.bytes[at] & mask) != (byte & mask))
			return false;
	}
	return true;
}

static void rules_vrrp_alone(struct conf_reader *reader, const struct conf *conf,
			     const struct conf_vrrp *vrrp)
{
	char text[IP_TEXT_MAX];

	for (int b = 0; b < conf->nodes_count; b++)
		for (int a = 0; a < b; a++)
			if (vrrp->priorities[a] > 0 && vrrp->priorities[a] == vrrp->priorities[b])
				add(reader, CONF_WARNING, vrrp->line, "vrrp", vrrp->name,
				    "priority",
				    conf_say("%s and %s have the same priority %d, so that the "
					     "higher "
					     "address decides",
					     conf->nodes[a].name, conf->nodes[b].name,
					     vrrp->priorities[a]),
				    conf_say("give each node its own"));
	for (int i = 0; i < vrrp->tracks_count; i++)
		rule_weight(reader, conf, vrrp, &vrrp->tracks[i]);
	for (int v = 0; v < vrrp->vips_count; v++) {
		const struct ip_prefix *vip = &vrrp->vips[v].prefix;
		ip_format(&vip->addr, text);
		for (int n = 0; n < conf->nodes_count; n++)
			if (ip_equal(&vip->addr, &conf->nodes[n].address) &&
			    vrrp->priorities[n] != 255)
				add(reader, CONF_ERROR, vrrp->line, "vrrp", vrrp->name,
				    "virtual_ipaddress",
				    conf_say("%s is the address of node %s itself", text,
					     conf->nodes[n].name),
				    conf_say("use an address of its own for the service, or "
					     "priority "
					     "255 on its owner"));
		if (vip->prefix_len + 1u < 8 * ip_size(&vip->addr) &&
		    (host_is(vip, 0) || (vip->addr.family == IP_V4 && host_is(vip, 0xff))))
			add(reader, CONF_WARNING, vrrp->line, "vrrp", vrrp->name,
			    "virtual_ipaddress",
			    conf_say("%s/%d is the %s address of its own subnet", text,
				     vip->prefix_len,
				     !host_is(vip, 0)		 ? "broadcast"
				     : vip->addr.family == IP_V6 ? "routers' anycast"
								 : "network"),
			    conf_say("use another address, or the right prefix length"));
	}
	if (vrrp->nopreempt && vrrp->preempt_delay_us > 0)
		add(reader, CONF_WARNING, vrrp->line, "vrrp", vrrp->name, "preempt_delay",
		    conf_say("a healthy holder is never preempted with nopreempt = true, so that "
			     "there "
			     "is nothing to delay"),
		    conf_say("keep one of the two"));
}

static void rules_vrrp_pair(struct conf_reader *reader, const struct conf *conf,
			    const struct conf_vrrp *a, const struct conf_vrrp *b)
{
	char text[IP_TEXT_MAX];

	unique_name(reader, "vrrp", a->name, a->line, b->name, b->line);
	for (int n = 0; n < conf->nodes_count && a->vrid == b->vrid && a->vrid != 0; n++) {
		if (a->priorities[n] == 0 || b->priorities[n] == 0 || !a->interfaces[n] ||
		    !b->interfaces[n] || strcmp(a->interfaces[n], b->interfaces[n]) != 0)
			continue;
		add(reader, CONF_ERROR, b->line, "vrrp", b->name, "virtual_router_id",
		    conf_say("%d is taken by %s on %s of %s", b->vrid,
			     a->name ? a->name : "another", b->interfaces[n], conf->nodes[n].name),
		    conf_say("use another number from 1 to 255"));
		break;
	}
	for (int n = 0; n < conf->nodes_count && *b->vmac; n++) {
		if (a->priorities[n] == 0 || b->priorities[n] == 0 || strcmp(a->vmac, b->vmac) != 0)
			continue;
		add(reader, CONF_ERROR, b->line, "vrrp", b->name, "use_vmac",
		    conf_say("%s on %s is that of %s already", b->vmac, conf->nodes[n].name,
			     a->name ? a->name : "another"),
		    conf_say("give one of the two another name: use_vmac = \"NAME\";"));
		break;
	}
	for (int v = 0; v < b->vips_count; v++)
		for (int w = 0; w < a->vips_count; w++)
			if (ip_equal(&a->vips[w].prefix.addr, &b->vips[v].prefix.addr))
				add(reader, CONF_ERROR, b->line, "vrrp", b->name,
				    "virtual_ipaddress",
				    conf_say("%s stands in %s already",
					     ip_format(&b->vips[v].prefix.addr, text),
					     a->name ? a->name : "another"),
				    conf_say("an address belongs to one instance"));
}

static void rules_checks(struct conf_reader *reader, const struct conf *conf)
{
	for (int b = 0; b < conf->checks_count; b++) {
		const struct conf_check *check = &conf->checks[b];
		bool tracked = false;

		for (int a = 0; a < b; a++)
			unique_name(reader, "checks", conf->checks[a].name, conf->checks[a].line,
				    check->name, check->line);
		for (int g = 0; g < conf->groups_count; g++)
			for (int t = 0; t < conf->groups[g].tracks_count; t++)
				tracked |= conf->groups[g].tracks[t].check == b;
		for (int v = 0; v < conf->vrrps_count; v++)
			for (int t = 0; t < conf->vrrps[v].tracks_count; t++)
				tracked |= conf->vrrps[v].tracks[t].check == b;
		if (!tracked && check->name)
			add(reader, CONF_WARNING, check->line, "checks", check->name, NULL,
			    conf_say("no vrrp entry tracks this check, so that it moves nothing"),
			    conf_say("add track = [ \"%s\" ]; to the instances that depend on it",
				     check->name));
	}
}

/* What root runs must not lie where a peer can write. */
static void rule_command(struct conf_reader *reader, const struct conf *conf,
			 const struct conf_command *command, const char *kind, const char *name,
			 const char *setting)
{
	if (!command->argv || command->argv[0][0] != '/')
		return;
	for (int m = 0; m < conf->mirrors_count; m++)
		for (int p = 0; p < conf->mirrors[m].paths_count; p++)
			if (conf_path_contains(conf->mirrors[m].paths[p], command->argv[0]))
				add(reader, CONF_WARNING, command->line, kind, name, setting,
				    conf_say("%.200s lies inside the mirrored path %s: whoever may "
					     "change it on one node has it run on all",
					     command->argv[0], conf->mirrors[m].paths[p]),
				    conf_say("keep it outside, in /etc/tandem for example"));
}

static void rules_commands(struct conf_reader *reader, const struct conf *conf)
{
	static const char *const hooks[CONF_HOOKS] = {
		[CONF_HOOK_MASTER] = "notify_master", [CONF_HOOK_BACKUP] = "notify_backup",
		[CONF_HOOK_FAULT] = "notify_fault",   [CONF_HOOK_STOP] = "notify_stop",
		[CONF_HOOK_ANY] = "notify",
	};

	for (int i = 0; i < conf->checks_count; i++)
		rule_command(reader, conf, &conf->checks[i].restart, "checks", conf->checks[i].name,
			     "restart");
	for (int i = 0; i < conf->checks_count; i++)
		rule_command(reader, conf, &conf->checks[i].script, "checks", conf->checks[i].name,
			     "script");
	for (int i = 0; i < conf->vrrps_count; i++)
		for (int h = 0; h < CONF_HOOKS; h++)
			rule_command(reader, conf, &conf->vrrps[i].hooks[h], "vrrp",
				     conf->vrrps[i].name, hooks[h]);
	for (int i = 0; i < conf->mirrors_count; i++) {
		rule_command(reader, conf, &conf->mirrors[i].validate, "mirrors",
			     conf->mirrors[i].name, "validate");
		rule_command(reader, conf, &conf->mirrors[i].reload, "mirrors",
			     conf->mirrors[i].name, "reload");
	}
}

static void rules_mirrors(struct conf_reader *reader, const struct conf *conf)
{
	int keys = 0;

	for (int b = 0; b < conf->mirrors_count; b++) {
		const struct conf_mirror *second = &conf->mirrors[b];

		for (int a = 0; a <= b; a++) {
			const struct conf_mirror *first = &conf->mirrors[a];

			if (a != b)
				unique_name(reader, "mirrors", first->name, first->line,
					    second->name, second->line);
			for (int q = 0; q < second->paths_count; q++) {
				for (int p = 0; p < (a == b ? q : first->paths_count); p++) {
					if (!conf_path_contains(first->paths[p],
								second->paths[q]) &&
					    !conf_path_contains(second->paths[q], first->paths[p]))
						continue;
					add(reader, CONF_ERROR, second->line, "mirrors",
					    second->name, "paths",
					    strcmp(first->paths[p], second->paths[q]) == 0
						    ? conf_say("%s is mirrored twice",
							       second->paths[q])
						    : conf_say("%s and %s lie one in the other",
							       first->paths[p], second->paths[q]),
					    conf_say("a file belongs to one path of one mirror"));
				}
			}
		}
	}
	for (int i = 0; i < conf->nodes_count; i++)
		keys += conf->nodes[i].pins_count > 0;
	if (conf->mirrors_count > 0 && keys < 2 && conf->nodes_count > 1)
		conf_add(reader, CONF_WARNING, conf->mirrors[0].line, "mirrors",
			 conf_say("%s of the nodes has a key, so that nothing is mirrored",
				  keys ? "only one" : "none"),
			 conf_say("run `tandem keygen` on each node, and add key = \"SHA256:...\"; "
				  "to it"));
}

void conf_rules(struct conf_reader *reader, const struct conf *conf)
{
	rules_nodes(reader, conf);
	rules_checks(reader, conf);
	for (int b = 0; b < conf->vrrps_count; b++) {
		rules_vrrp_alone(reader, conf, &conf->vrrps[b]);
		for (int a = 0; a < b; a++)
			rules_vrrp_pair(reader, conf, &conf->vrrps[a], &conf->vrrps[b]);
	}
	rules_mirrors(reader, conf);
	rules_commands(reader, conf);
}
