# make fuzz: filled in beside tests/fuzz/.
