// Reads SOPS files with the package `sops-age`: node read.mjs KEY FILE… prints a JSON list of what they hold.
import { decryptSops } from "sops-age";

const [key, ...files] = process.argv.slice(2);
const read = files.map((path) => decryptSops({ path, secretKey: key, fileType: path.split(".").pop() }));
console.log(JSON.stringify(await Promise.all(read)));
