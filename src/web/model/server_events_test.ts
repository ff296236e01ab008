import assert from "node:assert/strict";
import { type ServerEvent, serverEvents } from "./server_events.ts";

async function read(chunks: string[]): Promise<{ events: ServerEvent[]; heard: number }> {
  const events: ServerEvent[] = [];
  let heard = 0;
  const body = ReadableStream.from(chunks.map((chunk) => new TextEncoder().encode(chunk)));
  await serverEvents(body, (event) => events.push(event), () => heard++);
  return { events, heard };
}

Deno.test("events are read, whatever chunks they come in", async () => {
  const text = 'id: 7\nevent: task\ndata: {"a":\ndata: 1}\n\n: comment\n\ndata:x\r\n\r\n';
  const wanted = [
    { name: "task", id: "7", data: '{"a":\n1}' },
    { name: "message", id: "7", data: "x" },
  ];
  assert.deepEqual((await read([text])).events, wanted);
  const letters = await read([...text]);
  assert.deepEqual(letters.events, wanted);
  assert.equal(letters.heard, text.length);
});

Deno.test("an event that the end of the stream cuts off is none", async () => {
  assert.deepEqual((await read(["event: task\ndata: 1\n"])).events, []);
});
