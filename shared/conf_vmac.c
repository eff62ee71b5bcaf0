/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_vmac: `use_vmac` of a `vrrp` entry, and what belongs to it.
 */
#include <stdio.h>
#include <string.h>

#include "shared/conf_private.h"

/* What the kernel takes, less what would be awkward in a shell or a path. */
static bool is_name(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	const size_t size = strlen(text);

	return size > 0 && size < CONF_IFNAME_BYTES && strspn(text, letters) == size &&
	       strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

static void name_by_vrid(struct conf_vrrp *vrrp)
{
	/* One router identifier may serve both families. */
	snprintf(vrrp->vmac, sizeof vrrp->vmac, "vrrp%s.%u", vrrp->family == IP_V6 ? "6" : "",
		 (unsigned)vrrp->vrid & 0xff);
}

void conf_read_vmac(const struct conf_scope *scope, struct conf_vrrp *vrrp)
{
	static const char example[] = "use_vmac = true; or use_vmac = \"vrrp.51\";";
	config_setting_t *setting = conf_get(scope, "use_vmac");
	bool below = false;

	if (setting && config_setting_type(setting) == CONFIG_TYPE_BOOL) {
		if (config_setting_get_bool(setting))
			name_by_vrid(vrrp);
	} else if (setting && config_setting_type(setting) == CONFIG_TYPE_STRING) {
		const char *name = config_setting_get_string(setting);

		for (int node = 0; node < CONF_NODES_MAX && !below; node++)
			below = vrrp->interfaces[node] && !strcmp(vrrp->interfaces[node], name);
		if (below)
			conf_error(scope, "use_vmac",
				   conf_say("\"%s\" is the interface below it", name),
				   conf_say("give it another name, or write use_vmac = true;"));
		else if (is_name(name))
			snprintf(vrrp->vmac, sizeof vrrp->vmac, "%s", name);
		else
			conf_error(scope, "use_vmac",
				   conf_say("\"%.80s\" is not a name for an interface", name),
				   conf_say("1 to %d of a-z, A-Z, 0-9, dot, dash and underscore",
					    CONF_IFNAME_BYTES - 1));
	} else if (setting) {
		conf_wrong_type(scope, "use_vmac", setting, "true, or a name for the interface",
				example);
	}
	if (conf_read_bool(scope, "vmac_xmit_base", &vrrp->vmac_xmit_base) &&
	    vrrp->vmac_xmit_base && !setting)
		conf_warning(scope, "vmac_xmit_base", conf_say("has no effect without use_vmac"),
			     conf_say("write %s", example));
}

void conf_vmac_mac(const struct conf_vrrp *vrrp, uint8_t ret_mac[6])
{
	/* RFC 9568 section 7.3. */
	const uint8_t mac[6] = {
		0x00, 0x00, 0x5e, 0x00, vrrp->family == IP_V6 ? 2 : 1, (uint8_t)vrrp->vrid};

	memcpy(ret_mac, mac, sizeof mac);
}
