// A daemon that gives out addresses of a host-local store: allocate.ts DATADIR PREFIX COUNT COMMAND
import { BuiltIn } from './plugin-harness.ts';

const [dataDir = '', prefix = '', count = '', command = ''] = process.argv.slice(2);
const plugins = new BuiltIn();
const config = { type: 'host-local', ipam: { type: 'host-local', subnet: '10.9.0.0/24', dataDir } };
const ids = Array.from({ length: Number(count) }, (_, index) => `${prefix}${index}`);
const results = await Promise.all(
  ids.map((containerId) => plugins.run(command as 'ADD' | 'DEL', config, { containerId })),
);
const addresses = results.flatMap((result) => result?.['ips'] ?? []);
console.log(JSON.stringify(addresses.map(({ address }: { address: string }) => address)));
