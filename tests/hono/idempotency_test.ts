/** idempotency() through real Hono: keys, bodies, replays, streams and what goes wrong. */
import { Hono } from "hono";
import { cors } from "hono/cors";
import { HTTPException } from "hono/http-exception";
import { timeout } from "hono/timeout";
import { type AtomicStore, HoldfastError, memoryStore } from "@holdfast/edge";
import {
  idempotency,
  type IdempotencyMiddlewareOptions,
  type IdempotencyVariables,
  session,
  type SessionVariables,
} from "@holdfast/edge/hono";
import { assert, assertEquals, assertMatch, assertThrows } from "../support/assert.ts";
import { eventually, soonerThan } from "../support/eventually.ts";

type Env = { Variables: IdempotencyVariables };

const OUTSTANDING = "A request is outstanding for this Idempotency-Key";
const NOT_RETAINED = "The response was not retained";

const post = (
  key: string | undefined,
  body: BodyInit | null = null,
  headers: Record<string, string> = {},
) => ({
  method: "POST",
  body,
  headers: { ...(key !== undefined && { "idempotency-key": key }), ...headers },
});
const bytesOf = async (response: Response | Promise<Response>) =>
  new Uint8Array(await (await response).arrayBuffer());
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

function app(options: Partial<IdempotencyMiddlewareOptions> = {}): Hono<Env> {
  const app = new Hono<Env>();
  app.onError((error, c) => c.text(error.message, error instanceof HTTPException ? error.status : 500));
  app.use(idempotency({ store: memoryStore(), scope: "public", ...options }));
  return app;
}

/** Milliseconds that pass in real time, with two seconds each for a busy machine to renew a claim and to answer. */
const SHORT = { lease: 3000, maxHold: 6000 } as const;

/** The answer under a key, once its first request is done. */
async function answered(app: Hono<Env>, path: string, key: string): Promise<Response> {
  let answer: Response | undefined;
  await eventually(async () => {
    answer = await app.request(path, post(key));
    return answer.status !== 409;
  }, "the first request is done");
  return answer!;
}

/** A store whose transitions fail before or after they ran, as `fault` says. */
function faulty(
  store: AtomicStore,
  fault: (transition: string) => "before" | "after" | undefined,
): AtomicStore {
  const lost = () => {
    throw new HoldfastError("backend-unavailable", "Cannot reach the store", {
      retryable: true,
      ambiguous: true,
    });
  };
  return new Proxy(store, {
    get(target, name) {
      if (name === "namespace") return (path: string) => faulty(store.namespace(path), fault);
      const value = Reflect.get(target, name);
      if (name !== "transact") return typeof value === "function" ? value.bind(target) : value;
      return async (...args: Parameters<AtomicStore["transact"]>) => {
        const kind = fault(args[0].name);
        if (kind === "before") lost();
        const output = await store.transact(...args);
        if (kind === "after") lost();
        return output;
      };
    },
  });
}

/** A server's socket keeps its process alive, which the timers of a renewed lease do not. */
function served(test: () => Promise<void>): () => Promise<void> {
  return async () => {
    const socket = setInterval(() => {}, 60_000);
    try {
      await test();
    } finally {
      clearInterval(socket);
    }
  };
}

Deno.test("idempotency(): every malformed key is a 400 as problem+json, and two forms of a good one are one key", async () => {
  let runs = 0;
  const mine = app().post("/", (c) => c.text(String(++runs)));
  const bad = [
    "",
    " ",
    '""',
    '"a", "b"',
    "a, b",
    "a,b",
    '"a',
    'a"',
    "123",
    "-1.5",
    ":YWJj:",
    "?1",
    "@1700000000",
    "(a b)",
    `"${"x".repeat(256)}"`,
    "x".repeat(300),
    '"\\x"',
    '"a\u00e9"',
    '"a" b',
    ";a=1",
    "k:1;p=1", // bare text is taken whole or refused: "k:1;p=1" and "k:1;p=2" must not be one key
    "cart7;1",
    '"k";1', // no parameter begins with a digit
    '"k" ;a=1',
    '"k";a=',
    '"k";A=1',
  ];
  for (const key of bad) {
    const response = await mine.request("/", post(key));
    assertEquals([key, response.status], [key, 400]);
    assertEquals(response.headers.get("content-type"), "application/problem+json");
    assertMatch((await response.json()).title, /malformed/);
  }
  const two = new Headers([["idempotency-key", '"a"'], ["idempotency-key", '"b"']]);
  assertEquals((await mine.request("/", { method: "POST", headers: two })).status, 400);
  assertMatch((await (await mine.request("/", post(undefined))).json()).title, /missing/);
  assertEquals(runs, 0);
  const same = ['"k:1"', "k:1", '"k:1";p=1', '"k:1"; p;q=?0', ' "k:1" '];
  for (const key of same) assertEquals(await (await mine.request("/", post(key))).text(), "1", key);
  for (const key of ['"a\\"b"', '"a\\\\b"', `"${"x".repeat(255)}"`, "8e03978e-40d5-43e8-bc93-6894a57f9324"]) {
    assertEquals((await mine.request("/", post(key))).status, 200, key);
  }
  const strict = app({ strict: true }).post("/", (c) => c.text(""));
  assertEquals((await strict.request("/", post("k"))).status, 400);
  assertEquals((await strict.request("/", post('"k"'))).status, 200);
  const optional = app({ required: false }).post("/", (c) => c.text("served"));
  assertEquals(await (await optional.request("/", post(undefined))).text(), "served");
});

