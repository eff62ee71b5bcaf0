/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_host: the configuration against this host: its addresses, interfaces, programs, accounts.
 *
 * Everything found here is a warning: the host may change while the file stays, and a daemon that
 * would not start for a missing script would be worse than one that says so.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/conf_private.h"

static bool from_sockaddr(const struct sockaddr *sa, struct ip_addr *ret_addr)
{
	*ret_addr = (struct ip_addr){0};
	if (sa && sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof in);
		ret_addr->family = IP_V4;
		memcpy(ret_addr->bytes, &in.sin_addr, 4);
		return true;
	}
	if (sa && sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof in6);
		ret_addr->family = IP_V6;
		memcpy(ret_addr->bytes, &in6.sin6_addr, 16);
		return true;
	}
	return false;
}

int conf_find_self(struct conf *conf)
{
	struct ifaddrs *list = NULL;
	int self = -1;
	int r = 0;

	if (getifaddrs(&list) < 0)
		return -errno;
	for (const struct ifaddrs *at = list; at && r == 0; at = at->ifa_next) {
		struct ip_addr addr;

		if (!from_sockaddr(at->ifa_addr, &addr))
			continue;
		for (int i = 0; i < conf->nodes_count; i++) {
			if (!ip_equal(&conf->nodes[i].address, &addr))
				continue;
			if (self >= 0 && self != i)
				r = -EEXIST;
			self = i;
		}
	}
	freeifaddrs(list);
	if (r < 0)
		return r;
	if (self < 0)
		return -ENOENT;
	conf->self = self;
	return 0;
}

struct host {
	struct conf_reader reader;
	const struct conf *conf;
	const struct ifaddrs *addrs;
};

static void warn(struct host *host, int line, const char *kind, const char *name,
		 const char *setting, char *cause, char *cure)
{
	struct conf_scope place = {0};

	conf_place(&place, "%s.%s.%s", kind, name, setting);
	conf_add(&host->reader, CONF_WARNING, line, place.path, cause, cure);
}

static int prefix_length(const struct sockaddr *mask)
{
	struct ip_addr bits;
	int length = 0;

	if (!from_sockaddr(mask, &bits))
		return -1;
	for (size_t i = 0; i < ip_size(&bits); i++)
		for (int b = 7; b >= 0; b--)
			length += bits.bytes[i] >> b & 1;
	return length;
}

static void check_vips(struct host *host, const struct conf_vrrp *vrrp)
{
	char text[IP_TEXT_MAX];

	for (int v = 0; v < vrrp->vips_count; v++) {
		const struct ip_addr *vip = &vrrp->vips[v].prefix.addr;
		const char *interface = conf_vip_network(vrrp, &vrrp->vips[v], host->conf->self);
		bool any = false, inside = false, broadcast = false;

		if (!interface)
			continue;
		if (if_nametoindex(interface) == 0 && vrrp->vips[v].devs)
			warn(host, vrrp->line, "vrrp", vrrp->name, "virtual_ipaddress",
			     conf_say("there is no interface %s on this host", interface),
			     conf_say("`ip link` shows what there is; without it the instance "
				      "cannot take its addresses"));
		for (const struct ifaddrs *at = host->addrs; at; at = at->ifa_next) {
			struct ip_prefix subnet;
			struct ip_addr brd;
			int length;

			if (strcmp(at->ifa_name, interface) != 0 || !at->ifa_addr ||
			    !from_sockaddr(at->ifa_addr, &subnet.addr) ||
			    subnet.addr.family != vip->family ||
			    ip_is_link_local(&subnet.addr) != ip_is_link_local(vip))
				continue;
			length = prefix_length(at->ifa_netmask);
			if (length < 0)
				continue;
			/* The service address itself, on its holder, says nothing of the subnet. */
			if (ip_equal(&subnet.addr, vip))
				continue;
			any = true;
			subnet.prefix_len = (uint8_t)length;
			inside |= ip_in_prefix(vip, &subnet);
			if ((at->ifa_flags & IFF_BROADCAST) &&
			    from_sockaddr(at->ifa_broadaddr, &brd))
				broadcast |= ip_equal(&brd, vip);
		}
		ip_format(vip, text);
		if (broadcast)
			warn(host, vrrp->line, "vrrp", vrrp->name, "virtual_ipaddress",
			     conf_say("%s is the broadcast address of %s", text, interface),
			     conf_say("use a free address of the subnet"));
		else if (any && !inside)
			warn(host, vrrp->line, "vrrp", vrrp->name, "virtual_ipaddress",
			     conf_say("%s lies outside the subnets of %s", text, interface),
			     conf_say("check the address; hosts of the subnet reach it only "
				      "through a "
				      "route"));
	}
}

