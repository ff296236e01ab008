/** The API as an OpenAPI document, made from the table of routes. */
import { type Route, type RouteFacts, routes } from "../access.ts";

/** OpenAPI 3.1. Every route of the table is in it. */
export function openApi(version: string): unknown {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [route, facts] of Object.entries(routes) as [Route, RouteFacts][]) {
    const [method, path] = route.split(" ") as [string, string];
    const named = path.replace(/\*$/, ":path").replaceAll(/:(\w+)/g, "{$1}");
    const parameters = [...named.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
      name,
      in: "path",
      required: true,
      schema: { type: "string" },
    }));
    (paths[named] ??= {})[method.toLowerCase()] = {
      operationId: operationId(method, path),
      summary: facts.summary,
      security: security[facts.access],
      ...(parameters.length === 0 ? {} : { parameters }),
      responses: {
        [method === "POST" && path === "/api/tasks" ? "201" : "2XX"]: { description: "Done" },
        default: {
          description: "What is wrong, and what to do",
          content: {
            "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
          },
        },
      },
    };
  }
  return {
    openapi: "3.1.0",
    info: { title: "agent node", version },
    paths,
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        session: { type: "apiKey", in: "cookie", name: "agent session" },
        node: { type: "mutualTLS" },
      },
      schemas: {
        Problem: {
          type: "object",
          required: ["type", "title", "status", "detail"],
          properties: {
            type: { type: "string" },
            title: { type: "string" },
            status: { type: "integer" },
            detail: { type: "string" },
            next: { type: "string", description: "A command to paste, or one sentence" },
          },
        },
      },
    },
  };
}

const users = [{ bearer: [] }, { session: [] }];
const security = { open: [], user: users, peer: [{ node: [] }, ...users] };

function operationId(method: string, path: string): string {
  const words = path.split("/").filter((each) => each !== "" && each !== "api");
  return [method.toLowerCase(), ...words.map((each) => each.replaceAll(/[^A-Za-z_]/g, ""))]
    .filter((each) => each !== "").join("_");
}
