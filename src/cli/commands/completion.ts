import { Argument, type Command } from 'commander';
import { type CompletionTree, SHELLS, type Shell } from '../completion/index.ts';
import type { Context } from '../context.ts';
import { print } from '../output.ts';

/** `keelson completion`: a script that a shell reads. */
export function configure(command: Command, context: Context): void {
  command
    .addArgument(new Argument('<shell>').choices(Object.keys(SHELLS)))
    .addHelpText('after', '\nFor example: source <(keelson completion bash)')
    .action(async (shell: Shell) => {
      await print(context.stdout, SHELLS[shell](treeOf(await context.wholeProgram())));
    });
}

function treeOf(command: Command): CompletionTree {
  const help = command.createHelp();
  return {
    name: command.name(),
    summary: command.summary() || command.description(),
    options: help.visibleOptions(command).map((option) => ({
      names: [option.short, option.long].filter((name) => name !== undefined && name !== null),
      description: option.description,
      takesValue: option.required || option.optional,
      choices: option.argChoices ?? [],
    })),
    arguments: command.registeredArguments.map((argument) => argument.name()),
    choices: command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    commands: command.commands.map(treeOf),
  };
}
