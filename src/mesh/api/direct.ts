/**
 * Small answers to the requests that come most often, written straight to the response of node:http.
 * Objects of the web, which the router works with, cost twice as much as all the rest of such an answer.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { type HttpProblem, problemType } from "../../http/problem.ts";
import type { Route } from "../access.ts";
import type { RequestFacts } from "../request_facts.ts";
import { authorize } from "./authorize.ts";
import type { Node } from "./context.ts";

export interface DirectAnswer {
  status: number;
  /** All of them, but for those of the connection. */
  headers: Record<string, string>;
  body: string;
}

/** @returns undefined where the answer is not a small one: then it is the router's. */
export type DirectHandler = (
  request: IncomingMessage,
  facts: RequestFacts,
) => DirectAnswer | undefined;
export type DirectHandlers = Partial<Record<Route, DirectHandler>>;

/** Of every answer of the API that people and programs read. */
export const apiHeaders = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

export function jsonAnswer(body: string): DirectAnswer {
  return {
    status: 200,
    headers: {
      "content-type": "application/json",
      "content-length": String(encoder.encode(body).length),
      ...apiHeaders,
    },
    body,
  };
}

const encoder = new TextEncoder();

export function problemAnswer(problem: HttpProblem): DirectAnswer {
  const headers = { "content-type": problemType, ...apiHeaders, ...problem.headers };
  return { status: problem.status, headers, body: JSON.stringify(problem.toJSON()) };
}

/**
 * Answers requests whose target is exactly the path of one of the handlers; other spellings of it are
 * the router's.
 *
 * @returns whether it was such a request.
 */
export function directly(
  handlers: DirectHandlers,
  node: Node,
  problemOf: (error: unknown, request: IncomingMessage) => HttpProblem,
): (request: IncomingMessage, response: ServerResponse) => boolean {
  const byPath = new Map<string | undefined, [Route, DirectHandler]>();
  for (const [route, handler] of Object.entries(handlers) as [Route, DirectHandler][]) {
    byPath.set(route.replace(/^GET /, ""), [route, handler]);
  }
  return (request, response) => {
    const [route, handler] = (request.method === "GET" && byPath.get(request.url)) || [];
    if (route === undefined) return false;
    let answer: DirectAnswer | undefined;
    try {
      answer = handler!(request, authorize(request, route, node).facts);
    } catch (error) {
      answer = problemAnswer(problemOf(error, request));
    }
    if (answer === undefined) return false;
    response.writeHead(answer.status, answer.headers);
    response.end(answer.body);
    return true;
  };
}
