/** The code of a user: one call of each contract; prints a line that the tests read. */
// deno-lint-ignore-file no-console
import { createIdempotency, createLocks, createSessions, createThrottle, memoryStore } from "@holdfast/edge";
import { createCache } from "@holdfast/edge/cache";
import { memoryMailer, outbox } from "@holdfast/edge/mail";

const store = memoryStore();

const lock = await createLocks(store).acquire("job", { ttl: "30s" });
const receipt = await createIdempotency(store).run("order:17", () => ({ charged: 4200 }));
const throttle = createThrottle(store, { name: "api", limit: 10, window: "1m" });
const { allowed } = await throttle.check("ada");
const product = await createCache(store, { name: "products" }).get("rope", () => ({ price: 12 }), {
  ttl: "5m",
});
const sessions = createSessions(store);
const visit = sessions.open(null);
visit.set("theme", "dark");
const cookie = await sessions.commit(visit);
const mailer = memoryMailer();
const queue = outbox(mailer, store);
await queue.send({ from: "shop@example.com", to: "ada@example.com", subject: "Order", text: "Thank you." });
await queue.drain();

const found = [lock !== undefined, receipt.charged, allowed, product.price, cookie !== undefined];
console.log(JSON.stringify([...found, mailer.outbox.length]));

// An option that may be undefined accepts it, with `exactOptionalPropertyTypes` and without.
const name: string | undefined = undefined;
createLocks(store, { name });
// @ts-expect-error a duration that does not exist
export const wrong = () => createThrottle(store, { name: "api", limit: 10, window: "1 minute" });
