/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tandem keygen: this node's key, made once. A second one would be another node to all the others,
 * so that an old one is never overwritten.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/verbs.h"
#include "syncd/identity.h"

int verb_keygen(const struct verb_args *args)
{
	uint8_t pin[IDENTITY_PIN_BYTES];
	char text[IDENTITY_PIN_TEXT_ROOM];
	char why[IDENTITY_WHY_ROOM] = "";
	struct identity *identity = NULL;
	int r = identity_make(args->state_dir, false, pin, why);

	if (r == -EEXIST) {
		/* Its pin is what most people who ask twice want. */
		r = identity_load(args->state_dir, &identity, why);
		if (r == 0) {
			identity_pin(identity, pin);
			identity_pin_format(pin, text);
			identity_free(identity);
			fprintf(stderr,
				"tandem: %s/%s is there already and is kept; to replace it, move "
				"it "
				"away first, and give the new pin to all nodes\n",
				args->state_dir, IDENTITY_FILE);
			printf("%s\n", text);
			return VERB_PENDING;
		}
	}
	if (r < 0) {
		fprintf(stderr, "tandem: %s\n", why[0] ? why : strerror(-r));
		return VERB_FAILED;
	}
	identity_pin_format(pin, text);
	printf("%s\n", text);
	fprintf(stderr,
		"tandem: write it into this node's entry in tandem.conf, on every node: key = "
		"\"%s\";\n",
		text);
	return VERB_OK;
}
