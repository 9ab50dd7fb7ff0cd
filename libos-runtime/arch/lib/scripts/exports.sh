#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# exports.sh RELEASE SYMVERS OUT: the linker version script of libos.so, from modpost's list.
# Prints OUT, for use in a linker flag. OUT changes only when its content does.
set -eu
release=$1 symvers=$2 out=$3

{
	echo "LIBOS_$release {"
	echo "global:"
	echo "	libos_entry;"
	echo "	__wrap_*;"
	[ ! -e "$symvers" ] || awk -F '\t' '$3 == "vmlinux" { print "\t" $2 ";" }' "$symvers"
	echo "local:"
	echo "	*;"
	echo "};"
} > "$out.new"
if cmp -s "$out.new" "$out"; then rm -f "$out.new"; else mv "$out.new" "$out"; fi
echo "$out"