Deno.test("idempotency(): the handler can read the body by every method, chunked and multipart too", async () => {
  const mine = app({ fingerprint: (c) => c.req.path });
  mine.post("/json", async (c) => c.json([await c.req.json(), await c.req.text()]));
  mine.post("/raw", async (c) => c.text(await c.req.raw.text()));
  mine.post("/form", async (c) => c.json((await c.req.formData()).get("a")));
  mine.post("/parsed", async (c) => c.json((await c.req.parseBody()).a));
  mine.post("/bytes", async (c) => c.json([...new Uint8Array(await c.req.arrayBuffer())]));
  const form = () => {
    const form = new FormData();
    form.set("a", "b");
    return form;
  };
  const chunked = new ReadableStream({
    start(controller) {
      controller.enqueue(new Uint8Array([1, 2]));
      controller.enqueue(new Uint8Array([3]));
      controller.close();
    },
  });
  const answers = [
    await mine.request("/json", post("k1", '{"a":1}')),
    await mine.request("/raw", post("k2", "raw")),
    await mine.request("/form", post("k3", form())),
    await mine.request("/parsed", post("k4", form())),
    await mine.request("/parsed", post("k4", form())), // another boundary, the same request by its fingerprint
    await mine.request("/bytes", post("k5", chunked)),
  ];
  assertEquals(await Promise.all(answers.map((answer) => answer.json().catch(() => "raw"))), [
    [{ a: 1 }, '{"a":1}'],
    "raw",
    "b",
    "b",
    "b",
    [1, 2, 3],
  ]);
});

Deno.test("idempotency(): a body read before through Hono is compared, one read past it is a clear error", async () => {
  const mine = new Hono();
  mine.onError((error, c) => c.text(error.message, 500));
  mine.use(async (c, next) => {
    if (c.req.path === "/through") await c.req.text();
    if (c.req.path === "/past") await c.req.raw.text();
    await next();
  });
  mine.use(idempotency({ store: memoryStore(), scope: "public" }));
  mine.post("*", async (c) => c.text(await c.req.text()));
  assertEquals(await (await mine.request("/through", post("a", "one"))).text(), "one");
  assertEquals((await mine.request("/through", post("a", "two"))).status, 422);
  assertMatch(await (await mine.request("/past", post("b", "one"))).text(), /body is already being read/);
});

Deno.test("idempotency(): an upload without a length is cut off at the limit, not read to its end", async () => {
  const mine = app({ maxRequest: 10 }).post("/", (c) => c.text("served"));
  let pulled = 0;
  const endless = new ReadableStream({
    pull(controller) {
      pulled++;
      controller.enqueue(new Uint8Array(4));
    },
  }, { highWaterMark: 0 });
  const response = await mine.request("/", post("k", endless));
  assertEquals([response.status, pulled <= 5], [413, true]);
});

Deno.test("idempotency(): a replay has the status, the bytes and the safe headers, and nothing of one exchange", async () => {
  const mine = app();
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const gzipped = new Uint8Array(
    await new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer(),
  );
  mine.post("/bytes", () =>
    new Response(bytes, {
      status: 201,
      headers: {
        "content-type": "image/x",
        "x-mine": "1",
        "set-cookie": "a=b",
        "date": "now",
        "ratelimit": "x",
        "cf-ray": "1",
        "x-request-id": "2",
      },
    }));
  mine.post("/gzip", () => new Response(gzipped, { headers: { "content-encoding": "gzip" } }));
  mine.post("/204", (c) => c.body(null, 204));
  mine.post("/303", (c) => c.redirect("/there", 303));
  mine.post("/404", (c) => c.notFound());
  mine.post("/json", (c) => c.json({ a: "\u{1F600}" }));
  for (const path of ["/bytes", "/gzip", "/204", "/303", "/404", "/json"]) {
    const first = await mine.request(path, post(path));
    const again = await mine.request(path, post(path));
    assertEquals(again.headers.get("idempotency-replayed"), "true", path);
    assertEquals([first.headers.has("idempotency-replayed"), again.status], [false, first.status], path);
    const [one, two] = await Promise.all(
      [first, again].map(async (r) => new Uint8Array(await r.arrayBuffer())),
    );
    assertEquals(two, one, path);
    for (const name of ["location", "content-type", "x-mine", "content-encoding"]) {
      assertEquals(again.headers.get(name), first.headers.get(name), `${path} ${name}`);
    }
    for (const name of ["set-cookie", "date", "ratelimit", "cf-ray", "x-request-id"]) {
      assertEquals(again.headers.get(name), null, `${path} ${name}`);
    }
  }
});

