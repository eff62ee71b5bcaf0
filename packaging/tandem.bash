# SPDX-License-Identifier: Apache-2.0
# Completion of tandem(8) for bash: the program itself knows what a word may become.

_tandem()
{
	local word=${COMP_WORDS[COMP_CWORD]} line

	COMPREPLY=()
	while IFS= read -r line; do
		case $line in
		:file | :dir)
			compopt -o filenames 2>/dev/null
			while IFS= read -r line; do
				COMPREPLY+=("$line")
			done < <(compgen "-${line:1:1}" -- "$word")
			;;
		*)
			COMPREPLY+=("$line")
			;;
		esac
	done < <("${COMP_WORDS[0]}" complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}

complete -F _tandem tandem
