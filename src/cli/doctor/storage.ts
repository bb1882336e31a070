import type { StatsFs } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ifExists } from '../../base/index.ts';
import type { Config } from '../../config/index.ts';
import { humanSize } from '../human.ts';
import { type Finding, missing, note, ok } from './finding.ts';

/** File systems that overlayfs cannot write to, by their magic number (statfs(2)). */
const UNFIT: Readonly<Record<number, string>> = {
  2035054128: 'overlayfs',
  26985: 'NFS',
  4283649346: 'SMB',
  1702057286: 'FUSE',
};

const GIGABYTE = 1_000_000_000;

/** Where images and records go. */
export async function storageFindings(config: Config): Promise<Finding[]> {
  return [await rootFinding(config.root), await stateFinding(config.state)];
}

async function rootFinding(root: string): Promise<Finding> {
  const { type, bavail, bsize } = await nearest(root);
  const unfit = UNFIT[type];
  if (unfit !== undefined) {
    const detail = `${root} is on ${unfit}, which cannot hold layers`;
    return missing('images', detail, 'set "root" to a directory on ext4, xfs or btrfs');
  }
  const free = humanSize(bavail * bsize, 3);
  return bavail * bsize < GIGABYTE
    ? note('images', `${root}: only ${free} free`, 'make room, or set "root" to another disk')
    : ok('images', `${root}: ${free} free`);
}

async function stateFinding(state: string): Promise<Finding> {
  const { bavail, bsize } = await nearest(state);
  const free = humanSize(bavail * bsize, 3);
  return bavail * bsize < GIGABYTE / 100
    ? note('state', `${state}: only ${free} free`, 'make room, or set "state" elsewhere')
    : ok('state', `${state}: ${free} free`);
}

/** Of the directory, or of the one that it would be made in. */
async function nearest(path: string): Promise<StatsFs> {
  return (await ifExists(statfs(path))) ?? nearest(dirname(path));
}
