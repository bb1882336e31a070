const BLOCK = 512;
/** Sizes from here on do not fit into eleven octal digits. */
const OCTAL_LIMIT = 8 ** 11;

/** What ends an archive: two blocks of zeros. */
export const TAR_END = Buffer.alloc(2 * BLOCK);

/** The header block of a plain file, for archives that Keelson writes. Names are ASCII, 100 characters at most. */
export function fileHeader(name: string, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0, 100, 'latin1');
  block.write('0000644\x000000000\x000000000\0', 100, 'latin1');
  if (size < OCTAL_LIMIT) {
    block.write(size.toString(8).padStart(11, '0'), 124, 'latin1');
  } else {
    block.writeBigUInt64BE(BigInt(size), 128);
    block[124] = 0x80;
  }
  block.write('00000000000\0', 136, 'latin1');
  block.write('0', 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** The zeros that fill a file of this size up to whole blocks. */
export function filePadding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}
