/**
 * Large buffers to be used again. Made anew for each layer they would cost a worker more
 * than their pages: the collector runs by how much memory of this kind was made.
 */
const spare: Buffer[] = [];

export function takeBuffer(size: number): Buffer {
  const index = spare.findIndex(({ length }) => length === size);
  return spare.splice(index, index < 0 ? 0 : 1)[0] ?? Buffer.allocUnsafeSlow(size);
}

/** Only for buffers that nobody, and no thread of a library, uses any more. */
export function giveBack(...buffers: readonly Buffer[]): void {
  spare.push(...buffers);
}
