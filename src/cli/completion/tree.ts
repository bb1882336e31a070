/** A command as a completion script needs to know it. */
export interface CompletionTree {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly CompletionOption[];
  /** The names of the arguments. */
  readonly arguments: readonly string[];
  /** The words that the first argument may be. */
  readonly choices: readonly string[];
  readonly commands: readonly CompletionTree[];
}

export interface CompletionOption {
  /** Such as `-o` and `--output`. */
  readonly names: readonly string[];
  readonly description: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
}

/** How ids are listed for arguments of these names. */
const LISTS: Readonly<Record<string, string>> = {
  container: 'keelson ps --all --quiet',
  pod: 'keelson pods --quiet',
  image: 'keelson images --quiet',
};

/** The shell command that prints what the first argument may be; undefined if files may. */
export function listCommand(tree: CompletionTree): string | undefined {
  const [argument] = tree.arguments;
  return argument === undefined ? undefined : LISTS[argument];
}

/** A command and all below it, each with its way there, such as `keelson config dump`. */
export function* walk(
  tree: CompletionTree,
  above: readonly string[] = [],
): Generator<{ path: readonly string[]; tree: CompletionTree }> {
  const path = [...above, tree.name];
  yield { path, tree };
  for (const command of tree.commands) yield* walk(command, path);
}

/** Text within single quotes of a POSIX shell. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
