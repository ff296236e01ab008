import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { EventLog } from "./events.ts";

Deno.test("what is kept is bounded in size; a reader that missed something is told to start again", async () => {
  const events = new EventLog("run");
  const server = createServer((request, response) => {
    void events.serve(response, request.headers["last-event-id"] as string, () => []);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  for (let index = 0; index < 100; index++) {
    events.publish(`task ${index}`, "task", "x".repeat(1024 * 1024));
  }
  events.publish("last", "task", "small");
  const read = async (lastId: string) => {
    const answer = await fetch(`http://127.0.0.1:${port}/`, {
      headers: { "last-event-id": lastId },
    });
    let text = "";
    for await (const part of answer.body!.pipeThrough(new TextDecoderStream())) {
      text += part;
      if (/event: reset|small/.test(text)) break;
    }
    return text;
  };
  assert.match(await read("run-5"), /event: reset/, "of 100 MiB the first 5 are long gone");
  const recent = await read("run-90");
  assert.doesNotMatch(recent, /event: reset/);
  assert.ok(recent.length > 10 * 1024 * 1024, "the newest are kept");
  events.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});
