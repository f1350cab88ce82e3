/**
 * The answers of the session helpers, as a list of observations: the same in every runtime, or something is
 * not portable. Web APIs alone.
 */
import { Hono } from "hono";
import {
  type AtomicStore,
  createSessions,
  HoldfastError,
  memoryStore,
  type SessionEvent,
} from "@holdfast/edge";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { requireCsrfToken, requireFresh, session, type SessionVariables } from "@holdfast/edge/hono";
import {
  manualClock,
  sealedSessionLaw,
  sessionIndexLaw,
  sessionLaw,
  sessionStoreLaw,
  sessionUserLaw,
} from "@holdfast/edge/testing";
import { atomicSessionStore } from "@holdfast/edge/sessions";

/** The subject with another thing made of its store. */
function over<Subject extends { readonly store: AtomicStore }, Store>(
  subject: Subject,
  make: (store: AtomicStore) => Store,
): Omit<Subject, "store"> & { readonly store: Store } {
  return { ...subject, store: make(subject.store) };
}

/** Runs every law of sessions on memory, and says which failed. */
async function laws(): Promise<string[]> {
  const broken: string[] = [];
  // Each on a clock of its own, which stands still while a busy machine works.
  const subject = () => {
    const clock = manualClock();
    return { store: memoryStore({ clock }), clock, wait: (ms: number) => clock.advance(ms) };
  };
  const attempt = async (name: string, run: () => Promise<void>) => {
    try {
      await run();
    } catch (error) {
      broken.push(`${name}: ${error}`);
    }
  };
  const all = [
    ...sessionStoreLaw.map(({ name, run }) => () =>
      attempt(name, () => run(over(subject(), (store) => atomicSessionStore(store))))
    ),
    ...sessionIndexLaw.map(({ name, run }) => () =>
      attempt(name, () => run(over(subject(), (store) => atomicSessionStore(store).index)))
    ),
    ...[...sessionLaw, ...sessionUserLaw, ...sealedSessionLaw].map(({ name, run }) => () =>
      attempt(name, () => run(subject()))
    ),
  ];
  for (const law of all) await law();
  return [`laws: ${all.length}`, ...broken];
}

function app(events: SessionEvent[]): Hono<{ Variables: SessionVariables }> {
  const down = new Proxy(memoryStore(), {
    get: (target, name) =>
      name === "namespace" ? () => down : name === "transact"
        ? () =>
          Promise.reject(
            new HoldfastError("backend-unavailable", "Cannot reach the store", { retryable: true }),
          )
        : Reflect.get(target, name),
  });
  const app = new Hono<{ Variables: SessionVariables }>();
  app.onError((error, c) => c.text(error.name, 500));
  app.use("/down/*", session({ store: down }));
  app.use(
    "/sealed/*",
    session({ sessions: createSealedSessions({ keys: [{ id: "a", secret: "A".repeat(43) }] }) }),
  );
  app.use(
    "/revocable/*",
    session({
      sessions: createSealedSessions({
        keys: [{ id: "a", secret: "A".repeat(43) }],
        revocation: memoryStore(),
      }),
    }),
  );
  // Mounted for what is left: one session per request and name.
  const stored = session({ store: memoryStore(), onEvent: (event) => events.push(event) });
  app.use(async (c, next) => c.get("session") === undefined ? await stored(c, next) : await next());
  app.get(
    "*",
    async (c) =>
      c.json([
        await c.var.session.userId() ?? null,
        await c.var.session.get("x") ?? null,
        await c.var.session.isNew(),
      ]),
  );
  app.post("/csrf", requireCsrfToken(), (c) => c.text("done"));
  app.post("/fresh", requireFresh("5m"), (c) => c.text("done"));
  app.post("*", async (c) => {
    const what = c.req.path.split("/").at(-1);
    if (what === "login") c.var.session.login("ada");
    if (what === "logout") c.var.session.revoke();
    if (what === "rotate") c.var.session.rotate();
    if (what === "write") c.var.session.set("x", { bytes: "é😀" });
    if (what === "token") return c.text(await c.var.session.csrfToken());
    if (what === "break") {
      c.var.session.revoke();
      throw new Error("no");
    }
    if (what === "raw") {
      c.var.session.set("x", 1);
      return new Response("raw", { headers: { "set-cookie": "mine=1" } });
    }
    return c.text("done");
  });
  return app;
}

/** The number of a sealed session's parallel rotations that live, without and with a logout beside them. */
async function forks(): Promise<number[]> {
  const keys = [{ id: "a", secret: "A".repeat(43) }] as const;
  const sessions = createSealedSessions({ keys, revocation: memoryStore() });
  const counts: number[] = [];
  for (const logsOut of [false, true]) {
    const first = sessions.open(null);
    first.login("ada");
    const cookie = (await sessions.commit(first))!.split(";")[0]!;
    const cookies = await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const session = sessions.open(cookie);
      await session.data();
      if (logsOut && i === 10) session.revoke();
      else session.rotate();
      return (await sessions.commit(session))?.split(";")[0];
    }));
    const users = await Promise.all([cookie, ...cookies].map((sent) => sessions.open(sent).userId()));
    counts.push(users.filter((user) => user === "ada").length);
  }
  return counts;
}

export async function scenario(): Promise<unknown[]> {
  const seen: unknown[] = [];
  const events: SessionEvent[] = [];
  const site = app(events);
  let cookie = "";
  const ask = async (method: string, path: string, headers: Record<string, string> = {}) => {
    const response = await site.request(path, { method, headers: { cookie, ...headers } });
    const cookies = response.headers.getSetCookie();
    const mine = cookies.find((text) => text.startsWith("__Host-"));
    if (mine !== undefined) cookie = mine.split(";")[0]!;
    const { headers: h } = response;
    const text = await response.text();
    seen.push([
      method,
      path,
      response.status,
      h.get("vary"),
      h.get("cache-control"),
      h.get("content-type") === "application/problem+json", // Bun says what is text only when it sends it
      cookies.map((text) => text.replace(/=[^;]{20,};/, "=…;")),
      path.endsWith("token") ? "…" : text,
    ]);
    return text;
  };
  for (const base of ["", "/sealed", "/revocable"]) {
    cookie = "";
    for (
      const step of [
        "GET /",
        "POST /write",
        "GET /",
        "POST /login",
        "GET /",
        "POST /rotate",
        "POST /raw",
        "GET /",
        "POST /break",
        "GET /",
        "POST /login",
        "POST /logout",
        "GET /",
      ]
    ) {
      const [method, path] = step.split(" ") as [string, string];
      await ask(method, base + (path === "/" && base ? "/read" : path));
    }
  }
  cookie = "";
  const token = await ask("POST", "/token");
  await ask("POST", "/csrf");
  await ask("POST", "/csrf", { "x-csrf-token": token });
  await ask("POST", "/fresh");
  await ask("POST", "/login");
  await ask("POST", "/fresh");
  const before = cookie;
  for (const what of ["login", "logout", "write"]) await ask("POST", `/down/${what}`);
  seen.push(cookie === before);
  for (const bad of ["", "%00", "x".repeat(9000), "__proto__"]) {
    cookie = `__Host-session=${bad}`;
    await ask("GET", "/");
  }
  seen.push(await forks());
  const sessions = createSessions(memoryStore());
  const bound = sessions.fromRequest(new Request("https://example.com/"));
  bound.set("x", 1);
  const response = await bound.commit(new Response("plain"));
  seen.push([await response.text(), response.headers.getSetCookie().length]);
  seen.push(events.map(({ type }) => type), ...await laws());
  return seen;
}
