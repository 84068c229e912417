// Values as JSON. What JSON cannot express is written as in `tests/vectors`: {"$int": "9007199254740993"}, {"$double":
// "NaN"}, {"$bytes": "00ff"}.

export function toJson(value) {
  if (typeof value === "bigint") return { $int: String(value) };
  if (typeof value === "number" && (!Number.isSafeInteger(value) || Object.is(value, -0))) {
    return { $double: Object.is(value, -0) ? "-0.0" : String(value) };
  }
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(toJson);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, toJson(member)]));
}

export function fromJson(value) {
  if (Array.isArray(value)) return value.map(fromJson);
  if (value === null || typeof value !== "object") return value;
  if ("$int" in value) return BigInt(value.$int);
  if ("$double" in value) return Number(value.$double.replace("inf", "Infinity").replace("nan", "NaN"));
  if ("$bytes" in value) return Uint8Array.from(Buffer.from(value.$bytes, "hex"));
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, fromJson(member)]));
}
