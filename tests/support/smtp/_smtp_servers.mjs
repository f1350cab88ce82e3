/** The program behind smtp_servers.ts: real servers of the `smtp-server` package, one JSON line per message they take. */
import { SMTPServer } from "smtp-server";

const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const settings = JSON.parse(process.argv[2]);
const ports = [];

for (const [index, { security, methods, identity, quiet, ...rest }] of settings.entries()) {
  const server = new SMTPServer({
    name: "mail.test",
    banner: "Holdfast test server",
    secure: security === "tls",
    ...identity,
    authMethods: methods ?? [],
    authOptional: !methods,
    allowInsecureAuth: true,
    disabledCommands: [
      ...(security === "starttls" ? [] : ["STARTTLS"]),
      ...(methods ? [] : ["AUTH"]),
    ],
    disableReverseLookup: true,
    ...rest,
    onAuth({ method, username, password, accessToken }, _session, done) {
      if (username === "jäne" && (password === "pässword" || accessToken === "token")) {
        return done(null, { user: `${username} by ${method}` });
      }
      done(Object.assign(new Error("Invalid credentials"), { responseCode: 535 }));
    },
    onRcptTo({ address }, _session, done) {
      const code = /^refused(\d{3})/.exec(address)?.[1];
      done(code && Object.assign(new Error(`no such user ${address}`), { responseCode: Number(code) }));
    },
    onData(stream, session, done) {
      const chunks = [];
      stream.on("data", (chunk) => chunks.push(chunk));
      stream.on("end", () => {
        if (stream.sizeExceeded) {
          return done(Object.assign(new Error("Message too large"), { responseCode: 552 }));
        }
        if (quiet) tell({ index });
        else {
          const { mailFrom, rcptTo } = session.envelope;
          tell({
            index,
            from: mailFrom.address,
            to: rcptTo.map(({ address }) => address),
            parameters: mailFrom.args || {},
            user: session.user,
            secure: session.secure,
            connection: session.id,
            raw: Buffer.concat(chunks).toString("base64"),
          });
        }
        done(null, "OK: queued as TEST123");
      });
    },
  });
  server.on("error", () => {}); // clients that refuse a certificate
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  ports.push(server.server.address().port);
}
tell({ ports });
process.stdin.resume().on("end", () => process.exit(0));
