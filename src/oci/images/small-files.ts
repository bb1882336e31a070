import { codeOf, messageOf } from '../../base/errors.ts';
import { type ByteString, systemPath } from './byte-path.ts';
import { type FileAttributes, LayerFile } from './layer-file.ts';
import type { SharedSlots } from './shared-slots.ts';
import { explainEntry } from './unpack-errors.ts';

/** Bytes of the files that are written so. Many fit into a slot. */
const MAX_SIZE = 32 * 1024;
const MAX_PATH = 4096;
const MAX_UINT32 = 0xffffffff;

/** Where things lie in what is noted of a file; its path follows, then its content. */
const MODE = 0;
const UID = 4;
const GID = 8;
const SECONDS = 12;
const NANOSECONDS = 20;
const PATH_LENGTH = 24;
const SIZE = 28;
const HEADER = 32;

/**
 * Small files of a layer, noted in memory that threads share and written in batches by
 * whichever has time. Making a file takes the kernel longer than anything else here, and
 * one thread could keep only one core busy with it.
 */
export class SmallFiles {
  readonly #slots: SharedSlots;
  readonly #root: string;
  readonly #umask = process.umask();
  #filling: { slot: number; memory: Buffer; used: number } | undefined;
  /** Bytes of the file that has been begun. */
  #begun = 0;

  /** `root` is the directory of the layer. */
  constructor(slots: SharedSlots, root: string) {
    this.#slots = slots;
    this.#root = root;
  }

  /** Whether a file may be written so. */
  static fits(path: ByteString, { size, uid, gid, xattrs }: FileAttributes): boolean {
    const ids = [uid, gid].every((id) => id >= 0 && id <= MAX_UINT32);
    return size <= MAX_SIZE && path.length <= MAX_PATH && ids && xattrs.length === 0;
  }

  /** Notes a file that is to be made. Answers where its content goes, zeros so far. */
  begin(path: ByteString, { mode, uid, gid, size, mtime }: FileAttributes): Buffer {
    const { memory, used } = this.#room(HEADER + path.length + size);
    const at = memory.subarray(used);
    at.writeUInt32LE(mode, MODE);
    at.writeUInt32LE(uid, UID);
    at.writeUInt32LE(gid, GID);
    at.writeDoubleLE(mtime.seconds, SECONDS);
    at.writeUInt32LE(mtime.nanoseconds, NANOSECONDS);
    at.writeUInt32LE(path.length, PATH_LENGTH);
    at.writeUInt32LE(size, SIZE);
    at.write(path, HEADER, 'latin1');
    this.#begun = HEADER + path.length + size;
    return at.subarray(HEADER + path.length, this.#begun).fill(0);
  }

  /** The file that was begun has its content. */
  end(): void {
    if (this.#filling !== undefined) this.#filling.used += this.#begun;
  }

  /** Returns when all files are there. Throws why one could not be made. */
  complete(): void {
    this.#publish();
    this.#work(() => this.#slots.isDone);
    this.#slots.check();
  }

  /** Returns when no thread makes a file any more: what is noted yet is left out. */
  abandon(): void {
    this.#filling = undefined;
    for (let slot = this.#slots.takeReady(); slot !== undefined; slot = this.#slots.takeReady()) {
      this.#slots.free(slot);
    }
    this.#work(() => this.#slots.isDone);
  }

  /** For a thread that helps: makes files until it is asked to do something else. */
  help(): void {
    this.#work(() => this.#slots.isDismissed);
  }

  /** Does what there is to do, waits for more, and returns once `isOver`. */
  #work(isOver: () => boolean): void {
    for (;;) {
      const { changes } = this.#slots;
      if (isOver()) return;
      const slot = this.#slots.takeReady();
      if (slot === undefined) this.#slots.waitBeyond(changes);
      else this.#write(slot);
    }
  }

  /** A place in memory for so many bytes. Where all slots are under way, makes files meanwhile. */
  #room(size: number): { memory: Buffer; used: number } {
    if (this.#filling !== undefined) {
      if (this.#filling.used + size <= this.#filling.memory.length) return this.#filling;
      this.#publish();
    }
    this.#slots.check();
    for (;;) {
      const { changes } = this.#slots;
      const slot = this.#slots.takeFree();
      if (slot !== undefined) {
        this.#filling = { slot, memory: this.#slots.memory(slot), used: 0 };
        return this.#filling;
      }
      const ready = this.#slots.takeReady();
      if (ready === undefined) this.#slots.waitBeyond(changes);
      else this.#write(ready);
    }
  }

  #publish(): void {
    if (this.#filling === undefined) return;
    this.#slots.publish(this.#filling.slot, this.#filling.used);
    this.#filling = undefined;
  }

  /** Makes the files that are noted in a slot. */
  #write(slot: number): void {
    try {
      const memory = this.#slots.memory(slot).subarray(0, this.#slots.lengthOf(slot));
      for (let rest = memory; rest.length > 0; ) rest = rest.subarray(this.#writeFirst(rest));
    } catch (error) {
      this.#slots.fail({ code: codeOf(error), message: messageOf(error) });
    } finally {
      this.#slots.free(slot);
    }
  }

  /** Answers the bytes that the note takes. */
  #writeFirst(note: Buffer): number {
    const contentAt = HEADER + note.readUInt32LE(PATH_LENGTH);
    const size = note.readUInt32LE(SIZE);
    const path = note.toString('latin1', HEADER, contentAt);
    const attributes: FileAttributes = {
      mode: note.readUInt32LE(MODE),
      uid: note.readUInt32LE(UID),
      gid: note.readUInt32LE(GID),
      size,
      mtime: {
        seconds: note.readDoubleLE(SECONDS),
        nanoseconds: note.readUInt32LE(NANOSECONDS),
      },
      xattrs: [],
    };
    try {
      const file = new LayerFile(systemPath(this.#root, path), attributes);
      try {
        if (size > 0) file.write(note, contentAt, contentAt + size, 0);
      } catch (error) {
        file.abandon();
        throw error;
      }
      file.finish(this.#umask);
    } catch (error) {
      throw explainEntry(path, error);
    }
    return contentAt + size;
  }
}
