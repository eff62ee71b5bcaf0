/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ip: an IPv4 or IPv6 address as a value. Pure.
 */
#ifndef TANDEM_IP_H
#define TANDEM_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IP_TEXT_MAX 46 /* INET6_ADDRSTRLEN */

enum ip_family { IP_NONE = 0, IP_V4 = 4, IP_V6 = 6 };

struct ip_addr {
	uint8_t family;	   /* enum ip_family */
	uint8_t bytes[16]; /* network order; IPv4 uses the first four, the rest are zero */
};

struct ip_prefix {
	struct ip_addr addr;
	uint8_t prefix_len;
};

/* Exactly one address, no blanks, no prefix. Returns false if text is not one. */
bool ip_parse(const char *text, struct ip_addr *ret_addr);
/* "ADDR" (host prefix) or "ADDR/LEN". */
bool ip_parse_prefix(const char *text, struct ip_prefix *ret_prefix);
/* Returns text: "198.51.100.1", IPv6 as RFC 5952 has it, or "none". */
const char *ip_format(const struct ip_addr *addr, char text[IP_TEXT_MAX]);
bool ip_equal(const struct ip_addr *a, const struct ip_addr *b);
/* Numerical order as RFC 9568 section 6.4.3 compares primary addresses; families must be equal. */
int ip_compare(const struct ip_addr *a, const struct ip_addr *b);
size_t ip_size(const struct ip_addr *addr); /* 4, 16, or 0 for IP_NONE */
/* fe80::/10: means something together with an interface only. */
bool ip_is_link_local(const struct ip_addr *addr);
bool ip_in_prefix(const struct ip_addr *addr, const struct ip_prefix *prefix);

#endif
