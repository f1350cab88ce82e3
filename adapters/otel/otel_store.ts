/** A store with spans and durations. */
import type { KeyValueStore } from "../../src/store/key_value_store.ts";
import { observedStore, type StoreCall } from "../../src/store/observed_store.ts";
import { checkTelemetry, CLIENT, durations, inSpan } from "./_call_span.ts";
import type { Telemetry } from "./telemetry.ts";

/** The systems for which the conventions have another name than our engines. */
const SYSTEMS: Readonly<Record<string, string>> = {
  upstash: "redis",
  postgres: "postgresql",
  libsql: "sqlite",
};

/**
 * A store that makes a client span of each call and records its duration (`db.client.operation.duration`).
 * Every contract runs on a store, so this shows all of them: `lock.acquire`, `session.load`,
 * `throttle.check`, `get`.
 *
 * @throws {TypeError} for an unknown option, or a tracer or a meter that is none
 * @see https://opentelemetry.io/docs/specs/semconv/database/database-spans/
 * @category Telemetry
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { type OtelTracer, otelStore } from "@holdfast/edge/otel";
 *
 * const names: string[] = [];
 * const span = { setAttribute() {}, setStatus() {}, end() {} };
 * const tracer: OtelTracer = { startActiveSpan: (name, _options, run) => (names.push(name), run(span)) };
 * const store = otelStore(memoryStore(), { tracer }); // trace.getTracer("shop") of @opentelemetry/api
 * await store.set("a", 1);
 * if (names.join() !== "set memory") throw new Error("unexpected");
 * ```
 */
export function otelStore<Store extends KeyValueStore>(store: Store, telemetry: Telemetry): Store {
  checkTelemetry("trace the store", telemetry);
  const { tracer, meter } = telemetry;
  const record = durations(meter, "db.client.operation.duration", "Duration of database client operations.");
  return observedStore(store, {
    around: (call, run) => {
      const attributes = attributesOf(call);
      return inSpan(tracer, `${call.operation} ${call.engine}`, { kind: CLIENT, attributes }, run);
    },
    onOperation: ({ outcome, durationMs, ...call }) => {
      record(durationMs, { ...attributesOf(call), ...(outcome !== "ok" && { "error.type": outcome }) });
    },
  });
}

function attributesOf({ operation, engine }: StoreCall): Record<string, string> {
  return { "db.system.name": SYSTEMS[engine] ?? engine, "db.operation.name": operation };
}
