/** Server-sent events: the data of each, as it comes. Source: WHATWG HTML, "Server-sent events". */

/** One event is a few hundred bytes; a server that never ends one is not listened to for ever. */
const MAX_EVENT_CHARS = 1_000_000;

/** Yields each event's data; comments and other fields are left out. Ends with the response. */
export async function* eventData(response: Response): AsyncGenerator<string> {
  if (response.body === null) return;
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const data = lines
        .filter((line) => line.startsWith('data: '))
        .map((line) => line.slice('data: '.length));
      if (data.length > 0) yield data.join('\n');
    }
    if (text.length > MAX_EVENT_CHARS) return;
  }
}
