/* SPDX-License-Identifier: Apache-2.0 */
#include "shared/ip.h"

#include <assert.h>
#include <string.h>

/* inet_pton() and inet_ntop() would do, but a core may reach nothing outside
 * (docs/ARCHITECTURE.md), and these few lines are the same on every libc. */

/* A decimal number up to max, without sign or leading zero ("010" is octal to some, ten to others,
 * and so to nobody here). Returns where it ended, or NULL. */
static const char *parse_decimal(const char *text, unsigned int max, unsigned int *ret_value)
{
	unsigned int value = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++) {
		value = value * 10 + (unsigned int)(*at - '0');
		if (value > max || (at > text && *text == '0'))
			return NULL;
	}
	if (at == text)
		return NULL;
	*ret_value = value;
	return at;
}

/* Four decimal numbers with dots between; returns where they ended, or NULL. */
static const char *parse_v4(const char *text, uint8_t bytes[4])
{
	for (int i = 0; i < 4; i++) {
		unsigned int value = 0;

		if (i > 0 && *text++ != '.')
			return NULL;
		text = parse_decimal(text, 255, &value);
		if (!text)
			return NULL;
		bytes[i] = (uint8_t)value;
	}
	return text;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* RFC 4291 section 2.2: groups, at most one "::", and perhaps a dotted quad in the last four bytes.
 * Returns where it ended, or NULL. */
static const char *parse_v6(const char *text, uint8_t bytes[16])
{
	uint8_t groups[16] = {0};
	size_t size = 0; /* bytes read so far */
	size_t gap = 17; /* where the "::" stands; 17: nowhere */

	if (text[0] == ':') {
		if (text[1] != ':')
			return NULL;
		gap = 0;
		text += 2;
	}
	while (hex_digit(*text) >= 0) {
		const char *start = text;
		unsigned int value = 0;

		if (size == 16)
			return NULL;
		for (; hex_digit(*text) >= 0; text++) {
			if (text - start == 4)
				return NULL;
			value = value << 4 | (unsigned int)hex_digit(*text);
		}
		if (*text == '.') {
			if (size > 12)
				return NULL;
			text = parse_v4(start, groups + size);
			if (!text)
				return NULL;
			size += 4;
			break;
		}
		groups[size++] = (uint8_t)(value >> 8);
		groups[size++] = (uint8_t)value;
		if (*text != ':')
			break;
		text++;
		if (*text == ':') {
			if (gap != 17)
				return NULL;
			gap = size;
			text++;
		} else if (hex_digit(*text) < 0) {
			return NULL; /* a single colon at the end */
		}
	}
	/* "::" stands for at least one group of zeros. */
	if (gap == 17 ? size != 16 : size > 14)
		return NULL;
	memset(bytes, 0, 16);
	if (gap == 17) {
		memcpy(bytes, groups, 16);
	} else {
		memcpy(bytes, groups, gap);
		memcpy(bytes + 16 - (size - gap), groups + gap, size - gap);
	}
	return text;
}

/* Returns where the address ended, or NULL. */
static const char *parse_addr(const char *text, struct ip_addr *ret_addr)
{
	struct ip_addr addr = {0};
	const char *end = parse_v4(text, addr.bytes);

	addr.family = IP_V4;
	if (!end) {
		addr.family = IP_V6;
		end = parse_v6(text, addr.bytes);
	}
	if (end)
		*ret_addr = addr;
	return end;
}

bool ip_parse(const char *text, struct ip_addr *ret_addr)
{
	struct ip_addr addr;
	const char *end = parse_addr(text, &addr);

	if (!end || *end != '\0')
		return false;
	*ret_addr = addr;
	return true;
}

bool ip_parse_prefix(const char *text, struct ip_prefix *ret_prefix)
{
	struct ip_prefix prefix;
	unsigned int len;
	const char *end = parse_addr(text, &prefix.addr);

	if (!end)
		return false;
	len = (unsigned int)ip_size(&prefix.addr) * 8;
	if (*end == '/')
		end = parse_decimal(end + 1, len, &len);
	if (!end || *end != '\0')
		return false;
	prefix.prefix_len = (uint8_t)len;
	*ret_prefix = prefix;
	return true;
}

static char *format_decimal(char *at, unsigned int value)
{
	if (value >= 100)
		*at++ = (char)('0' + value / 100);
	if (value >= 10)
		*at++ = (char)('0' + value / 10 % 10);
	*at++ = (char)('0' + value % 10);
	return at;
}

static char *format_v4(char *at, const uint8_t bytes[4])
{
	for (int i = 0; i < 4; i++) {
		if (i > 0)
			*at++ = '.';
		at = format_decimal(at, bytes[i]);
	}
	return at;
}

static char *format_group(char *at, unsigned int value)
{
	static const char digits[] = "0123456789abcdef";
	bool started = false;

	for (int shift = 12; shift >= 0; shift -= 4) {
		unsigned int digit = value >> shift & 15;

		started = started || digit != 0 || shift == 0;
		if (started)
			*at++ = digits[digit];
	}
	return at;
}

/* RFC 5952: lower case, no leading zeros, "::" for the first longest run of at least two zero
 * groups; section 5: a mapped IPv4 address in dotted form. */
static char *format_v6(char *at, const uint8_t bytes[16])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	int groups = memcmp(bytes, mapped, sizeof(mapped)) == 0 ? 6 : 8;
	int best = -1, best_len = 1;

	for (int i = 0; i < groups; i++) {
		int len = 0;

		while (i + len < groups && bytes[2 * (i + len)] == 0 &&
		       bytes[2 * (i + len) + 1] == 0)
			len++;
		if (len > best_len) {
			best = i;
			best_len = len;
		}
	}
	for (int i = 0; i < groups; i++) {
		if (i == best) {
			*at++ = ':';
			*at++ = ':';
			i += best_len - 1;
			continue;
		}
		if (i > 0 && at[-1] != ':')
			*at++ = ':';
		at = format_group(at, (unsigned int)bytes[2 * i] << 8 | bytes[2 * i + 1]);
	}
	if (groups == 6) {
		if (at[-1] != ':')
			*at++ = ':';
		at = format_v4(at, bytes + 12);
	}
	return at;
}

