/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tandem: what is going on, and what do I want changed?
 */
#include "ctl/verbs.h"

int main(int argc, char **argv)
{
	return verb_dispatch(argc, argv);
}