Deno.test("idempotency(): by default 2xx, 3xx and most 4xx are kept, thrown HTTP errors too; 401, 403, 409, 423, 425, 429, 499 and 5xx run again", async () => {
  const runs: Record<string, number> = {};
  const mine = app();
  mine.post("/thrown", () => {
    runs.thrown = (runs.thrown ?? 0) + 1;
    throw new HTTPException(404, { message: "thrown" });
  });
  mine.post("/:status", (c) => {
    const status = c.req.param("status");
    runs[status] = (runs[status] ?? 0) + 1;
    return new Response(null, { status: Number(status) });
  });
  const expected = {
    200: 1,
    201: 1,
    304: 1,
    400: 1,
    402: 1,
    404: 1,
    422: 1,
    401: 2,
    403: 2,
    409: 2,
    423: 2,
    425: 2,
    429: 2,
    499: 2,
    500: 2,
    503: 2,
    thrown: 1,
  };
  for (const path of Object.keys(expected)) {
    for (let i = 0; i < 2; i++) await mine.request(`/${path}`, post(`k-${path}`));
  }
  assertEquals(runs, expected);
  let custom = 0;
  const all = app({ storeIf: () => true }).post("/", (c) => c.text(String(++custom), 500));
  for (let i = 0; i < 2; i++) assertEquals((await all.request("/", post("k"))).status, 500);
  assertEquals(custom, 1);
});

Deno.test("idempotency(): a pinned request never runs again, whatever its outcome", async () => {
  const runs: Record<string, number> = {};
  const mine = app();
  mine.post("/:how", (c) => {
    const how = c.req.param("how");
    runs[how] = (runs[how] ?? 0) + 1;
    c.var.idempotency.pin();
    if (how === "error") throw new Error("after the money moved");
    if (how === "odd") throw "no Error";
    if (how === "breaks") return new Response(new ReadableStream({ pull: (c) => c.error(new Error("cut")) }));
    return c.text("broken", 500);
  });
  for (const [how, status] of [["500", 500], ["error", 500], ["odd", 409], ["breaks", 409]] as const) {
    const first = await Promise.resolve(mine.request(`/${how}`, post(`k-${how}`))).catch(() => undefined);
    await first?.text().catch(() => {});
    assertEquals((await mine.request(`/${how}`, post(`k-${how}`))).status, status, how);
  }
  assertEquals(runs, { 500: 1, error: 1, odd: 1, breaks: 1 });
});

Deno.test("idempotency(): a stream of any content type is passed on as it comes, and replayed when it has ended", async () => {
  for (const type of ["text/plain", "application/json", "text/event-stream", "application/octet-stream"]) {
    const go = Promise.withResolvers<void>();
    const mine = app().post("/", () => {
      let chunk = 0;
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          if (chunk === 1) await go.promise;
          if (chunk === 3) return controller.close();
          controller.enqueue(new TextEncoder().encode(`<${chunk++}>`));
        },
      });
      return new Response(body, { headers: { "content-type": type } });
    });
    const first = await mine.request("/", post("k"));
    const reader = first.body!.getReader();
    assertEquals(
      new TextDecoder().decode((await reader.read()).value),
      "<0>",
      "the first chunk is there at once",
    );
    assertEquals((await mine.request("/", post("k"))).status, 409, "it is still being served");
    go.resolve();
    let rest = "";
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      rest += new TextDecoder().decode(read.value);
    }
    assertEquals(rest, "<1><2>");
    const again = await mine.request("/", post("k"));
    assertEquals([await again.text(), again.headers.get("idempotency-replayed")], ["<0><1><2>", "true"]);
  }
});

Deno.test("idempotency(): a text stream that never ends is not held back; at maxHold it counts as done, and is cancelled when its client left", async () => {
  let [runs, stopped] = [0, 0];
  const mine = app(SHORT).post("/", () => {
    runs++;
    let timer: ReturnType<typeof setInterval>;
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        timer = setInterval(() => controller.enqueue(new TextEncoder().encode("tick")), 5);
      },
      cancel() {
        stopped++;
        clearInterval(timer);
      },
    });
    return new Response(body, { headers: { "content-type": "text/plain" } });
  });
  const began = performance.now();
  const reader = await soonerThan(SHORT.maxHold - 1000, async () => {
    const reader = (await mine.request("/", post("k"))).body!.getReader();
    await reader.read();
    return reader;
  }, "the first tick comes at once");
  await reader.cancel();
  assertEquals([stopped, (await mine.request("/", post("k"))).status], [0, 409], "it is read on");
  const titles = new Set<string>();
  for (; performance.now() < began + SHORT.maxHold + 500 || titles.size < 2; await pause(20)) {
    titles.add((await (await mine.request("/", post("k"))).json()).title);
  }
  assertEquals([[...titles], runs, stopped], [[OUTSTANDING, NOT_RETAINED], 1, 1]);
});

Deno.test("idempotency(): a client that leaves in the middle of a stream finds the whole answer when it comes back", async () => {
  let runs = 0;
  const mine = app().post("/", () => {
    runs++;
    let chunk = 0;
    return new Response(
      new ReadableStream<Uint8Array>({
        async pull(controller) {
          await pause(2);
          if (chunk === 4) return controller.close();
          controller.enqueue(new Uint8Array([chunk++]));
        },
      }),
    );
  });
  const reader = (await mine.request("/", post("k"))).body!.getReader();
  await reader.read();
  await reader.cancel();
  const again = await answered(mine, "/", "k");
  assertEquals([[...new Uint8Array(await again.arrayBuffer())], runs], [[0, 1, 2, 3], 1]);
});

