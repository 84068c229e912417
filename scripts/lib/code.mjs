// The code section of a WebAssembly module.

const CODE_SECTION = 10;

/** The bodies of the functions of a module, without their lengths, in the order of the module. */
export function bodiesOf(bytes) {
  let at = 8;
  const number = () => {
    let [value, shift, byte] = [0, 0, 0x80];
    while (byte & 0x80) {
      byte = bytes[at++];
      value += (byte & 0x7f) * 2 ** shift;
      shift += 7;
    }
    return value;
  };
  while (at < bytes.length) {
    const id = bytes[at++];
    const end = number() + at;
    if (id === CODE_SECTION) {
      return Array.from({ length: number() }, () => {
        const size = number();
        at += size;
        return bytes.subarray(at - size, at);
      });
    }
    at = end;
  }
  return [];
}
