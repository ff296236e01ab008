/** The HTTP API of a node and its pages, as one handler for http/server.ts. */
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import type { IncomingMessage, ServerResponse } from "node:http";
import { messageOf } from "../base/errors.ts";
import { HttpProblem, problemType } from "../http/problem.ts";
import { type Route, routes } from "./access.ts";
import { authorize } from "./api/authorize.ts";
import { serveCluster } from "./api/cluster.ts";
import type { Api, ApiContext, ApiEnv, Handler, Node, Serve } from "./api/context.ts";
import { serveEvents } from "./api/events.ts";
import { openApi } from "./api/openapi.ts";
import { problemOf } from "./api/problems.ts";
import { serveSession } from "./api/session.ts";
import { serveState, serveTasks } from "./api/tasks.ts";
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
  serveState(serve, node);
  serveEvents(serve, node);
  serve({ "GET /api/openapi.json": (context) => context.json(openApi(node.own().facts.version)) });

  for (const route of Object.keys(routes) as Route[]) {
    const handler = handlers[route];
    if (handler === undefined) throw new TypeError(`Nothing serves "${route}"`);
    const [method, path] = route.split(" ") as [string, string];
    api.on(method, path, (context) => {
      authorize(context, route, node);
      // Set here rather than on the context, whose Headers object costs a tenth of a small answer.
      const { outgoing } = context.env as { outgoing: ServerResponse };
      outgoing.setHeader("cache-control", "no-store");
      outgoing.setHeader("x-content-type-options", "nosniff");
      return handler(context);
    });
  }
  api.all("*", async (context) => {
    authorize(context, undefined, node);
    const found = await servePage(context, node, assets);
    if (found !== undefined) return found;
    throw new HttpProblem(404, `There is no "${context.req.method} ${context.req.path}"`, {
      next: "GET /api/openapi.json lists the paths",
    });
  });
  api.onError((error, context) => answerError(error, context, node));
  const listener = getRequestListener(api.fetch, {
    errorHandler: (error) => {
      // A request that hono cannot even represent, such as one with a malformed Host header.
      node.log.debug("a request was malformed", { reason: messageOf(error) });
      return problemResponse(new HttpProblem(400, "The request is malformed"));
    },
  });
  return (request, response) => void listener(request, response);
}

function answerError(error: Error, { req }: ApiContext, { log }: Node): Response {
  const problem = problemOf(error);
  if (problem !== undefined) return problemResponse(problem);
  // The path, not the query: that may carry a token.
  log.error("a request failed", { method: req.method, path: req.path, reason: error.message });
  return problemResponse(new HttpProblem(500, "The node failed to answer; its log says more"));
}

function problemResponse(problem: HttpProblem): Response {
  return new Response(JSON.stringify(problem.toJSON()), {
    status: problem.status,
    headers: {
      "content-type": problemType,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...problem.headers,
    },
  });
}
