/** The completion scripts: each asks `kvasir complete` and falls back to file names when it has nothing to say. */
import type { Action } from '../command.ts'
import { UsageError } from '../usage-error.ts'

const scripts: Readonly<Record<string, string>> = {
  bash: `# Completion of kvasir for bash. In ~/.bashrc: source <(kvasir completion bash)
_kvasir() {
  local line index joined=
  local -a words=()
  COMPREPLY=()
  # Bash takes --flag=value for three words, and replaces only the third.
  for ((index = 1; index <= COMP_CWORD; index++)); do
    if [[ \${#words[@]} -gt 0 && ( \${COMP_WORDS[index]} == '=' || \${COMP_WORDS[index - 1]} == '=' ) ]]; then
      words[-1]+=\${COMP_WORDS[index]}
      joined=yes
    else
      words+=("\${COMP_WORDS[index]}")
      joined=
    fi
  done
  while IFS=$'\\t' read -r line _; do
    [[ -n $joined ]] && line=\${line#*=}
    [[ -n $line ]] && COMPREPLY+=("$line")
  done < <(kvasir complete -- "\${words[@]}" 2>/dev/null)
}
complete -o default -F _kvasir kvasir ./kvasir
`,
  zsh: `#compdef kvasir
# Completion of kvasir for zsh. In ~/.zshrc, after compinit: source <(kvasir completion zsh)
_kvasir() {
  local -a candidates
  local name summary
  while IFS=$'\\t' read -r name summary; do
    candidates+=("\${name//:/\\\\:}\${summary:+:$summary}")
  done < <(kvasir complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( \${#candidates} )); then
    _describe kvasir candidates
  else
    _files
  fi
}
compdef _kvasir kvasir
`,
  fish: `# Completion of kvasir for fish. In config.fish: kvasir completion fish | source
function __kvasir_complete
  set -l words (commandline -opc)
  set -l candidates (kvasir complete -- $words[2..] (commandline -ct) 2>/dev/null)
  if test (count $candidates) -gt 0
    printf '%s\\n' $candidates
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c kvasir -f -a '(__kvasir_complete)'
`,
}

export const printScript: Action = async (context) => {
  const shell = context.argument('SHELL')
  const script = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined
  if (script === undefined) {
    throw new UsageError(
      `There is no completion for ${JSON.stringify(shell)}.`,
      `Shells: ${Object.keys(scripts).join(', ')}.`,
    )
  }
  context.output.stdout.write(script)
  return undefined
}
