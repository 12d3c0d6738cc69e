/** Newline-delimited JSON over a unix socket, with a limit on how long a line may be. */
import { createServer, type Server, type Socket } from 'node:net';

/** The longest honest line is an inspection that lists 100,000 cache files. */
const MAX_LINE_BYTES = 32 * 1024 * 1024;

export type Channel = {
  send(message: unknown): void;
  close(): void;
};

export type ChannelEvents = {
  /** The renderer has connected. */
  onOpen: (channel: Channel) => void;
  /** One line, parsed. Never trusted: the caller validates it. */
  onMessage: (message: unknown) => void;
  /** The renderer hung up, or broke the rules. */
  onClose: (why: string) => void;
};

function readLines(socket: Socket, events: ChannelEvents): void {
  let parts: Buffer[] = [];
  let length = 0;
  const fail = (why: string) => {
    events.onClose(why);
    socket.destroy();
  };
  socket.on('data', (chunk: Buffer) => {
    let rest = chunk;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      const line = Buffer.concat([...parts, rest.subarray(0, end)]).toString('utf8');
      parts = [];
      length = 0;
      rest = rest.subarray(end + 1);
      try {
        events.onMessage(JSON.parse(line));
      } catch {
        return fail('the renderer sent a line that is not JSON');
      }
    }
    parts.push(rest);
    length += rest.length;
    if (length > MAX_LINE_BYTES) fail('the renderer sent a line without an end');
  });
  socket.on('error', () => {});
  socket.on('close', () => events.onClose('the renderer hung up'));
}

/** Listens at `path` for the one renderer that belongs to this session; nobody else is let in afterwards. */
export async function listen(path: string, events: ChannelEvents): Promise<{ close(): void }> {
  let accepted: Socket | undefined;
  const server: Server = createServer((socket) => {
    if (accepted !== undefined) {
      socket.destroy();
      return;
    }
    accepted = socket;
    server.close();
    readLines(socket, events);
    events.onOpen({
      send: (message) => void socket.write(`${JSON.stringify(message)}\n`),
      close: () => socket.destroy(),
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return {
    close() {
      server.close();
      accepted?.destroy();
    },
  };
}
