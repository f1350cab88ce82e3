/** The application of `_helpers_app.ts` on Durable Objects: `/HELPER` answers what its first request got. */
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { type DurableState, HoldfastObject } from "@holdfast/edge/durable-objects/object";
import { firstRequest, type Helper } from "./_helpers_app.ts";

export { HoldfastObject };

/** An object that ends with every call, as when its machine goes away. */
export class EndingObject extends HoldfastObject {
  readonly #state: DurableState & { abort(reason: string): void };

  constructor(state: DurableState & { abort(reason: string): void }, env: unknown) {
    super(state, env);
    this.#state = state;
  }

  override transact(): never {
    this.#state.abort("the machine goes away");
    throw new Error("not reached");
  }
}

export default {
  async fetch(request: Request, env: { readonly HOLDFAST: HoldfastNamespace }): Promise<Response> {
    const helper = decodeURIComponent(new URL(request.url).pathname.slice(1)) as Helper;
    return Response.json(await firstRequest(durableObjectStore(env.HOLDFAST), helper));
  },
};
