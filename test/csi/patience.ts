import { waitFor as wait } from '../harness/wait-for.ts';

/** Milliseconds: what is waited for comes soon, or never; but a busy machine takes its time. */
const PATIENCE = 60_000;

/** As `waitFor` of the harness, with more patience. */
export function waitFor<T>(what: string, probe: () => Promise<T> | T) {
  return wait(what, probe, PATIENCE);
}