const char *ip_format(const struct ip_addr *addr, char text[IP_TEXT_MAX])
{
	char *at = text;

	switch (addr->family) {
	case IP_V4:
		at = format_v4(at, addr->bytes);
		break;
	case IP_V6:
		at = format_v6(at, addr->bytes);
		break;
	default:
		memcpy(at, "none", 4);
		at += 4;
		break;
	}
	assert(at - text < IP_TEXT_MAX);
	*at = '\0';
	return text;
}

bool ip_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, ip_size(a)) == 0;
}

int ip_compare(const struct ip_addr *a, const struct ip_addr *b)
{
	assert(a->family == b->family);
	return memcmp(a->bytes, b->bytes, ip_size(a));
}

size_t ip_size(const struct ip_addr *addr)
{
	switch (addr->family) {
	case IP_V4:
		return 4;
	case IP_V6:
		return 16;
	default:
		return 0;
	}
}

bool ip_is_link_local(const struct ip_addr *addr)
{
	return addr->family == IP_V6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

bool ip_in_prefix(const struct ip_addr *addr, const struct ip_prefix *prefix)
{
	size_t whole = prefix->prefix_len / 8;
	unsigned int rest = prefix->prefix_len % 8;
	size_t size = ip_size(addr);

	if (addr->family != prefix->addr.family || size == 0 || prefix->prefix_len > size * 8)
		return false;
	if (memcmp(addr->bytes, prefix->addr.bytes, whole) != 0)
		return false;
	return rest == 0 || ((addr->bytes[whole] ^ prefix->addr.bytes[whole]) >> (8 - rest)) == 0;
}
