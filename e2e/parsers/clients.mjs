// Uploads a file with Node's clients: clients.mjs URL FILE, packages in $PARSERS_DIR.
import { createReadStream, readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.env.PARSERS_DIR + "/");
const [url, path] = process.argv.slice(2);
const axios = require("axios");
const FormDataOfNpm = require("form-data");
const undici = require("undici");

const data = readFileSync(path);
const web = (Form) => {
  const form = new Form();
  form.append("note", "hello");
  form.append("f", new Blob([data], { type: "application/x-msdownload" }), 'a "b".exe');
  return form;
};
const check = (status) => { if (status !== 200) throw new Error(`status ${status}`); };

check((await fetch(url + "/node fetch", { method: "POST", body: web(FormData) })).status);
check((await undici.fetch(url + "/undici", { method: "POST", body: web(undici.FormData) })).status);
check((await axios.post(url + "/axios", web(FormData))).status);
const form = new FormDataOfNpm();
form.append("note", "hello");
form.append("f", createReadStream(path));
check((await axios.post(url + "/axios with form-data", form, { headers: form.getHeaders() })).status);
check((await axios.postForm(url + "/axios postForm", { note: "hello", f: data })).status);
