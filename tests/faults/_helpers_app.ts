/**
 * An application with every helper under every policy, over one store: what a request gets, and what the
 * application is told. Web APIs alone, so that it runs in workerd too.
 */
import { Hono } from "hono";
import { type AtomicStore, HoldfastError } from "@holdfast/edge";
import { idempotency, lock, session, type SessionVariables, throttle } from "@holdfast/edge/hono";

/** A helper with its policy while the store is unavailable. */
export const HELPERS = [
  "throttle allow",
  "throttle deny",
  "throttle throw",
  "session",
  "idempotency deny",
  "idempotency allow",
  "lock deny",
  "lock throw",
] as const;

export type Helper = typeof HELPERS[number];

/** The answer of a helper to the first request. */
export interface Answer {
  /** The client's answer: the handler's, the helper's own refusal, or that of the application's `onError`. */
  readonly answer: "ran" | "503" | `thrown ${string}` | `status ${number}`;
  /** The codes of the faults that `onFault` heard. */
  readonly heard: readonly string[];
  /** The message of the error that was thrown. */
  readonly message: string;
}

const code = (error: unknown) => error instanceof HoldfastError ? error.code : String(error);

/** Sends the first request of a new application to a helper. */
export async function firstRequest(store: AtomicStore, helper: Helper): Promise<Answer> {
  const heard: string[] = [];
  const onFault = (error: unknown) => void heard.push(code(error));
  let message = "";
  const app = new Hono<{ Variables: SessionVariables }>();
  app.onError((error, c) => {
    message = error.message;
    return c.text(`thrown ${code(error)}`, 500);
  });
  const [kind, whenUnavailable] = helper.split(" ") as [string, never];
  const shared = { store, onFault, whenUnavailable } as const;
  const key = () => "key";
  switch (kind) {
    case "throttle":
      app.use(throttle({ ...shared, name: "helpers", limit: 10, window: "1m", key }));
      break;
    case "session":
      app.use(session({ store, onFault }));
      break;
    case "idempotency":
      app.use(idempotency({ ...shared, scope: "public", timeout: "2s" }));
      break;
    default:
      app.use(lock({ ...shared, key, timeout: "1s" }));
  }
  app.post("/", async (c) => {
    if (kind === "session") await c.var.session.data();
    return c.text("ran");
  });
  const headers = { "idempotency-key": crypto.randomUUID(), cookie: `__Host-session=${"A".repeat(43)}` };
  const response = await app.request("/", { method: "POST", headers });
  const text = await response.text();
  return { answer: answerOf(response, text), heard, message };
}

function answerOf({ status, headers }: Response, text: string): Answer["answer"] {
  if (status === 200 && text === "ran") return "ran";
  if (text.startsWith("thrown ")) return text as `thrown ${string}`;
  if (status === 503 && headers.get("content-type") === "application/problem+json") return "503";
  return `status ${status}`;
}
