/** Server-sent events (HTML Standard, 9.2.6) from a fetch: unlike EventSource it shows a 401. */

export interface ServerEvent {
  name: string;
  id: string | undefined;
  data: string;
}

/** Calls `event` for each event in order, and `heard` for every chunk, comments included. */
export async function serverEvents(
  body: ReadableStream<Uint8Array>,
  event: (event: ServerEvent) => void,
  heard: () => void = () => {},
): Promise<void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let open: { name: string; data: string[] } = { name: "message", data: [] };
  let id: string | undefined;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n/);
    rest = lines.pop()!;
    for (const line of lines) {
      if (line === "") {
        if (open.data.length > 0) event({ name: open.name, id, data: open.data.join("\n") });
        open = { name: "message", data: [] };
        continue;
      }
      const [, field, text = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line)!;
      if (field === "data") open.data.push(text);
      else if (field === "event") open.name = text;
      else if (field === "id") id = text;
    }
  }
}
