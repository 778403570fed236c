# What clap generates above takes bash's words as they are. Bash cuts them at each colon and equals sign, so also within IPv6
# addresses, and puts what is offered in the place of what stands behind the last of those.
_xlat_complete() {
    local line=${COMP_LINE:0:COMP_POINT} each
    local -a words offered
    read -ra words <<< "$line"
    if [[ $line == *[[:space:]] ]]; then
        words+=("")
    fi
    local current=${words[-1]} COMP_CWORD=$((${#words[@]} - 1))
    local -a COMP_WORDS=("${words[@]}")
    _clap_complete_xlat "$1" "$current" "$3"
    local before=${current%"$2"}
    for each in "${COMPREPLY[@]}"; do
        offered+=("${each#"$before"}")
    done
    COMPREPLY=("${offered[@]}")
}
complete -o nospace -o bashdefault -o nosort -F _xlat_complete xlat 2>/dev/null ||
    complete -o nospace -o bashdefault -F _xlat_complete xlat