Deno.test("idempotency(): a client that leaves a stream in the middle after pin() finds the whole answer, too", async () => {
  let runs = 0;
  const mine = app().post("/", (c) => {
    runs++;
    c.get("idempotency").pin();
    const chunks = [1, 2, 3];
    return new Response(
      new ReadableStream<Uint8Array>({
        async pull(controller) {
          await pause(2);
          const chunk = chunks.shift();
          if (chunk === undefined) controller.close();
          else controller.enqueue(new Uint8Array([chunk]));
        },
      }),
    );
  });
  const reader = (await mine.request("/", post("k"))).body!.getReader();
  await reader.read();
  await reader.cancel();
  const again = await answered(mine, "/", "k");
  assertEquals([[...new Uint8Array(await again.arrayBuffer())], runs], [[1, 2, 3], 1]);
});

Deno.test("idempotency(): a response read already fails once, and the key is free again", async () => {
  let runs = 0;
  const mine = app().post("/", async () => {
    const response = new Response("read");
    if (++runs === 1) await response.text();
    return response;
  });
  assertEquals((await mine.request("/", post("k"))).status, 500);
  assertEquals((await mine.request("/", post("k"))).status, 200);
});

Deno.test("idempotency(): lost replies at every step change nothing: one run, one answer", async () => {
  for (const transition of ["begin", "complete"]) {
    for (const kind of ["before", "after"] as const) {
      let faults = 0;
      let runs = 0;
      const store = faulty(
        memoryStore(),
        (name) => name === `idempotency.${transition}` && faults++ < 2 ? kind : undefined,
      );
      const mine = app({ store }).post("/", (c) => c.text(String(++runs)));
      for (let i = 0; i < 2; i++) assertEquals(await (await mine.request("/", post("k"))).text(), "1");
      assertEquals([runs, faults >= 2], [1, true], `${transition} ${kind}`);
    }
  }
});

Deno.test("idempotency(): an answer that cannot be stored still reaches its client, and the fault is reported", async () => {
  const faults: unknown[] = [];
  const store = faulty(memoryStore(), (name) => name === "idempotency.complete" ? "before" : undefined);
  const mine = app({ store, onFault: (error) => faults.push(error) }).post("/", (c) => c.text("done"));
  assertEquals(await (await mine.request("/", post("k"))).text(), "done");
  assertEquals(faults.length, 1);
  assertEquals((await mine.request("/", post("k"))).status, 409, "until the lease is over");
});

Deno.test("idempotency(): a corrupt record is a typed error, never replaced", async () => {
  const store = memoryStore();
  const mine = app({ store }).post("/", (c) => c.text("served"));
  await mine.request("/", post("k"));
  const [key] = await Array.fromAsync(store.namespace("idempotency").list());
  await store.namespace("idempotency").set(key!, "another program's");
  const response = await mine.request("/", post("k"));
  assertEquals(response.status, 500);
  assertMatch(await response.text(), /not written by this version/);
  assertEquals(await store.namespace("idempotency").get(key!), "another program's");
});

Deno.test("idempotency(): scopes and keys never meet, and a caller without a name is an error", async () => {
  const mine = new Hono();
  mine.onError((error, c) => c.text(error.message, 500));
  let runs = 0;
  mine.post(
    "/",
    idempotency({ store: memoryStore(), scope: (c) => c.req.header("user") }),
    (c) => c.text(String(++runs)),
  );
  for (const [user, key] of [["a", "b:c"], ["a:b", "c"], ["a", "b"], ["public", "c"], ["public", "b"]]) {
    assertEquals(
      (await mine.request("/", post(key, null, { user: user! }))).headers.has("idempotency-replayed"),
      false,
    );
  }
  assertEquals(runs, 5);
  assertMatch(await (await mine.request("/", post("k"))).text(), /must name the caller/);
  assertThrows(
    () => idempotency({ store: memoryStore() } as unknown as IdempotencyMiddlewareOptions),
    TypeError,
  );
  assertThrows(() => app({ lease: 0 }), RangeError);
  assertThrows(() => app({ wait: -1 }), RangeError);
});

Deno.test("idempotency(): with `wait`, a duplicate waits for the first one's answer", async () => {
  const mine = app({ wait: "2m" }).post("/", async (c) => {
    await pause(20);
    return c.text("once");
  });
  const answers = await Promise.all(Array.from({ length: 10 }, () => mine.request("/", post("k"))));
  assertEquals(answers.filter((answer) => answer.headers.has("idempotency-replayed")).length, 9);
  for (const answer of answers) assertEquals(await answer.text(), "once");
});

