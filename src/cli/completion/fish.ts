import { type CompletionTree, listCommand, quoted, walk } from './tree.ts';

/** A script for fish: one `complete` for each command, option and list of ids. */
export function fishCompletion(root: CompletionTree): string {
  const lines = [...walk(root)].flatMap(({ path, tree }) => [
    ...subcommands(path, tree),
    ...options(path, tree),
    ...values(path, tree),
  ]);
  return `# fish completion for keelson\n${lines.join('\n')}\n`;
}

function subcommands(path: readonly string[], tree: CompletionTree): string[] {
  return tree.commands.map(
    ({ name, summary }) =>
      `complete -c keelson -f -n ${condition(path, tree)} -a ${quoted(name)} -d ${fish(summary)}`,
  );
}

function options(path: readonly string[], tree: CompletionTree): string[] {
  return tree.options.map(({ names, description, takesValue, choices }) => {
    const flags = names.map((name) =>
      name.startsWith('--') ? `-l ${quoted(name.slice(2))}` : `-s ${quoted(name.slice(1))}`,
    );
    const value = takesValue
      ? ` -r${choices.length > 0 ? ` -f -a ${quoted(choices.join(' '))}` : ''}`
      : '';
    return `complete -c keelson -n ${condition(path, tree)} ${flags.join(' ')}${value} -d ${fish(description)}`;
  });
}

function values(path: readonly string[], tree: CompletionTree): string[] {
  const list = listCommand(tree);
  const words = list === undefined ? tree.choices.join(' ') : `(${list} 2>/dev/null)`;
  if (words === '') return [];
  return [`complete -c keelson -f -n ${condition(path, tree)} -a ${quoted(words)}`];
}

/** True while this command has been typed and none below it. */
function condition(path: readonly string[], tree: CompletionTree): string {
  const typed = path.slice(1).map((name) => `__fish_seen_subcommand_from ${name}`);
  const below = tree.commands.map(({ name }) => name).join(' ');
  const none = below === '' ? [] : [`not __fish_seen_subcommand_from ${below}`];
  return quoted([...typed, ...none].join('; and ') || 'true');
}

/** Text within single quotes of fish, which knows two escapes. */
function fish(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}