static void check_vrrp(struct host *host, const struct conf_vrrp *vrrp)
{
	int self = host->conf->self;
	const char *interface = vrrp->interfaces[self];
	const struct ip_addr *source = &vrrp->sources[self];
	char text[IP_TEXT_MAX];
	bool here = false;

	if (vrrp->priorities[self] == 0 || !interface)
		return;
	if (if_nametoindex(interface) == 0) {
		warn(host, vrrp->line, "vrrp", vrrp->name, "interface",
		     conf_say("there is no interface %s on this host", interface),
		     conf_say("`ip link` shows what there is; the instance waits for it"));
		return;
	}
	check_vips(host, vrrp);
	if (source->family == IP_NONE)
		return;
	for (const struct ifaddrs *at = host->addrs; at && !here; at = at->ifa_next) {
		struct ip_addr addr;

		here = from_sockaddr(at->ifa_addr, &addr) && ip_equal(&addr, source);
	}
	if (!here)
		warn(host, vrrp->line, "vrrp", vrrp->name,
		     vrrp->multicast ? "mcast_src_ip" : "unicast_src_ip",
		     conf_say("this host has no address %s", ip_format(source, text)),
		     conf_say("`ip addr` shows what there is"));
}

/* Who else may change what root executes: the path's directories and the file itself. */
static const char *writable_by_others(const char *path, char room[4096])
{
	char *real = realpath(path, NULL);
	struct stat st;
	const char *found = NULL;

	if (!real)
		return NULL;
	for (size_t i = strlen(real); !found; i--) {
		if (real[i] != '/' && real[i] != '\0')
			continue;
		snprintf(room, 4096, "%.*s", i ? (int)i : 1, real);
		/* The sticky bit keeps others from replacing what they do not own. */
		if (stat(room, &st) == 0 &&
		    (st.st_uid != 0 || (st.st_mode & S_IWOTH && !(st.st_mode & S_ISVTX)) ||
		     (st.st_mode & S_IWGRP && st.st_gid != 0 && !(st.st_mode & S_ISVTX))))
			found = room;
		if (i == 0)
			break;
	}
	free(real);
	return found;
}

/* As execvp() looks for it. */
static bool find_program(const char *name, char room[4096])
{
	const char *path = getenv("PATH");

	if (strchr(name, '/')) {
		snprintf(room, 4096, "%s", name);
		return true;
	}
	if (!path)
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	while (*path) {
		size_t size = strcspn(path, ":");

		snprintf(room, 4096, "%.*s/%s", (int)size, path, name);
		if (size > 0 && access(room, X_OK) == 0)
			return true;
		path += size + (path[size] == ':');
	}
	return false;
}

