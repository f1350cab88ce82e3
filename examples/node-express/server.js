/** Sessions, idempotent payments and a throttle in Express. */
import express from "express";
import { createIdempotency, createSessions, createThrottle, memoryStore } from "@holdfast/edge";

const store = memoryStore();
// Secure cookies need HTTPS; this server has none.
const sessions = createSessions(store, { cookie: { secure: false, name: "session" } });
const idempotency = createIdempotency(store, { name: "payments" });
const searches = createThrottle(store, { name: "search", limit: 5, window: "1m" });
let charges = 0;

/** Opens the session of a request; the handler sends its answer by `finish`, after the session was kept. */
function withSession(handler) {
  return async (request, response) => {
    const session = sessions.open(request.headers.cookie ?? null);
    const answer = await handler(session, request);
    const cookie = await sessions.commit(session);
    if (cookie !== undefined) response.append("Set-Cookie", cookie);
    response.status(answer.status ?? 200).json(answer.body);
  };
}

/** Answers 429 beyond the throttle's limit. */
function throttled(throttle) {
  return async (request, response, next) => {
    const { allowed, retryAfter } = await throttle.check(request.ip);
    if (allowed) return next();
    response.set("Retry-After", String(Math.ceil(retryAfter / 1000))).status(429).json({
      error: "too many requests",
    });
  };
}

const app = express();
app.use(express.json());

app.post(
  "/login",
  withSession((session, request) => {
    session.login(request.body.user); // check a password first
    return { body: { welcome: request.body.user } };
  }),
);
app.get("/me", withSession(async (session) => ({ body: { user: (await session.userId()) ?? null } })));
app.post(
  "/logout",
  withSession((session) => {
    session.revoke();
    return { body: { bye: true } };
  }),
);

app.post(
  "/pay",
  withSession(async (session, request) => {
    const user = await session.userId();
    const key = request.get("Idempotency-Key");
    if (user === undefined) return { status: 401, body: { error: "log in first" } };
    if (key === undefined) return { status: 400, body: { error: "no Idempotency-Key" } };
    const body = await idempotency.run(`${user}:${key}`, () => ({ charge: ++charges }), { wait: "5s" });
    return { status: 201, body };
  }),
);

app.get("/search", throttled(searches), (_request, response) => response.json([]));

app.listen(3002, "127.0.0.1");
