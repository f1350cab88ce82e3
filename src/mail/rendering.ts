/** Messages whose body is written as a component or a template, and rendered when they are sent. */
import { checkMailer } from "./_combinator.ts";
import { noteWrapper, openBulk, sendBy } from "./_inner_mailer.ts";
import { need } from "./address.ts";
import type { BulkSender, Mailer, Receipt, SendOptions } from "./mailer.ts";
import { mailError } from "./mail_error.ts";
import type { Message } from "./message.ts";

/**
 * The parts of a message that a renderer makes; they replace those that the message has.
 *
 * @category Mail
 */
export type RenderedParts = Pick<Message, "subject" | "text" | "html" | "attachments">;

/**
 * A message with a `body` to render: a React or JSX element, the data of a template, anything.
 *
 * @category Mail
 */
export type RenderableMessage<Body> = Message & {
  /** The input of the renderer. */
  readonly body: Body;
};

/**
 * A mailer that renders.
 *
 * @category Mail
 */
export interface RenderingMailer<Body> extends Omit<Mailer, "send"> {
  /**
   * Renders a message that has a `body`, and sends it; sends any other as it is.
   *
   * @throws {MailError} `invalid-message` when the renderer fails; nothing was sent
   */
  send(message: Message | RenderableMessage<Body>, options?: SendOptions): Promise<Receipt>;
  /** Renders a message, for {@linkcode sendBulk} and for tests. */
  render(message: Message | RenderableMessage<Body>): Promise<Message>;
}

const TASK = "make a rendering mailer";

/**
 * A mailer whose messages may have a `body` in place of text and HTML, which `render` turns into them. Around
 * {@linkcode outbox}, what is queued is rendered already.
 *
 * @throws {TypeError} when there is no mailer or no renderer
 * @category Mail
 * @example
 * ```ts
 * import { memoryMailer, rendering } from "@holdfast/edge/mail";
 * const Welcome = ({ name }: { name: string }) => `<p>Hello, ${name}.</p>`; // a React component
 * const mailer = rendering(memoryMailer(), async (body: string) => ({ html: await body }));
 * // with React Email: rendering(mailer, async (body: ReactElement) => ({ html: await render(body) }))
 * await mailer.send({
 *   from: "shop@example.com",
 *   to: "jane@example.com",
 *   subject: "Welcome",
 *   body: Welcome({ name: "Jane" }), // <Welcome name="Jane" />
 * });
 * ```
 */
export function rendering<Body>(
  mailer: Mailer,
  render: (body: Body, message: Message) => RenderedParts | Promise<RenderedParts>,
): RenderingMailer<Body> {
  checkMailer(TASK, mailer);
  if (typeof render !== "function") throw new TypeError(`Cannot ${TASK} as it needs a function that renders`);
  return new Rendering(mailer, render);
}

class Rendering<Body> implements RenderingMailer<Body> {
  readonly name: string;
  readonly deduplicates: boolean;
  readonly selectsRecipients: boolean;
  readonly openBulk: (() => BulkSender) | undefined;
  readonly #mailer: Mailer;
  readonly #render: (body: Body, message: Message) => RenderedParts | Promise<RenderedParts>;

  constructor(
    mailer: Mailer,
    render: (body: Body, message: Message) => RenderedParts | Promise<RenderedParts>,
  ) {
    noteWrapper(this);
    this.name = mailer.name;
    this.deduplicates = mailer.deduplicates;
    this.selectsRecipients = mailer.selectsRecipients ?? false;
    this.openBulk = mailer.openBulk && (() => openBulk(mailer));
    this.#mailer = mailer;
    this.#render = render;
  }

  async send(message: Message | RenderableMessage<Body>, options?: SendOptions): Promise<Receipt> {
    return await sendBy(this.#mailer, await this.render(message), options);
  }

  async render(message: Message | RenderableMessage<Body>): Promise<Message> {
    need(typeof message === "object" && message, "message", "must be an object");
    if (!("body" in message)) return message;
    const { body, ...rest } = message;
    let parts: RenderedParts;
    try {
      parts = await this.#render(body, rest);
    } catch (cause) {
      throw mailError(this.name, "invalid-message", "its body could not be rendered", { cause });
    }
    need(typeof parts === "object" && parts, "body", "must render to { html } or { text }");
    return { ...rest, ...parts };
  }
}
