import { z } from 'zod';
import { described, path, uri } from '../keys.ts';

const tls = (server: string) =>
  z.strictObject({
    cert: described(path().optional(), `File with the certificate of ${server}, PEM.`, {
      example: '/etc/keelson/tls/server.pem',
    }),
    key: described(path().optional(), `File with the private key of ${server}, PEM.`, {
      example: '/etc/keelson/tls/server-key.pem',
    }),
    client_ca: described(
      path().optional(),
      `File with the authorities whose clients ${server} lets in, PEM.`,
      { example: '/etc/keelson/tls/clients.pem' },
    ),
  });

/** [grpc]: the CRI server. */
export const grpc = z.strictObject({ tls: tls('the CRI server').prefault({}) });

/** [streaming]: exec, attach and port-forward. */
export const streaming = z.strictObject({
  address: described(
    z.string().min(1).default('127.0.0.1'),
    'Address where exec, attach and port-forward are streamed.',
  ),
  port: described(z.int().min(0).max(65535).default(0), 'Its port. 0: any free one.'),
  tls: tls('the streaming server').prefault({}),
});

/** [admin]: metrics, traces and progress. */
export const admin = z.strictObject({
  address: described(uri().optional(), 'Where metrics, traces and progress are served.', {
    derived: 'unix://<state>/admin.sock',
    example: 'unix:///run/keelson/admin.sock',
  }),
});
