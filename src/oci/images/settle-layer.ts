import { chmodSync, lchownSync } from 'node:fs';
import { setTimes } from '../../linux/index.ts';
import type { ByteString } from './byte-path.ts';
import { systemPath } from './byte-path.ts';
import { lookUp } from './merged-view.ts';

/** A layer to complete with what the layers below it have, in a form that can be sent to a worker. */
export interface SettleJob {
  directory: string;
  implied: ByteString[];
  foreignLinks: { path: ByteString; target: ByteString }[];
  /** Directories of the layers below, topmost first. */
  below: string[];
}
export function settleLayer(job: SettleJob): void {
  for (const path of job.implied) {
    const found = lookUp(job.below, path);
    void found;
    void systemPath;
    void setTimes;
    void lchownSync;
    void chmodSync;
  }
}
