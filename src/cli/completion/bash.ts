import { type CompletionTree, listCommand, quoted, walk } from './tree.ts';

/**
 * A script for bash: it walks the words before the cursor to find the command, then
 * offers its subcommands, options, the choices of an option, or ids asked of the daemon.
 */
export function bashCompletion(root: CompletionTree): string {
  const all = [...walk(root)];
  return `# bash completion for keelson
_keelson() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]}
  local command=keelson words='' i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$command \${COMP_WORDS[i]}" in
${all.map(({ path, tree }) => steps(path, tree)).join('')}    esac
  done
  case "$command $prev" in
${all.map(({ path, tree }) => values(path, tree)).join('')}  esac
  case "$command" in
${all.map(({ path, tree }) => words(path, tree)).join('')}  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o default -F _keelson keelson
`;
}

/** Arms that go from one word of the command line to the next. */
function steps(path: readonly string[], tree: CompletionTree): string {
  const down = tree.commands.map(
    ({ name }) => `      ${quoted([...path, name].join(' '))}) command+=${quoted(` ${name}`)} ;;\n`,
  );
  const skipped = optionPatterns(path, tree, () => true);
  return down.join('') + (skipped === '' ? '' : `      ${skipped}) ((i++)) ;;\n`);
}

/** Arms for the value of an option. */
function values(path: readonly string[], tree: CompletionTree): string {
  const chosen = tree.options
    .filter((option) => option.choices.length > 0)
    .map((option) => {
      const patterns = optionPatterns(path, tree, (other) => other === option);
      const choices = quoted(option.choices.join(' '));
      return `    ${patterns}) mapfile -t COMPREPLY < <(compgen -W ${choices} -- "$cur"); return ;;\n`;
    });
  const free = optionPatterns(path, tree, (option) => option.choices.length === 0);
  return chosen.join('') + (free === '' ? '' : `    ${free}) return ;;\n`);
}

/** The arm with what may stand at the cursor. */
function words(path: readonly string[], tree: CompletionTree): string {
  const options = tree.options.flatMap(({ names }) => names).join(' ');
  const first = [...tree.commands.map(({ name }) => name), ...tree.choices].join(' ');
  const list = listCommand(tree);
  const others = list === undefined ? quoted(first) : `$(${list} 2>/dev/null)`;
  const arm = `if [[ $cur == -* ]]; then words=${quoted(options)}; else words=${others}; fi`;
  return `    ${quoted(path.join(' '))}) ${arm} ;;\n`;
}

function optionPatterns(
  path: readonly string[],
  tree: CompletionTree,
  wanted: (option: CompletionTree['options'][number]) => boolean,
): string {
  return tree.options
    .filter((option) => option.takesValue && wanted(option))
    .flatMap(({ names }) => names.map((name) => quoted([...path, name].join(' '))))
    .join('|');
}