static void check_command(struct host *host, const struct conf_command *command, const char *kind,
			  const char *name, const char *setting)
{
	char program[4096], other[4096];
	struct stat st;
	const char *found;

	if (!command->argv)
		return;
	if (command->user && !getpwnam(command->user))
		warn(host, command->line, kind, name, setting,
		     conf_say("there is no account \"%s\" to run it", command->user),
		     conf_say("make it, or name another"));
	if (!find_program(command->argv[0], program)) {
		warn(host, command->line, kind, name, setting,
		     conf_say("there is no program \"%.200s\" in the PATH", command->argv[0]),
		     conf_say("install it, or write its whole path"));
		return;
	}
	if (stat(program, &st) < 0) {
		warn(host, command->line, kind, name, setting,
		     conf_say("%.200s cannot be executed: %s", program, strerror(errno)),
		     conf_say("put it there, or correct the path"));
		return;
	}
	if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0) {
		warn(host, command->line, kind, name, setting,
		     conf_say("%.200s cannot be executed: %s", program,
			      S_ISREG(st.st_mode) ? "its mode does not allow it"
						  : "it is not a file"),
		     S_ISREG(st.st_mode) ? conf_say("chmod 755 %.200s", program)
					 : conf_say("write the path of a program"));
		return;
	}
	if (command->user && strcmp(command->user, "root") != 0)
		return;
	found = writable_by_others(program, other);
	if (found)
		warn(host, command->line, kind, name, setting,
		     conf_say("root runs %.200s, and others than root may write %.200s", program,
			      found),
		     conf_say("chown root %.200s and chmod go-w %.200s", found, found));
}

static void check_mirror(struct host *host, const struct conf_mirror *mirror)
{
	struct stat st;

	for (int i = 0; i < mirror->paths_count; i++) {
		const char *path = mirror->paths[i];

		if (lstat(path, &st) < 0)
			warn(host, mirror->line, "mirrors", mirror->name, "paths",
			     conf_say("%.200s: %s", path, strerror(errno)),
			     conf_say("make the directory; until then nothing of it is mirrored"));
		else if (!S_ISDIR(st.st_mode))
			warn(host, mirror->line, "mirrors", mirror->name, "paths",
			     conf_say("%.200s is %s", path,
				      S_ISLNK(st.st_mode) ? "a symbolic link" : "not a directory"),
			     conf_say("name the directory itself"));
	}
	check_command(host, &mirror->validate, "mirrors", mirror->name, "validate");
	check_command(host, &mirror->reload, "mirrors", mirror->name, "reload");
}

void conf_host_check(const struct conf *conf, struct conf_problems *problems)
{
	static const char *const hooks[CONF_HOOKS] = {
		[CONF_HOOK_MASTER] = "notify_master", [CONF_HOOK_BACKUP] = "notify_backup",
		[CONF_HOOK_FAULT] = "notify_fault",   [CONF_HOOK_STOP] = "notify_stop",
		[CONF_HOOK_ANY] = "notify",
	};
	struct host host = {.reader = {.problems = problems}, .conf = conf};
	struct ifaddrs *addrs = NULL;

	if (getifaddrs(&addrs) < 0)
		addrs = NULL;
	host.addrs = addrs;
	for (int i = 0; i < conf->checks_count; i++) {
		check_command(&host, &conf->checks[i].script, "checks", conf->checks[i].name,
			      "script");
		check_command(&host, &conf->checks[i].restart, "checks", conf->checks[i].name,
			      "restart");
	}
	for (int i = 0; i < conf->vrrps_count; i++) {
		const struct conf_vrrp *vrrp = &conf->vrrps[i];

		if (conf->self >= 0 && addrs)
			check_vrrp(&host, vrrp);
		if (conf->self >= 0 && vrrp->priorities[conf->self] == 0)
			continue;
		for (int h = 0; h < CONF_HOOKS; h++)
			check_command(&host, &vrrp->hooks[h], "vrrp", vrrp->name, hooks[h]);
	}
	for (int i = 0; i < conf->groups_count; i++)
		for (int h = 0; h < CONF_HOOKS; h++)
			check_command(&host, &conf->groups[i].hooks[h], "groups",
				      conf->groups[i].name, hooks[h]);
	for (int i = 0; i < conf->mirrors_count; i++)
		check_mirror(&host, &conf->mirrors[i]);
	freeifaddrs(addrs);
	conf_problems_sort(problems);
}
