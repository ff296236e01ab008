/**
 * One event stream per browser, shared by its tabs. HTTP/1.1 allows six connections to a host, so
 * a stream per tab would block the seventh. The tab that holds the lock reads the stream and passes
 * every event on; when that tab closes, the next one gets the lock and resumes after the last id.
 *
 * Without a secure context there are no Web Locks: then each tab has its own stream.
 */
import { Problem, problemOf, respond } from "../node_api.ts";
import { type ServerEvent, serverEvents } from "./server_events.ts";

export type StreamState = "connecting" | "live" | "retrying" | "logged_out";

type Message =
  | { kind: "event"; event: ServerEvent }
  | { kind: "state"; state: StreamState }
  /** A new tab asks for the state. It may have logged in. */
  | { kind: "hello" }
  /** A tab became visible, the network is back or the user logged in: try again at once. */
  | { kind: "wake" };

/** The server sends a comment every 15 s; after three missed ones the connection is dead. */
const silenceMs = 45_000;
const resetEvent: ServerEvent = { name: "reset", id: undefined, data: "{}" };
const retryMs = { first: 1_000, longest: 10_000, loggedOut: 60_000 };

export interface EventSink {
  event(event: ServerEvent): void;
  state(state: StreamState): void;
}

/** Starts reading. @returns a function that makes the reader try again at once. */
export function shareEvents(sink: EventSink): () => void {
  const channel = new BroadcastChannel("agent-events");
  let lastId: string | undefined;
  let state: StreamState = "connecting";
  let isLeader = false;
  let wake = () => {};

  const receive = (message: Message) => {
    if (message.kind === "event") {
      if (message.event.id !== undefined) lastId = message.event.id;
      sink.event(message.event);
    } else if (message.kind === "state") {
      state = message.state;
      sink.state(state);
    } else if (message.kind === "wake") {
      wake();
    } else if (isLeader) {
      wake();
      channel.postMessage({ kind: "state", state } satisfies Message);
    }
  };
  const send = (message: Message) => {
    channel.postMessage(message);
    receive(message);
  };
  channel.onmessage = ({ data }) => receive(data as Message);

  const lead = async () => {
    isLeader = true;
    for (let failures = 0;; failures++) {
      const opened = () => {
        failures = 0;
        send({ kind: "state", state: "live" });
        // There is no id to resume from: the pages load everything again.
        if (lastId === undefined) send({ kind: "event", event: resetEvent });
      };
      let isLoggedOut = false;
      try {
        await readOnce(lastId, opened, (event) => send({ kind: "event", event }));
      } catch (error) {
        isLoggedOut = problemOf(error).status === 401;
      }
      send({ kind: "state", state: isLoggedOut ? "logged_out" : "retrying" });
      // A login in any tab wakes this loop.
      const backoffMs = isLoggedOut
        ? retryMs.loggedOut
        : Math.min(retryMs.first * 2 ** failures, retryMs.longest);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, backoffMs * (0.5 + Math.random() / 2));
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      wake = () => {};
    }
  };
  if (navigator.locks === undefined) lead();
  else navigator.locks.request("agent-events", lead);
  channel.postMessage({ kind: "hello" } satisfies Message);

  const wakeAll = () => send({ kind: "wake" });
  addEventListener("online", wakeAll);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") wakeAll();
  });
  return wakeAll;
}

/** Reads the stream until it ends, fails, or is silent for too long. */
async function readOnce(
  lastId: string | undefined,
  opened: () => void,
  event: (event: ServerEvent) => void,
): Promise<void> {
  const dead = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => dead.abort(), silenceMs);
  };
  heard();
  try {
    const response = await respond("GET", "/api/events", {
      headers: {
        accept: "text/event-stream",
        ...(lastId === undefined ? {} : { "last-event-id": lastId }),
      },
      signal: dead.signal,
    });
    if (response.body === null) throw new Problem(0, "The event stream has no body");
    opened();
    await serverEvents(response.body, event, heard);
  } finally {
    clearTimeout(timer);
    dead.abort();
  }
}