Deno.test(
  "idempotency(): a handler that lost its key sees its signal abort, and its client gets the winner's answer",
  served(async () => {
    const store = memoryStore();
    const started = Promise.withResolvers<void>();
    let runs = 0;
    const mine = new Hono<Env>();
    mine.use(cors({ origin: "https://a.test" }));
    mine.use(idempotency({ store, scope: "public", lease: 3000 }));
    mine.post("/", async (c) => {
      const { attempt, signal, key } = c.var.idempotency;
      assertEquals(key, "k");
      if (++runs > 1) return c.json({ winner: attempt });
      started.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      assertEquals((signal.reason as HoldfastError).code, "claim-lost");
      return c.json({ late: attempt });
    });
    const first = mine.request("/", post("k", null, { origin: "https://a.test" }));
    await started.promise;
    await store.namespace("idempotency").clear();
    assertEquals(await (await mine.request("/", post("k"))).json(), { winner: 1 });
    const late = await first;
    assertEquals([await late.json(), late.headers.get("idempotency-replayed")], [{ winner: 1 }, "true"]);
    assertEquals(late.headers.get("access-control-allow-origin"), "https://a.test", "its own exchange's");
  }),
);

Deno.test("idempotency(): methods that are not protected cost no I/O", async () => {
  const store = faulty(memoryStore(), () => "before");
  const mine = app({ store }).all("/", (c) => c.text("served"));
  for (const method of ["GET", "OPTIONS", "PUT", "DELETE"]) {
    assertEquals(
      (await mine.request("/", { method, headers: { "idempotency-key": "k" } })).status,
      200,
      method,
    );
  }
});

Deno.test("idempotency(): a thrown HTTP error is kept with its response, and storeIf decides on it like on a returned one", async () => {
  let runs = 0;
  const thrower = (status: 402 | 503) => () => {
    throw new HTTPException(status, {
      res: new Response(`no money ${++runs}`, { status, headers: { "x-a": "1" } }),
    });
  };
  const mine = new Hono<Env>();
  mine.use(idempotency({ store: memoryStore(), scope: "public" }));
  mine.post("/", thrower(402));
  const answers = [await mine.request("/", post("k")), await mine.request("/", post("k"))];
  for (const answer of answers) {
    assertEquals([answer.status, await answer.text(), answer.headers.get("x-a")], [402, "no money 1", "1"]);
  }
  const all = new Hono<Env>();
  all.use(idempotency({ store: memoryStore(), scope: "public", storeIf: () => true }));
  all.post("/http", thrower(503));
  all.post("/crash", () => {
    runs++;
    throw new Error("a mistake");
  });
  all.onError((error, c) => error instanceof HTTPException ? error.getResponse() : c.text("broken", 500));
  runs = 0;
  for (let i = 0; i < 2; i++) assertEquals((await all.request("/http", post("a"))).status, 503);
  assertEquals(runs, 1);
  for (let i = 0; i < 2; i++) assertEquals((await all.request("/crash", post("b"))).status, 500);
  assertEquals(runs, 3, "a crash is no answer, whatever storeIf says");
});

Deno.test("idempotency(): a storeIf that throws keeps the answer, and is reported", async () => {
  const faults: unknown[] = [];
  let runs = 0;
  const mine = app({
    storeIf() {
      throw new Error("a mistake");
    },
    onFault: (error) => faults.push(error),
  }).post("/", (c) => c.text(String(++runs)));
  for (let i = 0; i < 2; i++) assertEquals(await (await mine.request("/", post("k"))).text(), "1");
  assertEquals(faults.map(String), ["Error: a mistake"]);
});

Deno.test("idempotency(): behind a timeout of hono's the handler may still run: the key stays taken until its lease ends", async () => {
  for (const exception of [undefined, new HTTPException(408)]) {
    let runs = 0;
    let live = 0;
    let overlapped = false;
    const told: boolean[] = [];
    const ended = Promise.withResolvers<void>();
    const mine = app({ lease: 2500 });
    mine.post("/", timeout(20, exception!), async (c) => {
      overlapped ||= live > 0;
      live++;
      const { signal } = c.var.idempotency;
      if (++runs === 1) await ended.promise;
      live--;
      told.push(signal.aborted);
      return c.text(`run ${runs}`);
    });
    const status = exception === undefined ? 504 : 408;
    assertEquals((await mine.request("/", post("k"))).status, status);
    const again = await mine.request("/", post("k"));
    assertEquals([again.status, runs, live], [409, 1, 1], "its handler is still at work");
    ended.resolve();
    let answer = again;
    while (answer.status === 409) {
      await pause(10);
      answer = await mine.request("/", post("k"));
    }
    assertEquals([await answer.text(), overlapped], ["run 2", false]);
  }
});

Deno.test(
  "idempotency(): a handler that never returns loses its key at maxHold, and its signal aborts",
  served(async () => {
    const told = Promise.withResolvers<unknown>();
    let runs = 0;
    const mine = app(SHORT).post("/", (c) => {
      if (++runs > 1) return c.text("second");
      c.var.idempotency.signal.addEventListener("abort", () => told.resolve(c.var.idempotency.signal.reason));
      return new Promise<Response>(() => {});
    });
    void mine.request("/", post("k")); // it never answers
    await pause(SHORT.lease + 200);
    assertEquals((await mine.request("/", post("k"))).status, 409, "it outlives its lease");
    assertEquals((await told.promise as HoldfastError).code, "claim-lost");
    let answer = await mine.request("/", post("k"));
    while (answer.status === 409) {
      await pause(5);
      answer = await mine.request("/", post("k"));
    }
    assertEquals(await answer.text(), "second");
  }),
);

