/** A command that is run somewhere else, without the `--` that may stand before it. */
export function withoutDashes(words: readonly string[]): string[] {
  return words[0] === '--' ? words.slice(1) : [...words];
}
