# Completion of jool and jool_siit for bash: the program itself knows what may come next.
_jool() {
    COMPREPLY=($(compgen -W "$("$1" autocomplete "$COMP_CWORD" "${COMP_WORDS[@]:1}" 2>/dev/null)" -- "$2"))
}
complete -F _jool jool jool_siit
