/** Calls of the node's REST API. The session cookie authenticates them; errors follow RFC 9457. */
import { signal } from "@preact/signals"; // State that redraws only what shows it.

/** Whether the node refused the session: the login form is shown. */
export const isLoggedOut = signal(false);

/**
 * How far the node's clock is ahead of this device's, in milliseconds. Times come from the node, so
 * relative ones are counted on its clock. Its header has whole seconds: less than that is noise.
 */
export const clockOffsetMs = signal(0);
const clockNoiseMs = 2_000;

/** An answer that is an error, or no answer at all (`status` 0). */
export class Problem extends Error {
  override name = "Problem";
  constructor(
    readonly status: number,
    message: string,
    /** A command, or one sentence. */
    readonly next: string | undefined = undefined,
  ) {
    super(message);
  }
}

/** Any thrown value as a problem that can be shown. */
export function problemOf(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown;
  return new Problem(0, thrown instanceof Error ? thrown.message : String(thrown));
}

export interface CallOptions {
  body?: unknown;
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
}

/** The response of a successful call. @throws {Problem} for every other one. */
export async function respond(
  method: string,
  path: string,
  { body, signal, headers = {} }: CallOptions = {},
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      credentials: "same-origin",
      headers: body === undefined ? headers : { ...headers, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "The node does not answer", "Check that agent node runs on its host");
  }
  readClock(response);
  if (response.ok) return response;
  const isLogin = path === "/api/session" && method === "POST";
  if (response.status === 401 && !isLogin) isLoggedOut.value = true;
  throw await problemFrom(response);
}

function readClock(response: Response): void {
  const date = Date.parse(response.headers.get("date") ?? "");
  const offset = date - Date.now();
  if (Math.abs(offset - clockOffsetMs.value) > clockNoiseMs) clockOffsetMs.value = offset;
}

/** The JSON of a successful call; undefined where the answer has no content. */
export async function call<T>(method: string, path: string, options?: CallOptions): Promise<T> {
  const response = await respond(method, path, options);
  if (response.status === 204) return undefined as T;
  return await response.json() as T;
}

async function problemFrom(response: Response): Promise<Problem> {
  const text = await response.text();
  try {
    const { title, detail, next } = JSON.parse(text) as Record<string, string | undefined>;
    return new Problem(response.status, detail ?? title ?? response.statusText, next);
  } catch {
    return new Problem(response.status, `The node answered ${response.status}`, undefined);
  }
}
