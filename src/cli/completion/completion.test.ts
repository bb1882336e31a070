import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { type CompletionTree, SHELLS } from './index.ts';

const leaf = { options: [], arguments: [], choices: [], commands: [], summary: "it's one" };

const tree: CompletionTree = {
  name: 'keelson',
  summary: '',
  options: [
    { names: ['-r', '--socket'], description: 'a socket', takesValue: true, choices: [] },
    { names: ['--version'], description: 'version', takesValue: false, choices: [] },
  ],
  arguments: [],
  choices: [],
  commands: [
    {
      ...leaf,
      name: 'ps',
      options: [
        {
          names: ['-o', '--output'],
          description: 'format',
          takesValue: true,
          choices: ['json', 'yaml'],
        },
      ],
    },
    { ...leaf, name: 'stop', arguments: ['container'] },
    {
      ...leaf,
      name: 'config',
      commands: [
        { ...leaf, name: 'dump' },
        { ...leaf, name: 'default' },
      ],
    },
    { ...leaf, name: 'completion', arguments: ['shell'], choices: ['bash', 'zsh'] },
  ],
};

/** What bash would offer with the cursor at the end of these words. */
function offered(...words: string[]): string[] {
  const script = `
    keelson() { echo "id-of-$1"; }
    ${SHELLS.bash(tree)}
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _keelson
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const output = execFileSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8' });
  return output.split('\n').filter((word) => word !== '');
}

it.each([
  [
    ['keelson', ''],
    ['ps', 'stop', 'config', 'completion'],
  ],
  [
    ['keelson', 'c'],
    ['config', 'completion'],
  ],
  [['keelson', '--s'], ['--socket']],
  [['keelson', '-r', ''], []],
  [
    ['keelson', '-r', 'ps', ''],
    ['ps', 'stop', 'config', 'completion'],
  ],
  [
    ['keelson', '-r', 'x', 'ps', '-'],
    ['-o', '--output'],
  ],
  [
    ['keelson', 'ps', '-o', ''],
    ['json', 'yaml'],
  ],
  [['keelson', 'ps', '--output', 'y'], ['yaml']],
  [
    ['keelson', 'config', 'd'],
    ['dump', 'default'],
  ],
  [
    ['keelson', 'completion', ''],
    ['bash', 'zsh'],
  ],
  [['keelson', 'stop', ''], ['id-of-ps']],
])('bash offers for %j %j', (words, offers) => {
  expect(offered(...words)).toEqual(offers);
});

it.each(['zsh', 'fish'] as const)('%s gets each command and option', (shell) => {
  const script = SHELLS[shell](tree);
  for (const word of ['ps', 'stop', 'config', 'dump', 'socket', 'output', 'json yaml']) {
    expect(script).toContain(word);
  }
  expect(script).toContain('keelson ps --all --quiet');
});
