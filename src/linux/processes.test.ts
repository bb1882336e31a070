import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { findProgram } from './find-program.ts';
import {
  bootId,
  cgroupsOf,
  identifyProcess,
  isAlive,
  processGroupOf,
  signalProcess,
} from './processes.ts';
import { exitOf, killGroup, start } from './start.ts';

test('a process is known by its pid and start time', () => {
  const self = identifyProcess(process.pid)!;
  expect(isAlive(self)).toBe(true);
  expect(isAlive({ ...self, startTime: self.startTime - 1 })).toBe(false);
});

test.each([0, -1, 2 ** 22 + 1, Number.NaN])('%d is nobody', (pid) => {
  expect(identifyProcess(pid)).toBeUndefined();
  expect(processGroupOf(pid)).toBeUndefined();
});

test('a command name cannot pass for other fields', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-processes-'));
  const program = join(directory, 'x) Z 1 2 (y');
  await copyFile(findProgram('sleep')!, program);
  const child = start(program, ['1000'], { stdio: 'ignore' });
  try {
    await once(child, 'spawn');
    const self = identifyProcess(process.pid)!;
    expect(identifyProcess(child.pid!)?.startTime).toBeGreaterThanOrEqual(self.startTime);
    expect(processGroupOf(child.pid!)).toBe(child.pid);
  } finally {
    killGroup(child.pid);
    await rm(directory, { recursive: true });
  }
});

test('a zombie counts as gone', async () => {
  // The shell's child ends when nobody waits for it any more.
  const script = 'read line <&3 & echo $!; exec sleep 1000';
  const parent = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore', 'pipe'] });
  try {
    const [line] = await once(parent.stdout!, 'data');
    const pid = Number(String(line));
    const program = () => readFile(`/proc/${parent.pid}/comm`, 'utf8');
    await expect.poll(program).toBe('sleep\n');
    (parent.stdio[3] as Writable).end();
    const state = async () => (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.[0];
    await expect.poll(state).toBe('Z');
    expect(identifyProcess(pid)).toBeUndefined();
  } finally {
    parent.kill('SIGKILL');
    await once(parent, 'exit');
  }
});

test('a signal goes to the process that was meant, and to no other with its number', async () => {
  const child = start('sleep', ['1000'], { stdio: 'ignore' });
  const exit = exitOf(child, 'sleep');
  try {
    await once(child, 'spawn');
    const target = identifyProcess(child.pid!)!;
    expect(signalProcess({ ...target, startTime: target.startTime + 1 }, 'SIGKILL')).toBe(false);
    expect(isAlive(target)).toBe(true);
    expect(signalProcess(target, 'SIGTERM')).toBe(true);
    expect(await exit).toEqual({ code: undefined, signal: 'SIGTERM' });
    expect(signalProcess(target, 'SIGTERM')).toBe(false);
  } finally {
    killGroup(child.pid);
  }
});

test('cgroups are known by their controllers', async () => {
  const cgroups = await cgroupsOf(process.pid);
  const text = await readFile('/proc/self/cgroup', 'utf8');
  expect(cgroups.size).toBe(text.trim().split('\n').length);
  for (const path of cgroups.values()) expect(path).toMatch(/^\//);
  expect(await cgroupsOf(2 ** 22 + 1)).toEqual(new Map());
});

test('a boot has one id', async () => {
  expect(await bootId()).toMatch(/^[0-9a-f-]{36}$/);
  expect(await bootId()).toBe(await bootId());
});