Deno.test(
  "idempotency(): a stream that is never read is stored all the same; one too large to store is done at once",
  served(async () => {
    let runs = 0;
    const mine = app({ ...SHORT, maxResponse: 10 });
    mine.post("/:size", (c) => {
      runs++;
      let left = Number(c.req.param("size"));
      return new Response(
        new ReadableStream<Uint8Array>({
          async pull(controller) {
            await pause(1);
            if (left-- > 0) controller.enqueue(new Uint8Array([left]));
            else controller.close();
          },
        }),
      );
    });
    await mine.request("/5", post("small")); // its body is never read
    assertEquals([...(await bytesOf(answered(mine, "/5", "small")))], [4, 3, 2, 1, 0]);
    assertEquals(runs, 1);
    const first = await mine.request("/50", post("large"));
    let title = OUTSTANDING;
    for (const now = performance.now(); performance.now() < now + SHORT.maxHold + 500; await pause(20)) {
      const answer = await mine.request("/50", post("large"));
      assertEquals([answer.status, runs], [409, 2], "it never runs again, also after maxHold");
      ({ title } = await answer.json());
    }
    assertEquals(title, NOT_RETAINED);
    assertEquals((await bytesOf(first)).length, 50, "its client gets it whole");
  }),
);

Deno.test("idempotency(): a store that hangs is given up after the timeout, all retries together", async () => {
  const store = new Proxy(memoryStore(), {
    get(target, name) {
      if (name === "namespace") return () => store;
      if (name === "transact") return () => new Promise(() => {});
      return Reflect.get(target, name);
    },
  }) as AtomicStore;
  const faults: unknown[] = [];
  const background: Promise<unknown>[] = [];
  const ctx = {
    waitUntil: (work: Promise<unknown>) => void background.push(work),
    passThroughOnException() {},
    props: {},
  };
  const mine = app({ store, timeout: 100, onFault: (error) => faults.push(error) }).post(
    "/",
    (c) => c.text("no"),
  );
  // Four tries of 5 s would be 20 s.
  const response = await soonerThan(4900, async () => await mine.request("/", post("k"), undefined, ctx));
  assertEquals(response.status, 503);
  assertEquals((faults as HoldfastError[]).map(({ code, ambiguous }) => [code, ambiguous]), [[
    "timeout",
    true,
  ]]);
  await Promise.all(background);
});

Deno.test("idempotency(): an outage is whenUnavailable's, a misconfiguration and a corrupt record always throw; all are reported", async () => {
  const table = [
    ["backend-unavailable", undefined, 503],
    ["backend-unavailable", "allow", 200],
    ["store-full", undefined, 503],
    ["store-full", "allow", 503],
    ["unauthorized", "allow", 500],
    ["misconfigured", "allow", 500],
    ["quota-exceeded", "allow", 500],
    ["read-only", undefined, 500],
    ["unsupported", undefined, 500],
    ["corrupt-record", "allow", 500],
  ] as const;
  for (const [code, whenUnavailable, status] of table) {
    const faults: unknown[] = [];
    const error = new HoldfastError(code, `Cannot use the store: ${code}`);
    const store = new Proxy(memoryStore(), {
      get(target, name) {
        if (name === "namespace") return () => store;
        if (name === "transact") return () => Promise.reject(error);
        return Reflect.get(target, name);
      },
    }) as AtomicStore;
    const mine = app({ store, whenUnavailable, onFault: (fault) => faults.push(fault) });
    mine.post("/", (c) => c.text("served"));
    const response = await mine.request("/", post("k"));
    assertEquals([code, response.status, faults], [code, status, [error]]);
    if (status === 500) assertEquals(await response.text(), error.message, "the app's own error answer");
  }
});

Deno.test("idempotency(): another host, method, path, query, kind or coding of content is another request", async () => {
  const mine = app().all("*", (c) => c.text("served"));
  const ask = (url: string, method = "POST", headers: Record<string, string> = {}) =>
    mine.request(new Request(url, { method, headers: { "idempotency-key": "k", ...headers }, body: "{}" }));
  assertEquals(
    (await ask("https://a.test/x?b=1&a=2", "POST", { "content-type": "application/json" })).status,
    200,
  );
  const json = { "content-type": "application/json; charset=utf-8" };
  for (const url of ["https://a.test/x?b=1&a=2", "http://a.test/x?a=2&b=1", "https://A.test/x?a=2&b=1"]) {
    assertEquals((await ask(url, "POST", json)).headers.get("idempotency-replayed"), "true", url);
  }
  for (
    const url of [
      "https://b.test/x?b=1&a=2",
      "https://a.test:8443/x?b=1&a=2",
      "https://a.test/y?b=1&a=2",
      "https://a.test/x",
    ]
  ) {
    assertEquals([url, (await ask(url, "POST", json)).status], [url, 422]);
  }
  const same = "https://a.test/x?b=1&a=2";
  assertEquals((await ask(same, "PATCH", json)).status, 422);
  assertEquals((await ask(same, "POST", { "content-type": "text/plain" })).status, 422);
  assertEquals((await ask(same, "POST", { ...json, "content-encoding": "gzip" })).status, 422);
});

