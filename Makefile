# SPDX-License-Identifier: Apache-2.0
# tandem: see `make help`.

VERSION   := $(shell cat VERSION)
PREFIX    ?= /usr
LIBEXECDIR ?= $(PREFIX)/libexec/tandem
SYSCONFDIR ?= /etc
LOCALSTATEDIR ?= /var
DESTDIR   ?=
CC        ?= cc
V         ?= 0
SAN       ?= 0
WERROR    ?= 0

ifeq ($(SAN),1)
B         ?= build-san
SANFLAGS  := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT       ?= -O1 -g
else
B         ?= build
SANFLAGS  :=
OPT       ?= -O2 -g
HARDENING := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection
endif

LIBS      := libnl-3.0 libnl-route-3.0 libconfig sqlite3 jansson libzstd libcap libseccomp \
	     libmd libmnl libnftnl openssl libcurl
WARNINGS  := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	     -Wpointer-arith -Wwrite-strings -Wformat=2 -Wvla
ifeq ($(WERROR),1)
WARNINGS  += -Werror
endif

# Evaluated once, and only by the goals that compile: `make deps` runs before the libraries exist.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(LIBS)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $(shell pkg-config --libs $(LIBS)) -lrsync -lm)$(PKG_LIBS)

ALL_CFLAGS = -std=gnu11 $(OPT) $(WARNINGS) $(HARDENING) $(SANFLAGS) -fPIE -pthread -I. \
	     -D_GNU_SOURCE -DTANDEM_VERSION='"$(VERSION)"' -DTANDEM_LIBEXECDIR='"$(LIBEXECDIR)"' $(PKG_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = $(SANFLAGS) -pie -Wl,-z,relro,-z,now,--as-needed $(LDFLAGS)

# The mains; every other source of a room goes into one archive, and so into whatever program
# needs it. A test that defines a port's functions itself never pulls the real one in.
MAINS     := agent/tandem-agent agent/tandem-prober syncd/tandem-syncd ctl/tandem
SOURCES   := $(filter-out $(MAINS:=.c),$(wildcard shared/*.c agent/*.c syncd/*.c ctl/*.c))
OBJECTS   := $(SOURCES:%.c=$(B)/%.o)
ARCHIVE   := $(B)/libtandem.a
PROGRAMS  := $(addprefix $(B)/,$(notdir $(MAINS)))
UNITS     := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c))
SIMS      := $(patsubst %.c,$(B)/%,$(wildcard tests/sim/sim_*.c))
NETTOOLS  := $(patsubst %.c,$(B)/%,$(wildcard tests/net/*.c)) \
	     $(patsubst tests/net/preload/%.c,$(B)/tests/net/%.so,$(wildcard tests/net/preload/*.c))

# The cores: what must reach nothing but memory, assert and each other.
CORES     := shared/wire shared/ip agent/vrrp_wire agent/vrrp_fsm agent/vrrp_backup \
	     agent/vrrp_master agent/vrrp_leaving agent/health_fsm agent/group_fsm agent/probe_judge \
	     syncd/entry syncd/generation syncd/merge syncd/plan syncd/journal syncd/settle \
	     syncd/session_wire syncd/session_wire_put syncd/session_words syncd/session_fsm \
	     syncd/session_frames syncd/session_act

ifeq ($(V),1)
Q :=
else
Q := @
MAKEFLAGS += --no-print-directory
endif
# `make -s` says nothing of its own.
say = $(if $(Q),$(if $(findstring s,$(firstword -$(MAKEFLAGS))),@:,@printf '  %-6s %s\n' '$(1)' '$(2)'))

.DEFAULT_GOAL := all
.PHONY: help all deps demo check check-unit check-pure check-net check-all sim mutants soak interop-13 \
	bench-agent install uninstall clean build-all lab
.SECONDARY:

help:
	@printf '%s\n' \
	'make all         build tandem-agent, tandem-syncd and tandem into $(B)/' \
	'make demo        install what is missing, build, and watch a pair at work (root, or sudo)' \
	'make check       install what is missing, build, and run every test (root, or sudo)' \
	'make check-unit  the unit tests and simulations alone' \
	'make check-pure  the cores reach nothing outside' \
	'make check-net   the tests in network namespaces alone (root)' \
	'make sim         a million schedules of the simulators of virtual routers and of groups' \
	'make mutants     mutate the cores mechanically, and say how many mistakes the tests notice' \
	'make fuzz        let every fuzzer run on its corpus' \
	'make fuzz-search let every fuzzer search on from there, SECONDS=600 each' \
	'make soak        a pair under random faults, MINUTES=10, SEED=any (root)' \
	'make interop-13  the tests with keepalived once more, with that of Debian 13 (root)' \
	'make check-all   all of these tests, one after the other: some hours (root, or sudo)' \
	'make bench-agent tandem and keepalived side by side (root); ARGS=--quick, ARGS=--write' \
	'make deps        install what building and testing need (apt, dnf or apk)' \
	'make install     put everything below $$(DESTDIR)$$(PREFIX); make uninstall takes it away' \
	'make clean       remove the build folder' \
	'' \
	'B=DIR build folder   SAN=1 with address and undefined sanitizers   V=1 show commands' \
	'WERROR=1 warnings are errors   DESTDIR= PREFIX= SYSCONFDIR= LOCALSTATEDIR= as usual'

# `deps` may have to install pkg-config's files first, so what compiles runs in a make of its own.
demo:
	$(Q)packaging/deps demo
	$(Q)$(MAKE) -j$(shell nproc) lab
	$(Q)tests/as-root tests/net/demo --build '$(B)'

check: deps
	$(Q)$(MAKE) -j$(shell nproc) build-all WERROR=1
	$(Q)tests/as-root tests/check '$(B)'

# Each part ends with a failure of its own; those after it run all the same, and then all of it fails.
check-all:
	$(Q)failed=; for part in check sim mutants interop-13 fuzz-search soak 'soak SAN=1'; do \
		printf '\n==== make %s\n' $$part; $(MAKE) $$part || failed="$$failed $$part"; \
	done; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

deps:
	$(Q)packaging/deps

build-all: lab $(UNITS) $(SIMS)

lab: all $(NETTOOLS)

all: $(PROGRAMS)

check-unit: $(UNITS) $(SIMS)
	$(Q)tests/run-units $(UNITS)
	$(Q)tests/run-units $(SIMS)

sim: $(B)/tests/sim/sim_vrrp $(B)/tests/sim/sim_group
	$(Q)$(B)/tests/sim/sim_vrrp --seeds 800000
	$(Q)$(B)/tests/sim/sim_group --seeds 200000

# Those that were made by hand, each a mistake that somebody might make, and those that are made
# mechanically.
mutants:
	$(Q)tests/mutants/run
	$(Q)tests/mutants/mutate.py

check-pure: $(CORES:%=$(B)/%.o)
	$(Q)tests/check-pure $^

check-net: lab
	$(Q)tests/as-root tests/net/run --build '$(B)'

soak: lab
	$(Q)tests/as-root tests/net/soak --build '$(B)' --minutes $(or $(MINUTES),10) --seed $(or $(SEED),0)

# The interoperation tests once more, with the keepalived of Debian 13 as the other half: fetched
# with debootstrap into the build folder, once.
interop-13: lab
	$(Q)tests/as-root tests/net/root-of-debian-13 '$(abspath $(B))/debian-13'
	$(Q)tests/as-root env KEEPALIVED_ROOT='$(abspath $(B))/debian-13' tests/net/run \
		--build '$(B)' interop forty_two hardware_address_fail_over

# What a client sees of tandem and of keepalived; ARGS="--quick --write", or names of cases.
bench-agent: lab
	$(Q)tests/as-root tests/bench/agent.py --build '$(abspath $(B))' $(ARGS)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The cores alone, in a shape that nm can judge: a sanitizer or a hardened build reaches for its
# own runtime, which says nothing about the source.
$(CORES:%=$(B)/%.o): $(B)/%.o: %.c

$(ARCHIVE): $(OBJECTS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $(OBJECTS)

$(B)/tandem-agent: $(B)/agent/tandem-agent.o $(ARCHIVE)
$(B)/tandem-prober: $(B)/agent/tandem-prober.o $(ARCHIVE)
$(B)/tandem-syncd: $(B)/syncd/tandem-syncd.o $(ARCHIVE)
$(B)/tandem: $(B)/ctl/tandem.o $(ARCHIVE)
$(PROGRAMS):
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -pthread

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(ARCHIVE)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lcmocka -pthread
$(B)/tests/sim/%: $(B)/tests/sim/%.o $(ARCHIVE)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -pthread
$(B)/tests/net/%: $(B)/tests/net/%.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -pthread

# Loaded into others, so without any runtime of its own.
$(B)/tests/net/%.so: tests/net/preload/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) -std=gnu11 $(OPT) $(WARNINGS) -D_GNU_SOURCE -fPIC -shared -o $@ $<

include packaging/install.mk packaging/fuzz.mk

clean:
	$(Q)rm -rf '$(B)'

-include $(shell find $(B) -path $(B)/debian-13 -prune -o -name '*.d' -type f -print 2>/dev/null)
