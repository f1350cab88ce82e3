/** `./otel` with OpenTelemetry's own SDK, with Deno's own exporter and with Workers' own tracing. */
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { createLocks, memoryStore } from "@holdfast/edge";
import { memoryMailer, retrying, sendBulk } from "@holdfast/edge/mail";
import { otelMailer, otelStore, workersTracer } from "@holdfast/edge/otel";
import { faultyMailer, faultyStore } from "@holdfast/edge/testing";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";

const message = { from: "shop@example.com", to: "ada@example.com", subject: "Hello", text: "Hello" };

/** A tracer and a meter of the SDK, and what they exported. */
function sdk() {
  const spans = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  const exported = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter: exported, exportIntervalMillis: 3_600_000 });
  const meters = new MeterProvider({ readers: [reader] });
  return {
    tracer: provider.getTracer("test"),
    meter: meters.getMeter("test"),
    spans: () => spans.getFinishedSpans(),
    /** Ends the reader's timer too. */
    async metrics() {
      await reader.forceFlush();
      const found = exported.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics).flatMap(({ metrics }) =>
        metrics
      );
      await meters.shutdown();
      return found;
    },
  };
}

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());

Deno.test("otelStore() makes a client span of each call, a child of the request's and the parent of what runs below", async () => {
  const { tracer, spans, metrics } = sdk();
  const inner = otelStore(memoryStore(), { tracer });
  const store = otelStore(inner, { tracer });
  await tracer.startActiveSpan("GET /", async (request) => {
    await createLocks(store).withLock("secret-key", { ttl: "10s" }, () => {});
    request.end();
  });
  const found = spans();
  assertEquals(found.map(({ name }) => name), [
    "lock.acquire memory",
    "lock.acquire memory",
    "lock.release memory",
    "lock.release memory",
    "GET /",
  ]);
  const [below, above, , , request] = found;
  assertEquals(below!.parentSpanContext?.spanId, above!.spanContext().spanId);
  assertEquals(above!.parentSpanContext?.spanId, request!.spanContext().spanId);
  assertEquals([above!.kind, above!.attributes], [2, {
    "db.system.name": "memory",
    "db.operation.name": "lock.acquire",
  }]);
  assertEquals(await metrics(), []);
  assert(!JSON.stringify(found.map(({ name, attributes }) => [name, attributes])).includes("secret-key"));
});

Deno.test("otelStore() records the code of a failed call, and never its message", async () => {
  const { tracer, meter, spans, metrics } = sdk();
  const store = otelStore(faultyStore(memoryStore(), ["unauthorized"]), { tracer, meter });
  await assertRejects(() => store.get("secret-key"));
  await store.get("secret-key");
  const [failed, fine] = spans();
  assertEquals([failed!.attributes["error.type"], failed!.status], ["unauthorized", { code: 2 }]);
  assertEquals([fine!.attributes["error.type"], fine!.status.code], [undefined, 0]);
  const [duration] = await metrics();
  assertEquals([duration!.descriptor.name, duration!.descriptor.unit], ["db.client.operation.duration", "s"]);
  assertEquals(duration!.dataPoints.map(({ attributes }) => attributes["error.type"]), [
    "unauthorized",
    undefined,
  ]);
  assertEquals(
    JSON.stringify([duration, failed!.attributes, fine!.attributes]).includes("secret-key"),
    false,
  );
});

Deno.test("otelMailer() shows attempts inside retrying(), and the messages of a bulk as durations", async () => {
  const { tracer, meter, spans, metrics } = sdk();
  const mailer = otelMailer(faultyMailer(memoryMailer(), ["lost-reply"]), { tracer, meter });
  await retrying(mailer).send(message);
  assertEquals(spans().map(({ name, kind }) => [name, kind]), [["send memory", 3], ["send memory", 3]]);
  assertEquals(spans()[0]!.attributes["error.type"], "backend-unavailable");
  for await (const result of sendBulk(mailer, [message, message])) assert(result);
  const [duration] = await metrics();
  const counts = duration!.dataPoints.map(({ attributes, value }) => [
    attributes["messaging.operation.name"],
    (value as { count: number }).count,
  ]);
  assertEquals(counts, [["send", 1], ["send", 1], ["sendBulk", 2]]);
  assert(!JSON.stringify(duration).includes("ada@"));
});

Deno.test("an invalid tracer or meter is refused, and one of the two is enough", async () => {
  assertThrows(() => otelStore(memoryStore(), undefined as never), TypeError);
  assertThrows(() => otelStore(memoryStore(), { tracer: {} as never }), TypeError);
  assertThrows(() => otelMailer(memoryMailer(), { meter: {} as never }), TypeError);
  assertThrows(() => otelStore(memoryStore(), { trace } as never), TypeError);
  assertThrows(() => workersTracer({} as never), TypeError);
  await otelStore(memoryStore(), { meter: undefined, tracer: undefined }).set("a", 1);
});

Deno.test("Deno's own OpenTelemetry exports the spans without an SDK", async () => {
  const bodies: string[] = [];
  const collector = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    bodies.push(await request.text());
    return Response.json({});
  });
  const script = `
    import { trace } from "@opentelemetry/api";
    import { memoryStore } from "@holdfast/edge";
    import { otelStore } from "@holdfast/edge/otel";
    await otelStore(memoryStore(), { tracer: trace.getTracer("shop") }).set("a", 1);`;
  const file = new URL(`../../.cache/otel_${crypto.randomUUID()}.ts`, import.meta.url);
  await Deno.mkdir(new URL(".", file), { recursive: true });
  await Deno.writeTextFile(file, script);
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", file.pathname],
      env: {
        OTEL_DENO: "true",
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.addr.port}`,
      },
    }).output();
    assert(success, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(file);
    await collector.shutdown();
  }
  assert(
    bodies.some((body) => body.includes('"set memory"') && body.includes("db.operation.name")),
    bodies.join(),
  );
});

workerdTest("Workers' own tracing runs a call in a span", async () => {
  await using worker = await startWorkerd({
    script: `
      import { tracing } from "cloudflare:workers";
      import { memoryStore } from "@holdfast/edge";
      import { otelStore, workersTracer } from "@holdfast/edge/otel";
      export default {
        async fetch() {
          const store = otelStore(memoryStore(), { tracer: workersTracer(tracing) });
          await store.set("a", 1);
          return Response.json(await store.get("a"));
        },
      };`,
  });
  assertEquals(await (await fetch(worker.url)).json(), 1);
});
