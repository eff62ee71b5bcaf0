/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/no_accept.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CHAIN "input"
#define ICMPV6 58
#define NEIGHBOR_SOLICIT 135
#define NEIGHBOR_ADVERT 136
#define LOOPBACK_IFINDEX 1 /* in every network namespace */
#define NAME_BYTES 80
/* A rule is some 300 bytes; and what stands around them. */
#define RULE_BYTES 512
#define FRAME_BYTES 4096
#ifndef NFT_TABLE_F_OWNER
#define NFT_TABLE_F_OWNER 0x2 /* Linux 5.12 */
#endif

struct no_accept_port {
	char table[NAME_BYTES];
	struct mnl_socket *socket; /* NULL until it is needed */
	bool there;		   /* the table */
	bool unowned;		   /* this kernel knows no owners */
	uint32_t sequence;
};

/* A transaction under construction. */
struct batch {
	struct no_accept_port *port;
	struct mnl_nlmsg_batch *messages;
	bool failed; /* no memory */
};

int no_accept_port_new(const char *name, struct no_accept_port **ret_port)
{
	struct no_accept_port *port = calloc(1, sizeof *port);

	if (!port)
		return -ENOMEM;
	snprintf(port->table, sizeof port->table, "tandem_%s", name);
	*ret_port = port;
	return 0;
}

struct no_accept_port *no_accept_port_free(struct no_accept_port *port)
{
	if (!port)
		return NULL;
	(void)no_accept_set(port, NULL, 0);
	if (port->socket)
		mnl_socket_close(port->socket);
	free(port);
	return NULL;
}

/* ---- messages ---- */

static struct nlmsghdr *begin(struct batch *batch, uint16_t type, uint16_t flags)
{
	return nftnl_nlmsg_build_hdr(mnl_nlmsg_batch_current(batch->messages), type, NFPROTO_INET,
				     flags, batch->port->sequence++);
}

static void put_table(struct batch *batch, uint16_t type)
{
	struct nftnl_table *table = nftnl_table_alloc();
	const bool creates = type == NFT_MSG_NEWTABLE;

	if (!table) {
		batch->failed = true;
		return;
	}
	nftnl_table_set_u32(table, NFTNL_TABLE_FAMILY, NFPROTO_INET);
	nftnl_table_set_str(table, NFTNL_TABLE_NAME, batch->port->table);
	if (creates && !batch->port->unowned)
		nftnl_table_set_u32(table, NFTNL_TABLE_FLAGS, NFT_TABLE_F_OWNER);
	nftnl_table_nlmsg_build_payload(begin(batch, type, creates ? NLM_F_CREATE : 0), table);
	mnl_nlmsg_batch_next(batch->messages);
	nftnl_table_free(table);
}

static void put_chain(struct batch *batch)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();

	if (!chain) {
		batch->failed = true;
		return;
	}
	nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, batch->port->table);
	nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, CHAIN);
	nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, "filter");
	nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, NF_INET_LOCAL_IN);
	nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, 0);
	nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	nftnl_chain_nlmsg_build_payload(begin(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE), chain);
	mnl_nlmsg_batch_next(batch->messages);
	nftnl_chain_free(chain);
}

/* ---- rules ---- */

static struct nftnl_expr *add(struct batch *batch, struct nftnl_rule *rule, const char *kind)
{
	struct nftnl_expr *expr = nftnl_expr_alloc(kind);

	if (expr)
		nftnl_rule_add_expr(rule, expr);
	else
		batch->failed = true;
	return expr;
}

static void load_meta(struct batch *batch, struct nftnl_rule *rule, uint32_t key)
{
	struct nftnl_expr *expr = add(batch, rule, "meta");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, NFT_REG_1);
}

static void load_bytes(struct batch *batch, struct nftnl_rule *rule, uint32_t header,
		       uint32_t offset, uint32_t size)
{
	struct nftnl_expr *expr = add(batch, rule, "payload");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, header);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, size);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
}

static void compare(struct batch *batch, struct nftnl_rule *rule, uint32_t how, const void *value,
		    uint32_t size)
{
	struct nftnl_expr *expr = add(batch, rule, "cmp");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, how);
	nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, value, size);
}

static struct nftnl_rule *begin_rule(struct batch *batch)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();

	if (!rule) {
		batch->failed = true;
		return NULL;
	}
	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, batch->port->table);
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, CHAIN);
	return rule;
}

static void end_rule(struct batch *batch, struct nftnl_rule *rule, uint32_t verdict)
{
	struct nftnl_expr *expr = add(batch, rule, "immediate");

	if (expr) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, verdict);
		nftnl_rule_nlmsg_build_payload(
			begin(batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND), rule);
		mnl_nlmsg_batch_next(batch->messages);
	}
	nftnl_rule_free(rule);
}

/* iif lo accept */
static void pass_own(struct batch *batch)
{
	const uint32_t lo = LOOPBACK_IFINDEX;
	struct nftnl_rule *rule = begin_rule(batch);

	if (!rule)
		return;
	load_meta(batch, rule, NFT_META_IIF);
	compare(batch, rule, NFT_CMP_EQ, &lo, sizeof lo);
	end_rule(batch, rule, NF_ACCEPT);
}

