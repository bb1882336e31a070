import { type CompletionOption, type CompletionTree, listCommand, quoted, walk } from './tree.ts';

/** A script for zsh: one function for each command, by `_arguments`. */
export function zshCompletion(root: CompletionTree): string {
  const functions = [...walk(root)].map(({ path, tree }) => commandFunction(path, tree));
  return `#compdef keelson
${functions.join('\n')}
compdef _keelson keelson
`;
}

function commandFunction(path: readonly string[], tree: CompletionTree): string {
  const specs = [...tree.options.map(optionSpec), ...argumentSpecs(tree)];
  const lines = specs.map((spec) => `    ${spec}`).join(' \\\n');
  const name = functionName(path);
  if (tree.commands.length === 0) {
    return `${name}() {\n  _arguments -S \\\n${lines}\n}\n`;
  }
  const commands = tree.commands
    .map((command) => `    ${quoted(`${escaped(command.name)}:${command.summary}`)}`)
    .join('\n');
  const arms = tree.commands
    .map((command) => `        ${command.name}) ${functionName([...path, command.name])} ;;`)
    .join('\n');
  return `${name}() {
  local context state state_descr line
  local -A opt_args
  local -a commands
  commands=(
${commands}
  )
  _arguments -C \\
${lines}
  case $state in
    command) _describe command commands ;;
    rest)
      case $line[1] in
${arms}
      esac ;;
  esac
}
`;
}

function optionSpec({ names, description, takesValue, choices }: CompletionOption): string {
  const text = `[${description.replace(/[[\]\\]/g, '\\$&')}]`;
  const value = !takesValue
    ? ''
    : choices.length > 0
      ? `:value:(${choices.join(' ')})`
      : ':value:_default';
  // Options may be repeated where the program gathers them: * allows it everywhere.
  return names.length > 1
    ? `'*'{${names.join(',')}}${quoted(`${text}${value}`)}`
    : quoted(`*${names[0]}${text}${value}`);
}

function argumentSpecs(tree: CompletionTree): string[] {
  if (tree.commands.length > 0) return [quoted('1: :->command'), quoted('*:: :->rest')];
  const list = listCommand(tree);
  if (list !== undefined) {
    return [quoted(`*:${tree.arguments[0]}:{compadd -- \${(f)"$(${list} 2>/dev/null)"}}`)];
  }
  return tree.choices.length > 0
    ? [quoted(`1:${tree.arguments[0]}:(${tree.choices.join(' ')})`)]
    : [quoted('*:file:_files')];
}

function functionName(path: readonly string[]): string {
  return `_${path.join('_')}`;
}

function escaped(name: string): string {
  return name.replaceAll(':', '\\:');
}
