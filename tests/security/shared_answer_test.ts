/** An answer of one user is never another's: sessions and caches around one handler, in every order. */
import { type Context, Hono } from "hono";
import { streamText } from "hono/streaming";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { createSessions, HoldfastError, memoryStore } from "@holdfast/edge";
import { cache, session, type SessionVariables, throttle } from "@holdfast/edge/hono";
import { type SessionContext, withCache, withSession, withThrottle } from "@holdfast/edge/http";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { KEYS } from "./_sealed.ts";

type App = { Variables: SessionVariables };

const sent = (response: Response) => response.headers.get("set-cookie")?.split(";")[0] ?? "";
const url = "https://shop.example/page";

/** The use that a page makes of its visitor's session. */
const pages: Record<string, (c: Context<App>) => Response | Promise<Response>> = {
  "that names its user": async (c) => c.text(String(await c.var.session.userId())),
  "with a CSRF token": async (c) => c.text(await c.var.session.csrfToken()),
  "that reads a value": async (c) => c.text(String(await c.var.session.get("mark"))),
  "that counts visits": async (c) =>
    c.text(String(await c.var.session.update("mark", (n) => 1 + Number(n ?? 0)))),
  "that only sets a value": (c) => {
    c.var.session.set("mark", c.req.header("x-who"));
    return c.text(`for ${c.req.header("x-who")}`);
  },
  "that looks at its end, in a stream": async (c) => {
    await c.var.session.userId();
    return streamText(c, async (stream) => void await stream.write(String(await c.var.session.userId())));
  },
};

for (const order of ["session, cache", "cache, session"]) {
  for (const [what, page] of Object.entries(pages)) {
    Deno.test(`shared answer: ${order}: a page ${what} is its visitor's alone`, async () => {
      const store = memoryStore();
      const app = new Hono<App>();
      app.post("/login/:user", session({ store }), (c) => {
        c.var.session.login(c.req.param("user"));
        return c.text("in");
      });
      const both = [session({ store }), cache({ store, ttl: "1m" })] as const;
      app.get("/page", ...(order === "session, cache" ? both : [both[1], both[0]] as const), page);
      const cookies = new Map<string, string>([["a visitor", ""]]);
      for (const user of ["ada", "bob"]) {
        cookies.set(user, sent(await app.request(`https://shop.example/login/${user}`, { method: "POST" })));
      }
      const ask = async (who: string) => {
        const headers = { cookie: cookies.get(who)!, "x-who": who };
        const response = await app.request(url, { headers });
        return [await response.text(), response.headers.get("cache-status") ?? ""] as const;
      };
      const together = await Promise.all([...cookies.keys()].map(ask));
      const later = [];
      for (const who of cookies.keys()) later.push(await ask(who));
      for (const answers of [together, later]) {
        for (const [text, status] of answers) {
          assert(!/Holdfast; hit|collapsed/.test(status), `${text}: ${status}`);
        }
      }
      if (what === "that names its user") {
        assertEquals(later.map(([text]) => text), ["undefined", "ada", "bob"]);
      }
    });
  }
}

Deno.test("shared answer: a page that leaves the session alone is shared in either order", async () => {
  for (const outer of ["session", "cache"]) {
    const store = memoryStore();
    let asked = 0;
    const app = new Hono<App>();
    const both = [session({ store }), cache({ store, ttl: "1m" })] as const;
    app.get(
      "/page",
      ...(outer === "session" ? both : [both[1], both[0]] as const),
      (c) => c.text(`${++asked}`),
    );
    for (let i = 0; i < 3; i++) assertEquals(await (await app.request(url)).text(), "1", outer);
  }
});

Deno.test("shared answer: without a framework, in either order", async () => {
  const store = memoryStore();
  const sessions = createSessions(store);
  const login = async (user: string) => {
    const opened = sessions.open(null);
    opened.login(user);
    return (await sessions.commit(opened))!.split(";")[0]!;
  };
  const page = async (
    _request: Request,
    { session }: { session: { userId(): Promise<string | undefined> } },
  ) => new Response(String(await session.userId()));
  const inner = withCache(withSession(page, { sessions }), { store, ttl: "1m" });
  const outer = withSession(withCache(page as never, { store, ttl: "1m", name: "other" }), { sessions });
  for (const handler of [inner, outer]) {
    for (const user of ["ada", "bob", "ada"]) {
      const request = new Request(url, { headers: { cookie: await login(user) } });
      assertEquals(await (await handler(request)).text(), user);
    }
  }
});