Deno.test("idempotency(): methods are protected in any case", async () => {
  let runs = 0;
  const mine = app({ methods: ["patch", "POST"] }).all("/", (c) => c.text(String(++runs)));
  const patch = () =>
    new Request("http://localhost/", { method: "patch", headers: { "idempotency-key": "k" } });
  assertEquals(patch().method, "patch", "fetch leaves it as it is");
  for (let i = 0; i < 2; i++) await mine.request(patch());
  await mine.request("/", { method: "PATCH", headers: { "idempotency-key": "k" } });
  assertEquals(runs, 1);
});

Deno.test("idempotency(): a replay hands on nothing of the first caller's: credentials, its origin, its quota, its trace", async () => {
  const own = {
    "access-control-allow-credentials": "true",
    "access-control-allow-origin": "https://first.test",
    "access-control-expose-headers": "x-mine",
    "authentication-info": "nextnonce=1",
    "authorization": "Bearer secret",
    "clear-site-data": '"cookies"',
    "proxy-authorization": "Basic secret",
    "ratelimit-policy": "a",
    "retry-after": "7",
    "server-timing": "db;dur=1",
    "set-cookie": "session=secret",
    "traceparent": "00-1-1-01",
    "via": "1.1 proxy",
    "www-authenticate": "Bearer",
    "x-access-token": "secret",
    "x-api-key": "secret",
    "x-auth-token": "secret",
    "x-csrf-token": "secret",
    "x-ratelimit-remaining": "1",
    "x-request-id": "1",
  };
  const answer = {
    "cache-control": "private",
    "content-language": "en",
    "etag": '"1"',
    "link": "</x>",
    "vary": "accept",
    "x-mine": "1",
  };
  const mine = app().post("/", () => new Response("body", { headers: { ...own, ...answer } }));
  const first = await mine.request("/", post("k"));
  assertEquals(first.headers.get("x-auth-token"), "secret");
  const again = await mine.request("/", post("k"));
  for (const name of Object.keys(own)) assertEquals([name, again.headers.get(name)], [name, null]);
  for (const [name, value] of Object.entries(answer)) {
    assertEquals([name, again.headers.get(name)], [name, value]);
  }
});

Deno.test("idempotency(): cors() around it answers each caller's own origin, on replays too", async () => {
  const mine = new Hono<Env>();
  mine.use(cors({ origin: ["https://a.test", "https://b.test"], credentials: true }));
  mine.use(idempotency({ store: memoryStore(), scope: "public" }));
  mine.post("/", (c) => c.text("served"));
  for (const origin of ["https://a.test", "https://b.test"]) {
    const { headers } = await mine.request("/", post("k", null, { origin }));
    assertEquals(headers.get("access-control-allow-origin"), origin);
  }
  const { headers } = await mine.request("/", post("k", null, { origin: "https://evil.test" }));
  assertEquals([headers.get("access-control-allow-origin"), headers.get("idempotency-replayed")], [
    null,
    "true",
  ]);
});

Deno.test("idempotency(): a scope with a lone surrogate is an error: hashed, it would be another caller's", async () => {
  let caller = "\ud800";
  const mine = app({ scope: () => caller }).post("/", (c) => c.text("served"));
  assertEquals((await mine.request("/", post("k"))).status, 500);
  caller = "\ufffd";
  assertEquals((await mine.request("/", post("k"))).headers.has("idempotency-replayed"), false);
  for (const none of ["", undefined, 7, {}]) {
    const mine = app({ scope: () => none as string }).post("/", (c) => c.text("served"));
    assertMatch(await (await mine.request("/", post("k"))).text(), /must name the caller/);
  }
});

