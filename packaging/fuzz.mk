# SPDX-License-Identifier: Apache-2.0
# make fuzz: every tests/fuzz/fuzz_*.c is a libFuzzer target, built with clang and its sanitizers
# into $(B)/fuzz and run from its kept corpus tests/fuzz/corpus/NAME. `make fuzz-build` only builds;
# `make fuzz-search` goes on from the corpus for SECONDS.

FUZZ_CC  ?= clang
FUZZB     = $(B)/fuzz
FUZZERS   = $(patsubst tests/fuzz/%.c,$(FUZZB)/%,$(wildcard tests/fuzz/fuzz_*.c))
# Recovery off: a finding that does not stop the run is one that nobody sees.
FUZZFLAGS = -std=gnu11 -O1 -g -Wall -Wextra -fsanitize=address,undefined,fuzzer-no-link \
	    -fno-sanitize-recover=all -fno-omit-frame-pointer -pthread -I. -D_GNU_SOURCE \
	    -DTANDEM_VERSION='"$(VERSION)"' -DTANDEM_LIBEXECDIR='"$(LIBEXECDIR)"' \
	    $(PKG_CFLAGS) $(CFLAGS)

.PHONY: fuzz fuzz-build fuzz-search
fuzz:
	$(Q)tests/fuzz/run '$(B)'

fuzz-search:
	$(Q)tests/fuzz/run --search $(or $(SECONDS),600) '$(B)'

fuzz-build: $(FUZZERS)

$(FUZZB)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CLANG,$<)
	$(Q)$(FUZZ_CC) $(FUZZFLAGS) -MMD -MP -c -o $@ $<

$(FUZZB)/libtandem.a: $(SOURCES:%.c=$(FUZZB)/%.o)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(FUZZERS): $(FUZZB)/%: $(FUZZB)/tests/fuzz/%.o $(FUZZB)/libtandem.a
	$(call say,LINK,$@)
	$(Q)$(FUZZ_CC) -fsanitize=address,undefined,fuzzer -o $@ $^ $(PKG_LIBS) -lm -pthread