Deno.test("shared answer: a session that is read for the first time after its response has left is an error", async () => {
  for (
    const sessions of [
      createSessions(memoryStore()),
      createSealedSessions({ keys: [...KEYS] as [typeof KEYS[0]] }),
    ]
  ) {
    const app = new Hono<App>();
    const errors: unknown[] = [];
    app.use(session({ sessions: sessions as ReturnType<typeof createSessions> }));
    app.get("/page", (c) => {
      const late = c.var.session;
      return streamText(c, async (stream) => {
        await stream.sleep(5);
        for (
          const read of [
            () => late.userId(),
            () => late.csrfToken(),
            () => late.get("a"),
            () => late.handle(),
          ]
        ) {
          errors.push(await read().catch((error) => error));
        }
        await stream.write("done");
      });
    });
    assertEquals(await (await app.request(url)).text(), "done");
    for (const error of errors) {
      assert(error instanceof HoldfastError && error.code === "session-committed", String(error));
    }
    assertEquals(errors.length, 4);
  }
});

Deno.test("shared answer: a value that was read before the response may be read again in its stream", async () => {
  const app = new Hono<App>();
  app.use(session({ store: memoryStore() }));
  app.get("/page", async (c) => {
    const token = await c.var.session.csrfToken();
    return streamText(c, async (stream) => {
      await stream.sleep(5);
      await stream.write(String(token === await c.var.session.csrfToken() || token.length > 0));
    });
  });
  const response = await app.request(url);
  assertEquals([await response.text(), response.headers.get("vary")], ["true", "Cookie"]);
  await assertRejects(() => {
    const opened = createSessions(memoryStore());
    const one = opened.open(null);
    return opened.commit(one).then(() => one.csrfToken());
  }, HoldfastError);
});

Deno.test("shared answer: one Response object without a body, returned to everyone, carries no cookie on", async () => {
  const store = memoryStore();
  const noContent = new Response(null, { status: 204 });
  const app = new Hono<App>();
  app.get("/", session({ store }), (c) => {
    c.var.session.set("mark", 1);
    return noContent;
  });
  const plain = withSession((_request, { session }) => {
    session.set("mark", 1);
    return noContent;
  }, { sessions: createSessions(store) });
  for (const ask of [() => app.request(url.replace("/page", "/")), () => plain(new Request(url))]) {
    const [first, second] = [await ask(), await ask()];
    assertEquals([first.status, second.status], [204, 204]);
    assertEquals(second.headers.getSetCookie().length, 1);
    assert(sent(first) !== "" && sent(first) !== sent(second));
  }
  assertEquals([...noContent.headers], []);
});

Deno.test("shared answer: nor does one with a content type, whatever gathered on it, and one text asked for by HEAD", async () => {
  const store = memoryStore();
  const key = () => "all";
  const limits = { store, name: "shared", limit: 100, window: "1m", key } as const;
  const created = () =>
    new Response(null, {
      status: 201,
      headers: { "content-type": "application/json", "set-cookie": "own=1" },
    });
  const welcome = () => new Response("welcome");
  for (const [method, later, make] of [["POST", "POST", created], ["GET", "HEAD", welcome]] as const) {
    for (const kind of ["plain", "hono"]) {
      const shared = make();
      const handler = withThrottle<SessionContext>((_request, { session }) => {
        session.set("mark", 1);
        return shared;
      }, limits);
      const app = new Hono<App>();
      app.use(session({ store }), throttle(limits));
      app.all("/page", (c) => {
        c.var.session.set("mark", 1);
        return shared;
      });
      const plain = withSession(handler, { store });
      const ask = async (method: string) => {
        const response =
          await (kind === "plain" ? plain(new Request(url, { method })) : app.request(url, { method }));
        const cookies = response.headers.getSetCookie().filter((it) => it.startsWith("__Host-session="));
        const limits = response.headers.get("ratelimit")?.match(/"shared"/g)?.length;
        if (method === "GET") await response.text();
        return { cookies, limits };
      };
      const first = await ask(method);
      assertEquals([first.cookies.length, first.limits], [1, 1], `${kind} ${method}: first`);
      const others = [...await Promise.all([ask(later), ask(later), ask(later)]), await ask(later)];
      for (const { cookies, limits } of others) {
        if (later === "HEAD") {
          assert(cookies.length === 0 && (limits ?? 0) <= 1, `${kind}: ${cookies} ${limits}`);
        } else assertEquals([cookies.length, limits], [1, 1], kind);
        assert(!cookies.includes(first.cookies[0]!), "the first visitor's");
      }
    }
  }
});

Deno.test("shared answer: what an inner helper adds stays, whichever request it was asked with", async () => {
  const store = memoryStore();
  const inner = withSession((_request, { session }) => {
    session.set("mark", 1);
    return new Response("inner");
  }, { store });
  const limits = { store, name: "outer", limit: 100, window: "1m", key: () => "all" } as const;
  const outer = withThrottle((request) => inner(new Request(request)), limits);
  const response = await outer(new Request(url));
  assertEquals(response.headers.getSetCookie().length, 1);
  assert(response.headers.has("ratelimit"));
  assertEquals(await response.text(), "inner");
});
