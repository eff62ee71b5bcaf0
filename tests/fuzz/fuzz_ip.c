/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to address and back, with the C library as the judge of what is an address.
 * runs: 300000
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shared/ip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), formatted[IP_TEXT_MAX];
	struct ip_addr addr = {0}, again = {0};
	struct ip_prefix prefix;
	uint8_t judged[16] = {0};
	int family = AF_INET;
	bool is_address;

	CHECK(text);
	memcpy(text, data, size);
	text[size] = '\0';
	is_address = inet_pton(AF_INET, text, judged) == 1;
	if (!is_address) {
		family = AF_INET6;
		is_address = inet_pton(AF_INET6, text, judged) == 1;
	}
	CHECK(ip_parse(text, &addr) == is_address);
	if (is_address) {
		CHECK(addr.family == (family == AF_INET ? IP_V4 : IP_V6));
		CHECK(memcmp(addr.bytes, judged, ip_size(&addr)) == 0);
		ip_format(&addr, formatted);
		CHECK(ip_parse(formatted, &again));
		CHECK(memcmp(&addr, &again, sizeof(addr)) == 0);
		CHECK(ip_parse_prefix(text, &prefix) && prefix.prefix_len == 8 * ip_size(&addr));
	}
	if (ip_parse_prefix(text, &prefix)) {
		CHECK(prefix.prefix_len <= 8 * ip_size(&prefix.addr));
		CHECK(ip_in_prefix(&prefix.addr, &prefix));
	}
	free(text);
	return 0;
}
