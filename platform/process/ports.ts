/** Ports of this machine. */
import { createServer } from 'node:net';

/** Whether nobody listens on the port of the loopback address at this moment. */
export function portIsFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
