/** better-auth's storage on Durable Objects, with a class that registers its transitions and with one that does not. */
import { HoldfastError } from "@holdfast/edge";
import { betterAuthStorage, betterAuthTransitions } from "@holdfast/edge/better-auth";
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { HoldfastObject } from "@holdfast/edge/durable-objects/object";

export { HoldfastObject };

export class AuthObject extends HoldfastObject {
  override readonly transitions = betterAuthTransitions;
}

interface Env {
  readonly AUTH: HoldfastNamespace;
  readonly PLAIN: HoldfastNamespace;
}

const secret = "a-secret-of-at-least-32-characters-for-the-tests";

export default {
  async fetch(_request: Request, env: Env): Promise<Response> {
    const registered = betterAuthStorage(durableObjectStore(env.AUTH), { secret });
    const token = "t".repeat(32);
    const value = JSON.stringify({ session: { token, userId: "ada" } });
    await registered.set(token, value, 60);
    const read = await registered.get(token);
    await registered.delete(token);
    const deleted = await registered.get(token);
    const plain = betterAuthStorage(durableObjectStore(env.PLAIN), { secret });
    const fault = await plain.set(token, value, 60).then(() => undefined, (error) => error);
    return Response.json({
      kept: read === value,
      deleted,
      fault: fault instanceof HoldfastError ? { code: fault.code, message: fault.message } : String(fault),
    });
  },
};
