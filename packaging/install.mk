# make install: filled in beside conf/ and init/.
