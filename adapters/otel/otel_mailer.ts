/** A mailer with spans and durations. */
import type { Mailer } from "../../src/mail/mailer.ts";
import { type MailCall, observed } from "../../src/mail/observed.ts";
import { checkTelemetry, durations, inSpan, PRODUCER } from "./_call_span.ts";
import type { Telemetry } from "./telemetry.ts";

/**
 * A mailer that makes a producer span of each `send` and records its duration
 * (`messaging.client.operation.duration`). Inside `retrying` it shows attempts, around it messages. The
 * messages of a bulk have durations and no spans, as they share requests.
 *
 * @throws {TypeError} for an unknown option, or a tracer or a meter that is none
 * @see https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
 * @category Telemetry
 * @example
 * ```ts
 * import { memoryMailer } from "@holdfast/edge/mail";
 * import { otelMailer, type OtelTracer } from "@holdfast/edge/otel";
 *
 * const names: string[] = [];
 * const span = { setAttribute() {}, setStatus() {}, end() {} };
 * const tracer: OtelTracer = { startActiveSpan: (name, _options, run) => (names.push(name), run(span)) };
 * const mailer = otelMailer(memoryMailer(), { tracer });
 * await mailer.send({ from: "shop@example.com", to: "ada@example.com", subject: "Hello", text: "Hello" });
 * if (names.join() !== "send memory") throw new Error("unexpected");
 * ```
 */
export function otelMailer(mailer: Mailer, telemetry: Telemetry): Mailer {
  checkTelemetry("trace the mailer", telemetry);
  const { tracer, meter } = telemetry;
  const record = durations(
    meter,
    "messaging.client.operation.duration",
    "Duration of messaging client operations.",
  );
  return observed(mailer, {
    around: (call, run) => {
      const attributes = attributesOf(call);
      return inSpan(tracer, `${call.operation} ${call.engine}`, { kind: PRODUCER, attributes }, run);
    },
    onOperation: ({ outcome, durationMs, ...call }) => {
      record(durationMs, { ...attributesOf(call), ...(outcome !== "sent" && { "error.type": outcome }) });
    },
  });
}

function attributesOf({ operation, engine }: Pick<MailCall, "operation" | "engine">): Record<string, string> {
  return {
    "messaging.system": engine,
    "messaging.operation.name": operation,
    "messaging.operation.type": "send",
  };
}
