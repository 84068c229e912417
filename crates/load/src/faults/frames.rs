//! Where WebSocket frames end in the bytes of one direction of a connection.

/// Follows the bytes of one direction, from the beginning of the HTTP upgrade on.
#[derive(Debug, Default)]
pub(super) struct Frames {
    at: At,
}

#[derive(Debug)]
enum At {
    /// In the head of the HTTP message; so many bytes of the empty line at its end have been seen.
    Head(usize),
    /// In the header of a frame.
    Header(Vec<u8>),
    /// So many bytes of a frame's payload are still to come.
    Payload(u64),
}

impl Default for At {
    fn default() -> Self {
        Self::Head(0)
    }
}

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

impl Frames {
    /// Takes bytes up to the end of the frame with which `left` comes to 0, and returns how many that are; all of them
    /// if it does not come so far.
    pub fn take(&mut self, bytes: &[u8], left: &mut u64) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && *left > 0 {
            match &mut self.at {
                At::Head(seen) => {
                    let byte = bytes[taken];
                    *seen = if END_OF_HEAD[*seen] == byte { *seen + 1 } else { usize::from(byte == END_OF_HEAD[0]) };
                    taken += 1;
                    if *seen == END_OF_HEAD.len() {
                        self.at = At::Header(Vec::new());
                    }
                }
                At::Header(header) => {
                    header.push(bytes[taken]);
                    taken += 1;
                    if let Some(payload) = payload(header) {
                        self.begin(payload, left);
                    }
                }
                At::Payload(rest) => {
                    let available = (bytes.len() - taken) as u64;
                    let step = available.min(*rest);
                    let rest = *rest - step;
                    // At most what is available, which is a usize.
                    taken += step as usize;
                    self.begin(rest, left);
                }
            }
        }
        taken
    }

    /// So much of a frame is still to come; if it is nothing, that was a frame.
    fn begin(&mut self, payload: u64, left: &mut u64) {
        self.at = if payload > 0 {
            At::Payload(payload)
        } else {
            *left -= 1;
            At::Header(Vec::new())
        };
    }
}

/// The length of the payload, if the header is complete (RFC 6455, section 5.2).
fn payload(header: &[u8]) -> Option<u64> {
    let (&[_, second], rest) = header.split_first_chunk()?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (length, extended) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 2),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 8),
        length => (length.into(), 0),
    };
    (rest.len() >= extended + mask).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_end_where_they_end_however_the_bytes_arrive() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        let small = vec![0x82, 0x83, 1, 2, 3, 4, 7, 7, 7];
        let medium = [vec![0x82, 126, 1, 0], vec![7; 256]].concat();
        let large = [vec![0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], vec![7; 65_536]].concat();
        let empty = vec![0x89, 0];
        let parts = [head, small, medium, large, empty];
        let bytes = parts.concat();
        for chunk in [1, 2, 3, 7, 100, bytes.len()] {
            let mut frames = Frames::default();
            let mut end = parts[0].len();
            let mut passed = 0;
            for part in &parts[1..] {
                end += part.len();
                let mut left = 1;
                while left > 0 {
                    let next = &bytes[passed..(passed + chunk).min(bytes.len())];
                    passed += frames.take(next, &mut left);
                }
                assert_eq!(passed, end, "by {chunk}");
            }
        }
    }

    #[test]
    fn nothing_passes_once_all_frames_have() {
        let mut frames = Frames::default();
        let mut left = 0;
        assert_eq!(frames.take(b"GET", &mut left), 0);
        left = 1;
        assert_eq!(frames.take(b"\r\n\r\r\n\r\n\x82\x01\x05\x82", &mut left), 10);
    }
}
