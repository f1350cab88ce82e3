/**
 * The common part of all our mail providers: a real HTTP server that logs what came and what was accepted,
 * and with injected faults in the places where a network fails.
 */
import { Buffer } from "node:buffer";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A mailbox as a provider understood it; no name is "". */
export interface Mailbox {
  readonly name: string;
  readonly address: string;
}

/** A file as a provider understood it. */
export interface AcceptedFile {
  readonly filename: string;
  readonly contentType: string;
  readonly contentId: string | undefined;
  readonly bytes: Uint8Array;
}

/** A message that a provider took: what counts in the end. */
export interface AcceptedMail {
  readonly id: string;
  readonly from: Mailbox;
  readonly to: readonly Mailbox[];
  readonly cc: readonly Mailbox[];
  /** Known from the envelope alone. */
  readonly bcc: readonly Mailbox[];
  /** The recipients of the envelope, where that is not the headers'. */
  readonly envelope?: readonly string[];
  readonly replyTo: readonly Mailbox[];
  readonly subject: string;
  readonly text: string | undefined;
  readonly html: string | undefined;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly attachments: readonly AcceptedFile[];
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch. */
  readonly sendAt: number | undefined;
  /** The MIME form, where that is what came. */
  readonly raw: Uint8Array | undefined;
}

/** A request as it arrived. */
export interface MailRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** A server's reply. */
export interface MailReply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** The fault of one request. */
export type MailFault =
  /** The connection breaks without a byte of an answer. */
  | { readonly cut: "before" | "after" }
  /** No answer comes. */
  | { readonly hang: "before" | "after" }
  /** The message is taken, and of the answer's body only the first part comes, as if it were all. */
  | { readonly truncate: true }
  /** Another answer, and nothing is taken. */
  | MailReply;

/** A server that takes mail. */
export interface MailServer extends AsyncDisposable {
  /** Its origin. */
  readonly url: string;
  /** Every request so far. */
  readonly requests: MailRequest[];
  /** Every message taken so far. */
  readonly accepted: AcceptedMail[];
  /** Decides what goes wrong with the next requests; `undefined` for those that go well. */
  fault: ((request: MailRequest) => MailFault | undefined) | undefined;
  /** Decides which messages the provider does not like. */
  refuse: ((mail: AcceptedMail) => boolean) | undefined;
  /** Forgets requests, messages and faults. */
  reset(): void;
}

/** A refusal that a server's checks throw. */
export class Refusal extends Error {
  constructor(readonly status: number, message: string, readonly code = "") {
    super(message);
  }
}

/**
 * A provider's server's answer to a request: take messages through `accept`, or throw a {@linkcode
 * Refusal}.
 */
export type MailHandler = (
  request: MailRequest,
  server: Pick<MailServer, "accepted" | "refuse">,
) => Promise<MailReply>;

/** Starts a provider. */
export async function startMailServer(
  handle: MailHandler,
  refused: (refusal: Refusal) => MailReply,
): Promise<MailServer> {
  const http = createServer((incoming, outgoing) => void serve(incoming, outgoing));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of incoming) chunks.push(chunk);
    } catch {
      return; // the client went away
    }
    const request: MailRequest = {
      method: incoming.method ?? "",
      path: incoming.url ?? "",
      headers: new Headers(Object.entries(incoming.headers).map(([name, value]) => [name, String(value)])),
      body: new Uint8Array(Buffer.concat(chunks)),
    };
    server.requests.push(request);
    const fault = server.fault?.(request);
    if (fault && "hang" in fault && fault.hang === "before") return;
    if (fault && "cut" in fault && fault.cut === "before") return void incoming.socket.destroy();
    if (fault && "status" in fault) return answer(outgoing, fault);
    let reply: MailReply;
    try {
      reply = await handle(request, server);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      reply = refused(error);
    }
    if (fault && "hang" in fault) return;
    if (fault && "cut" in fault) return void incoming.socket.destroy();
    const body = reply.body ?? "";
    answer(outgoing, fault ? { ...reply, body: body.slice(0, Math.floor(body.length / 2)) } : reply);
  }

  function answer(outgoing: ServerResponse, { status, headers = {}, body = "" }: MailReply): void {
    outgoing.writeHead(status, { ...headers, "content-length": String(Buffer.byteLength(body)) });
    outgoing.end(body);
  }

  const server: MailServer = {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    requests: [],
    accepted: [],
    fault: undefined,
    refuse: undefined,
    reset() {
      server.requests.length = 0;
      server.accepted.length = 0;
      server.fault = undefined;
      server.refuse = undefined;
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => http.close(resolve));
      http.closeAllConnections();
      await closed;
    },
  };
  return server;
}

/** Reads base64 strictly. */
export function base64(text: unknown, what: string): Uint8Array {
  if (
    typeof text !== "string" || !/^(?:[A-Za-z\d+/]{4})*(?:[A-Za-z\d+/]{2}==|[A-Za-z\d+/]{3}=)?$/.test(text)
  ) {
    throw new Refusal(400, `${what} must be base64`, "invalid");
  }
  return new Uint8Array(Buffer.from(text, "base64"));
}

/** Refuses fields the provider does not know: they would be dropped in silence. */
export function onlyKnown(value: object, known: readonly string[], what: string): void {
  for (const field of Object.keys(value)) {
    if (!known.includes(field)) throw new Refusal(400, `${what} has an unknown field ${field}`, "invalid");
  }
}

/** Reads JSON or refuses. */
export function json(request: MailRequest): unknown {
  if (!request.headers.get("content-type")?.startsWith("application/json")) {
    throw new Refusal(415, "the content type must be application/json", "invalid");
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(request.body));
  } catch {
    throw new Refusal(400, "the body is no JSON", "invalid");
  }
}

/** A header's name and value must be such that a header can be made of them. */
export function checkHeaders(headers: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[!-9;-~]+$/.test(name) || typeof value !== "string" || !/^[ -~]*$/.test(value)) {
      throw new Refusal(400, "a header is not valid", "invalid");
    }
  }
}

/** By lower-case name. */
export function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
