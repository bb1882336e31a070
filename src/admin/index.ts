export { AdminServer, type AdminServerOptions } from './server.ts';
