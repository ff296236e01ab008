/** Errors of an HTTP API as RFC 9457 has them, with `next`: what to do about it. */

export interface ProblemOptions {
  /** A command to paste, or one sentence. */
  next?: string | undefined;
  headers?: Record<string, string>;
  /** Further members of the document (RFC 9457, 3.2). */
  members?: Record<string, string | number>;
  cause?: unknown;
}

export class HttpProblem extends Error {
  override name = "HttpProblem";
  readonly next: string | undefined;
  readonly headers: Record<string, string>;
  readonly members: Record<string, string | number>;

  constructor(readonly status: number, detail: string, options: ProblemOptions = {}) {
    super(detail, options.cause === undefined ? {} : { cause: options.cause });
    this.next = options.next;
    this.headers = options.headers ?? {};
    this.members = options.members ?? {};
  }

  /** The document; `type` is about:blank, so that `title` is the status in words. */
  toJSON() {
    return {
      type: "about:blank",
      title: titles[this.status] ?? "Error",
      status: this.status,
      detail: this.message,
      ...(this.next === undefined ? {} : { next: this.next }),
      ...this.members,
    };
  }
}

export const problemType = "application/problem+json";

/** RFC 9110, section 15, and RFC 6585. */
const titles: Record<number, string> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  421: "Misdirected Request",
  429: "Too Many Requests",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};
