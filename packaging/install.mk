# SPDX-License-Identifier: Apache-2.0
# make install, make uninstall. What goes where is listed once, in INSTALLED; both targets read it.

SBINDIR     = $(PREFIX)/sbin
BINDIR      = $(PREFIX)/bin
MANDIR      = $(PREFIX)/share/man
DOCDIR      = $(PREFIX)/share/doc/tandem
UNITDIR     = $(PREFIX)/lib/systemd/system
SYSUSERSDIR = $(PREFIX)/lib/sysusers.d
TMPFILESDIR = $(PREFIX)/lib/tmpfiles.d
BASHDIR     = $(PREFIX)/share/bash-completion/completions
INITDIR     = $(SYSCONFDIR)/init.d

# mode:from:to. What ends in .in has its @WORDS@ filled in; $(B) is the build folder.
MAN_PAGES   = $(wildcard docs/man/*.[1-8])
UNITS_IN    = $(wildcard init/*.service.in)
SAMPLES     = $(shell find conf -type f 2>/dev/null | sort)
INSTALLED   = 0755:$(B)/tandem-agent:$(SBINDIR)/tandem-agent \
	      0755:$(B)/tandem-prober:$(LIBEXECDIR)/tandem-prober \
	      0755:$(B)/tandem-syncd:$(SBINDIR)/tandem-syncd \
	      0755:$(B)/tandem:$(BINDIR)/tandem \
	      $(foreach m,$(MAN_PAGES),0644:$m:$(MANDIR)/man$(subst .,,$(suffix $m))/$(notdir $m)) \
	      $(foreach u,$(UNITS_IN),0644:$u:$(UNITDIR)/$(notdir $(u:.in=))) \
	      0644:init/tandem.sysusers:$(SYSUSERSDIR)/tandem.conf \
	      0644:init/tandem.tmpfiles:$(TMPFILESDIR)/tandem.conf \
	      0644:packaging/tandem.bash:$(BASHDIR)/tandem \
	      0755:init/tandem.init.in:$(INITDIR)/tandem \
	      0755:init/tandem-recover.init.in:$(INITDIR)/tandem-recover \
	      $(foreach d,$(wildcard README.md LICENSE docs/*.md),0644:$d:$(DOCDIR)/$(notdir $d)) \
	      $(foreach s,$(SAMPLES),keep:$s:$(DOCDIR)/examples/$(s:conf/%=%))

install: all
	$(Q)SBINDIR='$(SBINDIR)' SYSCONFDIR='$(SYSCONFDIR)' LOCALSTATEDIR='$(LOCALSTATEDIR)' \
		DESTDIR='$(DESTDIR)' packaging/place install $(INSTALLED)

uninstall:
	$(Q)SYSCONFDIR='$(SYSCONFDIR)' DESTDIR='$(DESTDIR)' packaging/place uninstall $(INSTALLED)
