"""`bulk-export completion`."""

from __future__ import annotations

from typing import Annotated

import typer

from bulk_export.cli.streams import show
from bulk_export.errors import UsageError

SHELLS = ("bash", "zsh", "fish", "powershell")
PROGRAM = "bulk-export"

# The words of the line are split by the program and not by bash, for which `=` and `:` end a word. Of what comes back,
# bash wants only what stands behind such a character.
_BASH = """\
_bulk_export_completion() {
    local line=${COMP_LINE:0:COMP_POINT} word=${COMP_WORDS[COMP_CWORD]} reply
    [[ $word == [=:] ]] && word=
    local before=${line##*[[:space:]]}
    before=${before%"$word"}
    COMPREPLY=()
    while IFS= read -r reply; do
        reply=${reply%%$'\\t'*}
        [[ -n $reply ]] && COMPREPLY+=("${reply#"$before"}")
    done < <(_BULK_EXPORT_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \\
        _TYPER_COMPLETE_ARGS="$line" "$1" 2>/dev/null)
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o default -F _bulk_export_completion bulk-export
"""
# The file may be sourced, or be loaded by zsh when the command is first completed.
_ZSH = """\
#compdef bulk-export
_bulk_export_completion() {
    eval "$(_TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _BULK_EXPORT_COMPLETE=complete_zsh bulk-export)"
}
if [[ $funcstack[1] == _bulk-export ]]; then
    _bulk_export_completion "$@"
else
    compdef _bulk_export_completion bulk-export
fi
"""


def _shells(incomplete: str) -> list[str]:
    return [name for name in SHELLS if name.startswith(incomplete)]


Shell = Annotated[str, typer.Argument(metavar="|".join(SHELLS), help="Your shell.", autocompletion=_shells)]


def completion(shell: Shell) -> None:
    """Print a script that completes commands, options, values, endpoints and filters in a shell."""
    show(completion_script(shell).rstrip("\n"))


def completion_script(shell: str) -> str:
    """Return the script for a shell. Raises UsageError if it is not among `SHELLS`."""
    if shell not in SHELLS:
        raise UsageError(f"There is no completion for {shell!r}.", next_step=f"Choose from: {', '.join(SHELLS)}.")
    if shell in ("bash", "zsh"):
        return _BASH if shell == "bash" else _ZSH
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # it is imported there

    return get_completion_script(prog_name=PROGRAM, complete_var="_BULK_EXPORT_COMPLETE", shell=shell) + "\n"
