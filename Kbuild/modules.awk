# SPDX-License-Identifier: GPL-2.0
#
# Reads what `readelf -W -p .modinfo` prints of any number of modules; writes into the folder `out`
# the files that say which module provides what:
#   modules.alias    alias PATTERN MODULE     as depmod writes it
#   modules.dep      MODULE: DEPENDENCY...    direct ones; module names have '_', never '-'
#   modules.softdep  softdep MODULE pre: A B  as the module says it
# and prints the modules' vermagic, which is one.

function finish(    i) {
	if (name == "") return
	print name ":" dependencies > (out "/modules.dep")
	for (i = 0; i < aliases; i++) print "alias " alias[i] " " name > (out "/modules.alias")
	for (i = 0; i < softdeps; i++) print "softdep " name " " softdep[i] > (out "/modules.softdep")
	name = dependencies = ""
	aliases = softdeps = 0
}

/^File: / { finish() }
/^ +\[ *[0-9a-f]+\]  / {
	sub(/^ +\[ *[0-9a-f]+\]  /, "")
	value = $0
	sub(/^[^=]*=/, "", value)
}
/^name=/ { name = value }
/^alias=/ { alias[aliases++] = value }
/^softdep=/ { softdep[softdeps++] = value }
/^depends=./ { gsub(/,/, " ", value); gsub(/-/, "_", value); dependencies = " " value }
/^vermagic=/ { vermagic = value }
END { finish(); print vermagic }
