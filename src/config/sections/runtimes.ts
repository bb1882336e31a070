import { z } from 'zod';
import { described, path, program } from '../keys.ts';

export const RUNTIME_TYPES = ['crun', 'runc', 'runsc'] as const;

const runtime = z.strictObject({
  type: described(
    z.enum(RUNTIME_TYPES).optional(),
    'Which driver speaks to it. Needed when the name is none of the types.',
    { derived: 'the name', example: 'crun' },
  ),
  path: described(program().optional(), 'The program: a path, or a name looked up in PATH.', {
    derived: 'the type',
    example: '/usr/bin/crun',
  }),
  root: described(path().optional(), "The runtime's own state directory.", {
    derived: '<state>/runtimes/<name>',
    example: '/run/keelson/runtimes/crun',
  }),
  options: described(
    z.array(z.string()).default([]),
    'Arguments put before the command of each call.',
  ),
});

/** [runtimes.NAME]: the runtime of each handler. */
export const runtimes = described(
  z.record(
    z.string().regex(/^[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?$/, 'is no name of a runtime handler'),
    runtime,
  ),
  'OCI runtimes by handler name. Handlers whose program is missing are not offered.',
).default({ crun: { options: [] }, runc: { options: [] }, runsc: { options: [] } });