/* icmpv6 type 135-136 accept: RFC 9568 section 6.4.3, step (650). */
static void pass_neighbours(struct batch *batch)
{
	const uint8_t icmpv6 = ICMPV6, from = NEIGHBOR_SOLICIT, to = NEIGHBOR_ADVERT;
	struct nftnl_rule *rule = begin_rule(batch);

	if (!rule)
		return;
	load_meta(batch, rule, NFT_META_L4PROTO);
	compare(batch, rule, NFT_CMP_EQ, &icmpv6, sizeof icmpv6);
	load_bytes(batch, rule, NFT_PAYLOAD_TRANSPORT_HEADER, 0, sizeof from);
	compare(batch, rule, NFT_CMP_GTE, &from, sizeof from);
	compare(batch, rule, NFT_CMP_LTE, &to, sizeof to);
	end_rule(batch, rule, NF_ACCEPT);
}

/* ip daddr ADDR drop */
static void drop(struct batch *batch, const struct ip_addr *addr)
{
	const bool is_v6 = addr->family == IP_V6;
	const uint8_t family = is_v6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
	const uint32_t size = (uint32_t)ip_size(addr);
	struct nftnl_rule *rule = begin_rule(batch);

	if (!rule)
		return;
	load_meta(batch, rule, NFT_META_NFPROTO);
	compare(batch, rule, NFT_CMP_EQ, &family, sizeof family);
	load_bytes(batch, rule, NFT_PAYLOAD_NETWORK_HEADER, is_v6 ? 24 : 16, size);
	compare(batch, rule, NFT_CMP_EQ, addr->bytes, size);
	end_rule(batch, rule, NF_DROP);
}

/* ---- transactions ---- */

static int open_socket(struct no_accept_port *port)
{
	if (port->socket)
		return 0;
	port->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!port->socket)
		return -errno;
	if (mnl_socket_bind(port->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		int error = -errno;

		mnl_socket_close(port->socket);
		port->socket = NULL;
		return error;
	}
	return 0;
}

/* The kernel has judged all of it when the call returns, and says what it did not like. */
static int commit(struct batch *batch)
{
	const int fd = mnl_socket_get_fd(batch->port->socket);
	char answer[4096] __attribute__((aligned(8)));
	int error = 0;

	if (batch->failed)
		return -ENOMEM;
	if (mnl_socket_sendto(batch->port->socket, mnl_nlmsg_batch_head(batch->messages),
			      mnl_nlmsg_batch_size(batch->messages)) < 0)
		return -errno;
	for (;;) {
		ssize_t size = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
		const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
		const struct nlmsgerr *verdict;

		if (size < 0)
			return error ? error : errno == EWOULDBLOCK ? 0 : -errno;
		verdict = mnl_nlmsg_get_payload(header);
		if (!error && mnl_nlmsg_ok(header, (int)size) &&
		    header->nlmsg_type == NLMSG_ERROR && verdict->error)
			error = verdict->error;
	}
}

/* Made before it is taken away, since what is not there cannot be. */
static void write_all(struct batch *batch, const struct ip_addr *addrs, int count)
{
	nftnl_batch_begin(mnl_nlmsg_batch_current(batch->messages), batch->port->sequence++);
	mnl_nlmsg_batch_next(batch->messages);
	put_table(batch, NFT_MSG_NEWTABLE);
	put_table(batch, NFT_MSG_DELTABLE);
	if (count) {
		put_table(batch, NFT_MSG_NEWTABLE);
		put_chain(batch);
		pass_own(batch);
		pass_neighbours(batch);
	}
	for (int i = 0; i < count; i++)
		drop(batch, &addrs[i]);
	nftnl_batch_end(mnl_nlmsg_batch_current(batch->messages), batch->port->sequence++);
	mnl_nlmsg_batch_next(batch->messages);
}

static int replace(struct no_accept_port *port, const struct ip_addr *addrs, int count)
{
	const size_t room = FRAME_BYTES + (size_t)count * RULE_BYTES;
	struct batch batch = {.port = port};
	/* The library looks whether a message fits after it is written. */
	void *memory = malloc(room + RULE_BYTES);
	int error = -ENOMEM;

	if (memory)
		batch.messages = mnl_nlmsg_batch_start(memory, room);
	if (batch.messages) {
		write_all(&batch, addrs, count);
		error = commit(&batch);
		mnl_nlmsg_batch_stop(batch.messages);
	}
	free(memory);
	return error;
}

int no_accept_set(struct no_accept_port *port, const struct ip_addr *addrs, int count)
{
	int error;

	if (!count && !port->there)
		return 0;
	error = open_socket(port);
	if (!error)
		error = replace(port, addrs, count);
	if ((error == -EINVAL || error == -EOPNOTSUPP) && !port->unowned) {
		port->unowned = true;
		error = replace(port, addrs, count);
	}
	if (!error)
		port->there = count > 0;
	return error;
}
