import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MountPropagation, NamespaceMode } from '../gen/runtime/v1/api.ts';
import { readContainerConfig, readPodConfig } from './config-file.ts';

let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-cli-'));
  file = join(directory, 'config');
});

afterEach(() => rm(directory, { recursive: true }));

async function pod(text: string) {
  await writeFile(file, text);
  return readPodConfig(file);
}

async function container(text: string) {
  await writeFile(file, text);
  return readContainerConfig(file);
}

const METADATA = '"metadata":{"name":"web","namespace":"default","uid":"u","attempt":2}';

describe('pods', () => {
  it('reads JSON with the names that crictl uses', async () => {
    const config = await pod(`{
	${METADATA},
	"log_directory": "/var/log/x",
	"dns_config": {"servers": ["10.0.0.1"]},
	"port_mappings": [{"protocol": 1, "container_port": 53, "host_port": 5353}],
	"labels": {"some_label": "1"},
	"linux": {
	  "cgroup_parent": "/k",
	  "security_context": {"namespace_options": {"network": 2, "pid": "CONTAINER"}, "run_as_user": {"value": 7}}
	}
    }`);
    expect(config).toMatchObject({
      metadata: { name: 'web', namespace: 'default', uid: 'u', attempt: 2 },
      logDirectory: '/var/log/x',
      dnsConfig: { servers: ['10.0.0.1'], searches: [] },
      portMappings: [{ protocol: 1, containerPort: 53, hostPort: 5353, hostIp: '' }],
      labels: { some_label: '1' },
      linux: {
        cgroupParent: '/k',
        securityContext: {
          namespaceOptions: { network: NamespaceMode.NODE, pid: NamespaceMode.CONTAINER },
          runAsUser: { value: 7n },
        },
      },
    });
  });

  it('reads YAML, and makes up a uid', async () => {
    const config = await pod(
      'metadata: {name: web, namespace: default}\nlogDirectory: /x\nlinux:\n  sysctls: {a.b: "1"}\n',
    );
    expect(config.metadata?.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(config).toMatchObject({ logDirectory: '/x', linux: { sysctls: { 'a.b': '1' } } });
  });

  it.each([
    [`{${METADATA},"logdirectory":"/x"}`, 'logdirectory: there is no such field'],
    [`{${METADATA},"linux":{"cgroup":"/x"}}`, 'linux.cgroup: there is no such field'],
    [`{${METADATA},"hostname":7}`, 'hostname: must be text'],
    [`{${METADATA},"labels":["a"]}`, 'labels: must be an object'],
    [`{${METADATA},"labels":{"a":1}}`, 'labels.a: must be text'],
    [`{${METADATA},"port_mappings":{}}`, 'port_mappings: must be a list'],
    [`{${METADATA},"port_mappings":[{"host_port":"x"}]}`, 'port_mappings[0].host_port: must be a'],
    [`{${METADATA},"port_mappings":[{"host_port":1.5}]}`, 'port_mappings[0].host_port: must be a'],
    [`{${METADATA},"dns_config":"10.0.0.1"}`, 'dns_config: must be an object'],
    [`{${METADATA},"linux":{"security_context":{"privileged":"yes"}}}`, 'must be true or false'],
    [`{${METADATA},"linux":{"security_context":{"namespace_options":{"network":"HOST"}}}}`, 'HOST'],
    [`{${METADATA},"__proto__":{"a":1}}`, '__proto__: there is no such field'],
    ['{"metadata":{"name":"x"}}', 'metadata needs a name and a namespace'],
    ['{"metadata":', 'JSON'],
    ['a: [', 'Cannot read'],
    ['just text', 'no JSON or YAML object'],
  ])('refuses %s', async (text, message) => {
    const error: unknown = await pod(text).catch((refusal) => refusal);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(String(error)).toContain(message);
    expect(String(error)).toContain(file);
  });

  it('refuses a file that is not there', async () => {
    await expect(readPodConfig(join(directory, 'absent'))).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });
});

describe('containers', () => {
  it('takes the values of variables as text', async () => {
    const { envs } = await container(
      'metadata: {name: c}\nimage: {image: busybox}\nenvs:\n- {key: A, value: "b=ü"}\n- {key: E}\n',
    );
    expect(envs.map(({ key, value }) => [key, value.toString()])).toEqual([
      ['A', 'b=ü'],
      ['E', ''],
    ]);
  });

  it('reads mounts, resources and devices', async () => {
    const config = await container(`{
      "metadata": {"name": "c"}, "image": {"image": "busybox"}, "log_path": "c.log",
      "command": ["top"], "mounts": [{"host_path": "/a", "container_path": "/b", "propagation": 1}],
      "CDI_devices": [{"name": "vendor/x=1"}],
      "linux": {"resources": {"memory_limit_in_bytes": 1048576, "cpu_quota": "-1"}}
    }`);
    expect(config).toMatchObject({
      command: ['top'],
      logPath: 'c.log',
      mounts: [{ hostPath: '/a', propagation: MountPropagation.PROPAGATION_HOST_TO_CONTAINER }],
      CDIDevices: [{ name: 'vendor/x=1' }],
      linux: { resources: { memoryLimitInBytes: 1_048_576n, cpuQuota: -1n } },
    });
  });

  it.each([
    ['{"image":{"image":"x"}}', 'metadata needs a name'],
    ['{"metadata":{"name":"c"}}', 'image.image is missing'],
    ['{"metadata":{"name":"c"},"image":{"image":"x"},"envs":[{"key":"A","value":1}]}', 'envs[0]'],
    ['{"metadata":{"name":"c"},"image":"busybox"}', 'image: must be an object'],
  ])('refuses %s', async (text, message) => {
    await expect(container(text)).rejects.toThrow(message);
  });
});
