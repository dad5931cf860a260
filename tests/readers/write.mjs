// Writes SOPS files as the format is described, with code of nobody else's writer: node write.mjs RECIPIENT < LIST, where LIST
// is JSON: [{"path": FILE, "format": "json" | "yaml" | "dotenv" | "ini" | "binary", "tree": …}].
import { createCipheriv, createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { Encrypter, armor } from "age-encryption";
import YAML from "yaml";

const [recipient] = process.argv.slice(2);

function seal(key, plain, additional, type) {
  const iv = randomBytes(32);
  const cipher = createCipheriv("aes-256-gcm", key, iv);
  cipher.setAAD(Buffer.from(additional));
  const data = Buffer.concat([cipher.update(plain), cipher.final()]).toString("base64");
  const tag = cipher.getAuthTag().toString("base64");
  return `ENC[AES256_GCM,data:${data},iv:${iv.toString("base64")},tag:${tag},type:${type}]`;
}

// The text that is encrypted, and its type.
function plain(value) {
  if (typeof value === "string") return [value, "str"];
  if (typeof value === "boolean") return [value ? "True" : "False", "bool"];
  return [String(value), Number.isInteger(value) ? "int" : "float"];
}

function encrypt(tree, path, key, mac) {
  if (tree === null) return null;
  if (Array.isArray(tree)) return tree.map((item) => encrypt(item, path, key, mac));
  if (typeof tree === "object") {
    return Object.fromEntries(Object.entries(tree).map(([name, item]) => [name, encrypt(item, [...path, name], key, mac)]));
  }
  const [text, type] = plain(tree);
  mac.update(text);
  if (text === "" || path.some((name) => name.endsWith("_unencrypted"))) return tree;
  return seal(key, text, path.map((name) => `${name}:`).join(""), type);
}

// Maps and lists on one level, as formats without them have it.
function flat(tree, name, out) {
  if (typeof tree !== "object") {
    out[name] = String(tree).replaceAll("\n", "\\n");
    return out;
  }
  const step = Array.isArray(tree) ? `${name}__list_` : name === "" || name === "sops_" ? name : `${name}__map_`;
  Object.entries(tree).forEach(([key, item]) => flat(item, step + key, out));
  return out;
}

// What stands behind each other as name and value.
function lines(map, join) {
  return Object.entries(map).map(([name, item]) => `${name}${join}${item}\n`).join("");
}

const writers = {
  json: (sealed, sops) => JSON.stringify({ ...sealed, sops }),
  binary: (sealed, sops) => JSON.stringify({ ...sealed, sops }),
  // Of version 1.1, as Go takes it: what looks like a date or a number stands in quotes.
  yaml: (sealed, sops) => YAML.stringify({ ...sealed, sops }, { lineWidth: 0, version: "1.1" }),
  dotenv: (sealed, sops) => lines({ ...sealed, ...flat(sops, "sops_", {}) }, "="),
  ini: (sealed, sops) => {
    const sections = Object.entries({ ...sealed, sops: flat(sops, "", {}) });
    return sections.map(([name, section]) => `[${name}]\n${lines(section, " = ")}`).join("");
  },
};

async function write({ path, format, tree }) {
  const key = randomBytes(32);
  const mac = createHash("sha512");
  const content = format === "binary" ? { data: tree } : tree;
  const sealed = encrypt(content, [], key, mac);
  const lastmodified = "2026-11-21T06:00:00Z";
  const encrypter = new Encrypter();
  encrypter.addRecipient(recipient);
  const sops = {
    age: [{ recipient, enc: armor.encode(await encrypter.encrypt(key)) }],
    lastmodified,
    mac: seal(key, mac.digest("hex").toUpperCase(), lastmodified, "str"),
    unencrypted_suffix: "_unencrypted",
    version: "3.9.4",
  };
  writeFileSync(path, writers[format](sealed, sops));
}

await Promise.all(JSON.parse(readFileSync(0, "utf8")).map(write));
