import { describe, expect, test } from 'vitest';
import type { ContainerConfig } from './config.ts';
import { argvOf, environmentOf, workingDirectoryOf } from './container-process.ts';

function asked(changes: Partial<ContainerConfig> = {}): ContainerConfig {
  const nothing = { command: [], args: [], workingDir: '', envs: [], tty: false };
  return { ...nothing, ...changes } as unknown as ContainerConfig;
}

describe('the command line', () => {
  const image = { Entrypoint: ['/entry'], Cmd: ['cmd'] };

  test.each([
    ['nothing', {}, ['/entry', 'cmd']],
    ['arguments', { args: ['a'] }, ['/entry', 'a']],
    ['a command', { command: ['/c'] }, ['/c']],
    ['both', { command: ['/c'], args: ['a'] }, ['/c', 'a']],
  ])('with %s asked', (_what, changes, argv) => {
    expect(argvOf(asked(changes), image)).toEqual(argv);
  });

  test('may come from the image’s command alone', () => {
    expect(argvOf(asked(), { Cmd: ['/cmd', ''] })).toEqual(['/cmd', '']);
  });

  test.each([
    ['nothing', {}],
    ['an empty program', { Cmd: [''] }],
  ])('is refused with %s', (_what, image) => {
    expect(() => argvOf(asked(), image)).toThrow('Cannot create a container without a command');
  });
});

describe('the environment', () => {
  const place = { hostname: 'pod', home: '/root' };

  test('has a PATH and the host name, which image and container may change', () => {
    expect(environmentOf(asked(), {}, place)).toEqual([
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'HOSTNAME=pod',
      'HOME=/root',
    ]);
    const envs = [{ key: 'HOSTNAME', value: 'mine' }];
    expect(environmentOf(asked({ envs }), { Env: ['PATH=/bin'] }, place)).toEqual([
      'PATH=/bin',
      'HOSTNAME=mine',
      'HOME=/root',
    ]);
  });

  test('has the later of two values for one name', () => {
    const envs = ['1', '2'].map((value) => ({ key: 'A', value }));
    const environment = environmentOf(asked({ envs }), { Env: ['A=0', 'B=x=y'] }, place);
    expect(environment.slice(2)).toEqual(['A=2', 'B=x=y', 'HOME=/root']);
  });

  test('has empty values, and nothing without a name', () => {
    const environment = environmentOf(asked(), { Env: ['EMPTY=', '=x', 'nothing'] }, place);
    expect(environment.slice(2)).toEqual(['EMPTY=', 'HOME=/root']);
  });

  test('has the home of the user unless one is given', () => {
    const home = (Env: string[]) =>
      environmentOf(asked(), { Env }, place).filter((each) => each.startsWith('HOME='));
    expect(home(['HOME=/srv'])).toEqual(['HOME=/srv']);
    expect(home(['HOME='])).toEqual(['HOME=/root']);
  });

  test('names a terminal where there is one', () => {
    expect(environmentOf(asked({ tty: true }), {}, place)).toContain('TERM=xterm');
    expect(environmentOf(asked(), {}, place).join()).not.toContain('TERM=');
  });
});

describe('the working directory', () => {
  test.each([
    ['/asked', '/image', '/asked'],
    ['', '/image', '/image'],
    ['', '', '/'],
  ])('asked as %j with an image’s %j', (workingDir, WorkingDir, expected) => {
    expect(workingDirectoryOf(asked({ workingDir }), { WorkingDir })).toBe(expected);
  });

  test('must be absolute', () => {
    expect(() => workingDirectoryOf(asked({ workingDir: 'srv' }), {})).toThrow(
      'Cannot use working directory "srv": it is not an absolute path',
    );
  });
});
