/** Counts the calls inside workerd: objects' requests and rows, D1's requests and rows, KV's operations. */
import { ObjectRecords } from "../../../adapters/durable_objects/_records.ts";
import { OUR_TRANSITIONS } from "../../../adapters/durable_objects/_transitions.ts";
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { type DurableState, HoldfastObject } from "@holdfast/edge/durable-objects/object";
import { type D1Binding, d1Store } from "@holdfast/edge/sqlite";
import { type KvNamespace, workersKvStore } from "@holdfast/edge/workers-kv";
import { type Probes, probing } from "../../support/probes.ts";
import { count, VALUE_WORK, WORK } from "./work.ts";

/** A cursor of the runtime, which counts. */
interface MeteredCursor {
  readonly rowsRead: number;
  readonly rowsWritten: number;
  toArray(): Record<string, unknown>[];
}

/** The rows since the last look, of all objects: they share this module with the Worker. */
let rows = { read: 0, written: 0 };

/** The storage, with a count of rows; Cloudflare bills each `setAlarm()` as a row written. */
function metered(storage: DurableState["storage"]): DurableState["storage"] {
  return {
    sql: {
      exec(query, ...bindings) {
        const cursor = storage.sql.exec(query, ...bindings) as unknown as MeteredCursor;
        const found = cursor.toArray();
        rows.read += cursor.rowsRead;
        rows.written += cursor.rowsWritten;
        return { toArray: () => found };
      },
    },
    setAlarm(time) {
      rows.written++;
      return storage.setAlarm(time);
    },
    deleteAlarm: () => storage.deleteAlarm(),
    deleteAll: () => storage.deleteAll(),
  };
}

export class CountingObject extends HoldfastObject {
  readonly #counted: ObjectRecords;

  constructor(state: DurableState, env: unknown) {
    super(state, env);
    const find = (name: string) => OUR_TRANSITIONS.find((transition) => transition.name === name);
    this.#counted = new ObjectRecords(metered(state.storage), find, () => Date.now());
  }

  override transact(name: string, key: string, input: string) {
    const done = this.#counted.transact(name, key, JSON.parse(input));
    // The next call is counted as in an object that was idle for some seconds: it holds no record in memory any more.
    const counted = { ...rows };
    this.#counted.getMany(["none"]);
    rows = counted;
    return JSON.stringify(done);
  }

  override getMany(keys: string[]) {
    return this.#counted.getMany(keys);
  }

  override setMany(...call: Parameters<HoldfastObject["setMany"]>) {
    return this.#counted.setMany(...call);
  }
}

interface Env {
  readonly HOLDFAST: HoldfastNamespace;
  readonly DB: D1Binding;
  readonly CACHE: KvNamespace;
}

/** The figures that D1 reports of a statement. */
interface D1Meta {
  readonly meta: { readonly rows_read: number; readonly rows_written: number };
}

export default probing<Env>(
  {
    async objects({ HOLDFAST }) {
      let requests = 0;
      const counting: HoldfastNamespace = {
        getByName(name, options) {
          const stub = HOLDFAST.getByName(name, options);
          return new Proxy(stub, {
            get: (_, method) => (...call: unknown[]) => {
              requests++;
              return (stub as unknown as Record<PropertyKey, (...call: unknown[]) => unknown>)[method]!(
                ...call,
              );
            },
          });
        },
      };
      return await count(durableObjectStore(counting), WORK, () => {
        const taken = { "requests": requests, "rows read": rows.read, "rows written": rows.written };
        requests = 0;
        rows = { read: 0, written: 0 };
        return taken;
      });
    },

    async d1({ DB }) {
      let taken = { "requests": 0, "rows read": 0, "rows written": 0 };
      const counting: D1Binding = {
        prepare: (sql) => DB.prepare(sql),
        async batch(statements) {
          taken["requests"]++;
          const results = await DB.batch(statements);
          for (const { meta } of results as unknown as D1Meta[]) {
            taken["rows read"] += meta.rows_read;
            taken["rows written"] += meta.rows_written;
          }
          return results;
        },
      };
      const store = d1Store(counting);
      await store.migrate();
      return await count(store, WORK, () => {
        const last = taken;
        taken = { "requests": 0, "rows read": 0, "rows written": 0 };
        return last;
      });
    },

    async kv({ CACHE }) {
      let taken = { reads: 0, writes: 0 };
      const counting = new Proxy(CACHE, {
        get(target, name) {
          const member = (target as unknown as Record<PropertyKey, (...call: unknown[]) => unknown>)[name]!;
          return (...call: unknown[]) => {
            // A `get` of many keys is a read of each.
            if (/^get/.test(String(name))) taken.reads += Array.isArray(call[0]) ? call[0].length : 1;
            else taken.writes++;
            return member.apply(target, call);
          };
        },
      });
      return await count(workersKvStore(counting), VALUE_WORK, () => {
        const last = taken;
        taken = { reads: 0, writes: 0 };
        return last;
      });
    },
  } satisfies Probes<Env>,
);
