import { bashCompletion } from './bash.ts';
import { fishCompletion } from './fish.ts';
import type { CompletionTree } from './tree.ts';
import { zshCompletion } from './zsh.ts';

export type { CompletionOption, CompletionTree } from './tree.ts';

export type Shell = 'bash' | 'zsh' | 'fish';

/** What writes the completion script of each shell. */
export const SHELLS: Readonly<Record<Shell, (tree: CompletionTree) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};
