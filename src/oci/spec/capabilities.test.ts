import { describe, expect, test } from 'vitest';
import { type CapabilityChanges, capabilitiesFor, parseCapabilityMask } from './capabilities.ts';

const DEFAULT = [
  ...['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_FSETID', 'CAP_KILL', 'CAP_SETGID'],
  ...['CAP_SETUID', 'CAP_SETPCAP', 'CAP_NET_BIND_SERVICE', 'CAP_NET_RAW', 'CAP_SYS_CHROOT'],
  ...['CAP_MKNOD', 'CAP_AUDIT_WRITE', 'CAP_SETFCAP'],
];
const EVERYTHING = parseCapabilityMask('1ffffffffff');
/** A node that lacks two capabilities, one of them of the default set. */
const LIMITED = new Set([...EVERYTHING].filter((name) => !/SYS_RESOURCE|NET_RAW/.test(name)));

function boundingOf(
  changes: Partial<CapabilityChanges>,
  options: { privileged?: boolean; node?: Set<string> } = {},
): string[] {
  return capabilitiesFor(
    { add: [], drop: [], addAmbient: [], ...changes },
    { privileged: options.privileged ?? false, bounding: options.node ?? EVERYTHING },
  ).bounding;
}

const without = (names: Iterable<string>, ...taken: string[]) =>
  [...names].filter((name) => !taken.includes(name));

describe('a container', () => {
  test('that asks for nothing gets the default set', () => expect(boundingOf({})).toEqual(DEFAULT));

  test('may add and drop by names in any case, with and without the prefix', () => {
    const set = boundingOf({ add: ['net_admin', 'CAP_SYS_TIME'], drop: ['Kill', 'cap_chown'] });
    expect(new Set(set)).toEqual(
      new Set([...without(DEFAULT, 'CAP_KILL', 'CAP_CHOWN'), 'CAP_NET_ADMIN', 'CAP_SYS_TIME']),
    );
  });

  test.each<[string, Partial<CapabilityChanges>, string[]]>([
    ['adding ALL', { add: ['ALL'] }, [...EVERYTHING]],
    ['dropping all', { drop: ['all'] }, []],
    ['dropping ALL and adding one', { drop: ['ALL'], add: ['CHOWN'] }, ['CAP_CHOWN']],
    ['adding ALL but one', { add: ['ALL'], drop: ['KILL'] }, without(EVERYTHING, 'CAP_KILL')],
    ['adding and dropping ALL', { add: ['ALL'], drop: ['ALL'] }, []],
    ['adding and dropping one', { add: ['CHOWN'], drop: ['CHOWN'] }, without(DEFAULT, 'CAP_CHOWN')],
  ])('%s', (_what, changes, expected) => expect(boundingOf(changes)).toEqual(expected));

  test('gets nothing that the node does not have', () => {
    expect(boundingOf({}, { node: LIMITED })).toEqual(without(DEFAULT, 'CAP_NET_RAW'));
    expect(boundingOf({ add: ['ALL'] }, { node: LIMITED })).toEqual([...LIMITED]);
    expect(boundingOf({ add: ['SYS_RESOURCE'] }, { node: LIMITED })).not.toContain(
      'CAP_SYS_RESOURCE',
    );
  });

  test('that is privileged gets all of the node, whatever it drops', () => {
    const changes = { drop: ['ALL', 'CHOWN'] };
    expect(boundingOf(changes, { privileged: true, node: LIMITED })).toEqual([...LIMITED]);
  });

  test.each(['CHOW', '', 'CAP_CAP_CHOWN', 'CAP_ALL', 'CHOWN,KILL'])(
    'cannot name a capability %j',
    (name) => {
      expect(() => boundingOf({ add: [name] })).toThrow(`Unknown capability "${name}"`);
      expect(() => boundingOf({ drop: [name] })).toThrow(`Unknown capability "${name}"`);
    },
  );
});

test('ambient capabilities are in all sets, and only they are inheritable', () => {
  const changes = { add: ['SYS_TIME'], drop: ['ALL'], addAmbient: ['NET_ADMIN', 'NET_RAW'] };
  const sets = capabilitiesFor(changes, { privileged: false, bounding: LIMITED });
  const granted = ['CAP_NET_ADMIN', 'CAP_SYS_TIME'];
  expect(sets).toEqual({
    bounding: granted,
    effective: granted,
    permitted: granted,
    inheritable: ['CAP_NET_ADMIN'],
    ambient: ['CAP_NET_ADMIN'],
  });
});

test('a mask of the kernel is read bit by bit', () => {
  expect([...parseCapabilityMask('0000000000000021')]).toEqual(['CAP_CHOWN', 'CAP_KILL']);
  expect([...parseCapabilityMask('0000010000000000')]).toEqual(['CAP_CHECKPOINT_RESTORE']);
  expect(parseCapabilityMask('ffffffffffffffff')).toEqual(EVERYTHING);
  expect(EVERYTHING.size).toBe(41);
});
