import type { ServiceDefinition } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { Container, ListContainersResponse, RuntimeServiceService } from '../gen/runtime/v1/api.ts';
import { ItemEncoder, withEncodedItems } from './encoded-lists.ts';

const { listContainers, version } = withEncodedItems(
  RuntimeServiceService as ServiceDefinition,
) as unknown as typeof RuntimeServiceService;

test('a list of encoded items is the same message, each item encoded once', () => {
  let asked = 0;
  const encoder = new ItemEncoder(Container, ({ size }: { size: number }) => {
    asked++;
    return Container.fromPartial({ id: `${size}`, labels: { filling: 'x'.repeat(size) } });
  });
  // Around where the length takes another byte.
  const records = [0, 50, 100, 120, 127, 130, 16_300, 16_384, 100_000].map((size) => ({ size }));
  for (const _ of [1, 2]) {
    const response = encoder.respond(ListContainersResponse.create(), records);
    const { containers } = ListContainersResponse.decode(
      listContainers.responseSerialize(response),
    );
    expect(containers.map(({ id, labels }) => [id, labels['filling']?.length])).toEqual(
      records.map(({ size }) => [`${size}`, size]),
    );
  }
  expect(asked).toBe(records.length);
  const empty = encoder.respond(ListContainersResponse.create(), []);
  expect(listContainers.responseSerialize(empty)).toHaveLength(0);
});

test('other responses are encoded as ever', () => {
  const response = {
    version: '0.1.0',
    runtimeName: 'x',
    runtimeVersion: '1',
    runtimeApiVersion: 'v1',
  };
  expect(version.responseDeserialize(version.responseSerialize(response))).toEqual(response);
});
