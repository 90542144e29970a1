// Reads bodies from standard input and tells which parsers find a file in them;
// the lines are those of worker.py.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { gunzipSync, inflateSync, brotliDecompressSync } from "node:zlib";

const require = createRequire(process.env.PARSERS_DIR + "/");
const Busboy = require("busboy");
const FastifyBusboy = require("@fastify/busboy");
const multiparty = require("multiparty");
const undici = require("undici");
const AdmZip = require("adm-zip");
const yauzl = require("yauzl");
const tarStream = require("tar-stream");
const { formidable } = await import(require.resolve("formidable").replace(/dist\/.*$/, "src/index.js")).catch(() => require("formidable"));

process.on("uncaughtException", () => {});
process.on("unhandledRejection", () => {});

const request = (type, body) =>
  Object.assign(Readable.from([body]), { headers: { "content-type": type, "content-length": String(body.length) }, method: "POST", url: "/" });

const within = (ms, start) =>
  new Promise((done) => {
    const found = [];
    const timer = setTimeout(() => done(found), ms);
    const end = () => { clearTimeout(timer); done(found); };
    try { start(found, end); } catch { end(); }
  });

const collect = (stream, found) => {
  const chunks = [];
  stream.on("data", (c) => chunks.push(c));
  stream.on("error", () => found.push(Buffer.concat(chunks)));
  stream.on("end", () => found.push(Buffer.concat(chunks)));
};

const busboy = (make) => (type, body) =>
  within(100, (found, end) => {
    const b = make({ "content-type": type });
    b.on("file", (name, stream) => collect(stream, found));
    b.on("field", (name, value) => found.push(Buffer.from(value, "latin1"), Buffer.from(value)));
    b.on("error", () => setImmediate(end));
    b.on("close", end);
    b.on("finish", () => setImmediate(end));
    b.end(body);
  });

const parsers = {
  multipart: {
    busboy: busboy((headers) => Busboy({ headers, defParamCharset: "latin1" })),
    "@fastify/busboy": busboy((headers) => new FastifyBusboy({ headers })),
    multiparty: (type, body) =>
      within(100, (found, end) => {
        const form = new multiparty.Form();
        form.on("part", (part) => { collect(part, found); part.resume(); });
        form.on("error", () => setImmediate(end));
        form.on("close", () => setImmediate(end));
        form.parse(request(type, body));
      }),
    formidable: (type, body) =>
      within(100, (found, end) => {
        const form = formidable({ allowEmptyFiles: true, minFileSize: 0 });
        form.onPart = (part) => {
          const chunks = [];
          part.on("data", (c) => chunks.push(c));
          part.on("end", () => found.push(Buffer.concat(chunks)));
        };
        form.parse(request(type, body)).then(end, () => setImmediate(end));
      }),
    undici: async (type, body) => {
      const found = [];
      const form = await new undici.Response(body, { headers: { "content-type": type } }).formData();
      for (const [, v] of form) found.push(typeof v === "string" ? Buffer.from(v, "latin1") : Buffer.from(await v.arrayBuffer()));
      return found;
    },
  },
  zip: {
    "adm-zip": async (type, body) => {
      const found = [];
      for (const e of new AdmZip(body).getEntries()) try { found.push(e.getData()); } catch { /* the next one */ }
      return found;
    },
    yauzl: (type, body) =>
      within(100, (found, end) => {
        yauzl.fromBuffer(body, { lazyEntries: true }, (err, zip) => {
          if (err) return end();
          zip.on("error", end);
          zip.on("end", () => setImmediate(end));
          zip.on("entry", (entry) => {
            zip.openReadStream(entry, (err, stream) => {
              if (err) return zip.readEntry();
              collect(stream, found);
              stream.on("end", () => zip.readEntry());
              stream.on("error", () => zip.readEntry());
            });
          });
          zip.readEntry();
        });
      }),
  },
  tar: {
    "tar-stream": (type, body) =>
      within(100, (found, end) => {
        const extract = tarStream.extract();
        extract.on("entry", (header, stream, next) => {
          collect(stream, found);
          stream.on("end", next);
          stream.resume();
        });
        extract.on("finish", () => setImmediate(end));
        extract.on("error", () => setImmediate(end));
        extract.end(body);
      }),
  },
  json: {
    "JSON and Buffer": async (type, body) => {
      const found = [];
      const walk = (v) => {
        if (typeof v === "string") {
          const text = v.startsWith("data:") ? v.slice(v.indexOf(",") + 1) : v;
          found.push(Buffer.from(text, "base64"), Buffer.from(text, "base64url"));
          try { found.push(Buffer.from(atob(text), "latin1")); } catch { /* strict */ }
          if (v.startsWith("data:")) try { found.push(Buffer.from(decodeURIComponent(text), "base64")); } catch { /* no escape */ }
        } else if (v && typeof v === "object") for (const [k, x] of Object.entries(v)) { walk(k); walk(x); }
      };
      walk(JSON.parse(body.toString()));
      return found;
    },
  },
  compressed: {
    gunzip: async (type, body) => [gunzipSync(body, { maxOutputLength: 1 << 20, finishFlush: 2 })],
    inflate: async (type, body) => [inflateSync(body, { maxOutputLength: 1 << 20 })],
    brotli: async (type, body) => [brotliDecompressSync(body, { maxOutputLength: 1 << 20 })],
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  const body = Buffer.from(job.body, "base64");
  const found = [];
  await Promise.all(Object.entries(parsers[job.kind]).map(async ([name, parse]) => {
    try {
      const contents = await parse(job.type, body);
      if (contents.some((c) => createHash("sha256").update(c).digest("hex") === job.want)) found.push(name);
    } catch { /* it refuses */ }
  }));
  process.stdout.write(JSON.stringify({ found }) + "\n");
}