Deno.test("idempotency(): a response bound above the limit of the engine is refused before the work runs", async () => {
  const small = (maxValueLength: number) => {
    const store: AtomicStore = new Proxy(memoryStore(), {
      get(target, name) {
        if (name === "limits") return { ...target.limits, maxValueLength };
        if (name === "namespace") return () => store;
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    return store;
  };
  assertThrows(() => app({ store: small(64_000), maxResponse: 60_000 }), RangeError);
  assertThrows(() => app({ maxResponse: -1 }), RangeError);
  const perRequest = app({ store: () => small(64_000), maxResponse: 60_000 }).post(
    "/",
    (c) => c.text("served"),
  );
  assertMatch(
    await (await perRequest.request("/", post("k"))).text(),
    /'maxResponse' must be at most \d+ on memory/,
  );
  // Within what it holds, every answer is kept, with the headers of an ordinary one.
  const bytes = 41_000;
  const headers = Object.fromEntries(
    Array.from({ length: 40 }, (_, n) => [`x-header-${n}`, "v".repeat(100)]),
  );
  const mine = app({ store: small(64_000) });
  mine.post("/:size", (c) => new Response(new Uint8Array(Number(c.req.param("size"))), { headers }));
  for (const [size, status] of [[bytes, 200], [bytes + 2000, 409]] as const) {
    assertEquals((await bytesOf(mine.request(`/${size}`, post(`k${size}`)))).length, size);
    assertEquals((await mine.request(`/${size}`, post(`k${size}`))).status, status);
  }
});

Deno.test("idempotency(): unknown options and values out of range are refused at once", () => {
  const bad: Partial<Record<string, unknown>>[] = [
    { onStoreError: "open" },
    { whenUnavailable: "open" },
    { methods: "POST" },
    { maxRequest: 1.5 },
    { storeIf: 200 },
    { fingerprint: "hash" },
    { onFault: true },
    { timeout: 0 },
    { lease: "2m", maxHold: "1m" },
    { store: {} },
  ];
  for (const options of bad) {
    let thrown: unknown;
    try {
      app(options as Partial<IdempotencyMiddlewareOptions>);
    } catch (error) {
      thrown = error;
    }
    assert(thrown instanceof TypeError || thrown instanceof RangeError, JSON.stringify(options));
  }
  app({
    lease: undefined,
    maxHold: undefined,
    wait: undefined,
    name: undefined,
    storeIf: undefined,
    strict: undefined,
  });
});

Deno.test("idempotency(): the problem of a malformed key says why it is refused and what to send", async () => {
  const mine = app().post("/", (c) => c.text(""));
  const strict = app({ strict: true }).post("/", (c) => c.text(""));
  const detail = async (key: string, of: typeof mine = mine) =>
    (await (await of.request("/", post(key))).json()).detail as string;
  for (const key of ["123", "-5", "1.5", "12345678901234567890", "?1", ":YWJj:", "@1700000000"]) {
    assertMatch(await detail(key), /number, date, boolean or bytes.*in double quotes/, key);
  }
  for (const key of ["k1, k2", "1 2", "a;b", 'a"']) {
    assertMatch(await detail(key), /space, quote, comma or semicolon.*in double quotes/, key);
  }
  for (const key of ["\u00e9", '"a\u00e9"']) assertMatch(await detail(key), /printable ASCII/, key);
  for (const key of ['"a', '"a" b', '"a", "b"', '"k";A=1', '"\\x"']) {
    assertMatch(await detail(key), /one quoted string/, key);
  }
  for (const key of ["x".repeat(300), `"${"x".repeat(256)}"`, '""', ""]) {
    assertMatch(await detail(key), /1 to 255 characters/, key);
  }
  assertMatch(await detail("k", strict), /in double quotes/);
});

Deno.test("idempotency(): when the session's store fails after the work, the order and pin() decide what a retry does, as documented", async () => {
  for (
    const [order, pins, runs, retry, cart] of [
      // Outside: the kept answer is replayed, and the session's change is lost.
      ["outside", false, 1, 201, ["tea"]],
      ["outside", true, 1, 201, ["tea"]],
      // Inside: the 503 is the answer, so the work is done again, unless it was pinned.
      ["inside", false, 2, 201, []],
      ["inside", true, 1, 503, ["tea"]],
    ] as const
  ) {
    let down = false;
    const sessions = session({ store: faulty(memoryStore(), () => down ? "before" : undefined) });
    const payments = idempotency({ store: memoryStore(), scope: "public" });
    const mine = new Hono<{ Variables: IdempotencyVariables & SessionVariables }>();
    let charges = 0;
    mine.get("/cart", sessions, async (c) => c.json(await c.var.session.get("cart") ?? null));
    mine.post("/cart", sessions, async (c) => {
      await c.var.session.set("cart", ["tea"]);
      return c.text("saved");
    });
    const both = order === "outside" ? [sessions, payments] as const : [payments, sessions] as const;
    mine.post("/pay", ...both, async (c) => {
      if (pins) c.var.idempotency.pin();
      charges++;
      await c.var.session.set("cart", []);
      down = charges === 1;
      return c.text("charged", 201);
    });
    const cookie = (await mine.request("/cart", post(undefined))).headers.get("set-cookie")!.split(";")[0]!;
    const what = `${order}, ${pins ? "pinned" : "not pinned"}`;
    assertEquals((await mine.request("/pay", post("k", null, { cookie }))).status, 503, what);
    down = false;
    const again = await mine.request("/pay", post("k", null, { cookie }));
    const left = await (await mine.request("/cart", { headers: { cookie } })).json();
    assertEquals([again.status, charges, left], [retry, runs, [...cart]], what);
  }
});

Deno.test("idempotency(): an answer that is not kept runs again even where its handler had charged, unless it was pinned; storeIf says otherwise", async () => {
  for (const status of [401, 403, 409, 425, 429, 500, 503]) {
    for (
      const [pins, options, charges] of [[false, {}, 2], [true, {}, 1], [false, {
        storeIf: () => true,
      }, 1]] as const
    ) {
      let charged = 0;
      const mine = app(options).post("/", (c) => {
        charged++;
        if (pins) c.var.idempotency.pin();
        return new Response(null, { status });
      });
      for (let i = 0; i < 2; i++) assertEquals((await mine.request("/", post("k"))).status, status);
      assertEquals([status, charged], [status, charges]);
    }
  }
  for (const status of [408, 504]) {
    let runs = 0;
    const mine = app({ lease: "1h" }).post("/", () => new Response(String(++runs), { status }));
    assertEquals((await mine.request("/", post("k"))).status, status);
    const again = await mine.request("/", post("k"));
    assertEquals(
      [again.status, (await again.json()).title, runs],
      [409, OUTSTANDING, 1],
      "until the lease ends",
    );
    const kept = app({ storeIf: () => true }).post("/", () => new Response(String(++runs), { status }));
    for (let i = 0; i < 2; i++) assertEquals(await (await kept.request("/", post("k"))).text(), "2");
  }
});
