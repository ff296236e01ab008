/** The HTTP API of a node and its pages, as one handler for http/server.ts. */
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import type { IncomingMessage, ServerResponse } from "node:http";
import { messageOf } from "../base/errors.ts";
import { nearest } from "../base/suggest.ts";
import { HttpProblem } from "../http/problem.ts";
import { type Route, routes } from "./access.ts";
import { authorize } from "./api/authorize.ts";
import { clusterAnswers, serveCluster } from "./api/cluster.ts";
import {
  alreadySent,
  type Api,
  type ApiContext,
  type ApiEnv,
  type Handler,
  type Node,
  type Serve,
} from "./api/context.ts";
import {
  apiHeaders,
  type DirectAnswer,
  type DirectHandler,
  directly,
  problemAnswer,
} from "./api/direct.ts";
import { serveEvents } from "./api/events.ts";
import { openApi, parametersOf } from "./api/openapi.ts";
import { problemOf } from "./api/problems.ts";
import { serveSession } from "./api/session.ts";
import { serveOutput, serveState, serveTasks } from "./api/tasks.ts";
import { type Assets, servePage } from "./api/ui.ts";

export function nodeHandler(
  node: Node,
  assets: Assets,
): (request: IncomingMessage, response: ServerResponse) => void {
  const api: Api = new Hono<ApiEnv>();
  const handlers: Partial<Record<Route, Handler>> = {};
  const serve: Serve = (some) => void Object.assign(handlers, some);
  serveCluster(serve, node);
  serveSession(serve, node);
  serveTasks(serve, node);
  serveOutput(serve, node);
  serveState(serve, node);
  serveEvents(serve, node);
  serve({ "GET /api/openapi.json": (context) => context.json(openApi(node.own().facts.version)) });

  const direct = clusterAnswers(node);
  for (const route of Object.keys(routes) as Route[]) {
    const [method, path] = route.split(" ") as [string, string];
    const answer = direct[route];
    const handler = handlers[route] ?? (answer && small(answer));
    if (handler === undefined) throw new TypeError(`Nothing serves "${route}"`);
    api.on(method, path, (context) => {
      passOn(context, route, node);
      if (method !== "GET") refuseUnknown(context, route);
      // Set here rather than on the context, whose Headers object costs a tenth of a small answer.
      const { outgoing } = context.env as { outgoing: ServerResponse };
      for (const [name, value] of Object.entries(apiHeaders)) outgoing.setHeader(name, value);
      return handler(context);
    });
  }
  for (const [path, methods] of methodsByPath()) {
    api.all(path, (context) => {
      passOn(context, undefined, node);
      const { method } = context.req;
      throw new HttpProblem(405, `There is no ${method} of "${context.req.path}"`, {
        next: `It has ${methods.join(", ")}`,
        headers: { allow: methods.join(", ") },
      });
    });
  }
  api.all("*", async (context) => {
    passOn(context, undefined, node);
    const found = await servePage(context, node, assets);
    if (found !== undefined) return found;
    throw new HttpProblem(404, `There is no "${context.req.method} ${context.req.path}"`, {
      next: "GET /api/openapi.json lists the paths",
    });
  });
  const problem = (error: unknown, request: IncomingMessage) => problemFor(error, request, node);
  api.onError((error, { env }) => responseOf(problemAnswer(problem(error, env.incoming))));
  const fetch = (request: Request, env: HttpBindings) => {
    const answer = api.fetch(request, env);
    return request.method === "HEAD" ? withoutCopy(answer, env) : answer;
  };
  const listener = getRequestListener((request, env) => fetch(request, env as HttpBindings), {
    errorHandler: (error) => {
      // A request that hono cannot even represent, such as one with a malformed Host header.
      node.log.debug("a request was malformed", { reason: messageOf(error) });
      return responseOf(problemAnswer(new HttpProblem(400, "The request is malformed")));
    },
  });
  const answered = directly(direct, node, problem);
  return (request, response) => {
    if (!answered(request, response)) void listener(request, response);
  };
}

/**
 * For HEAD the router makes a copy of the answer, which no longer says that it was written already.
 * Written again, it would end the process.
 */
async function withoutCopy(
  answer: Response | Promise<Response>,
  { outgoing }: HttpBindings,
): Promise<Response> {
  const copy = await answer;
  return outgoing.headersSent ? alreadySent() : copy;
}

function methodsByPath(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const route of Object.keys(routes)) {
    const [method, path] = route.split(" ") as [string, string];
    found.set(path, [...found.get(path) ?? [], ...method === "GET" ? [method, "HEAD"] : [method]]);
  }
  return found;
}

/**
 * A change is not made by a request that is understood in part: a misspelt `dry_run` would remove tasks.
 * Questions pass, so that newer clients may ask for more.
 */
function refuseUnknown({ req }: ApiContext, route: Route): void {
  const known = parametersOf(route);
  for (const [name, values] of Object.entries(req.queries())) {
    if (!known.includes(name)) {
      const near = nearest(name, known);
      throw new HttpProblem(400, `Unknown parameter "${name}"`, {
        ...near === undefined ? {} : { next: `Did you mean "${near}"?` },
      });
    }
    if (values.length > 1) throw new HttpProblem(400, `"${name}" is given more than once`);
  }
}

/** Lets a request through to its route. @throws {HttpProblem} where it may not go there. */
function passOn(context: ApiContext, route: Route | undefined, node: Node): void {
  const { facts, caller } = authorize(context.env.incoming, route, node);
  context.set("facts", facts);
  if (caller !== undefined) context.set("caller", caller);
}

function problemFor(error: unknown, { method, url }: IncomingMessage, { log }: Node): HttpProblem {
  const problem = problemOf(error);
  if (problem !== undefined) return problem;
  // The path, not the query: that may carry a token.
  const path = url?.split("?")[0];
  log.error("a request failed", { method, path, reason: messageOf(error) });
  return new HttpProblem(500, "The node failed to answer; its log says more");
}

/** The same answer by way of the router. */
function small(answer: DirectHandler): Handler {
  return (context) => responseOf(answer(context.env.incoming, context.get("facts"))!);
}

function responseOf({ status, headers, body }: DirectAnswer): Response {
  return new Response(status === 304 ? null : body, { status, headers });
}
