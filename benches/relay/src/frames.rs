//! Frames of a client, masked, become frames of a server (RFC 6455, section 5.2).

/// What the frames asked of the relay itself.
#[derive(Debug, PartialEq)]
pub enum Control {
    None,
    /// A frame to answer a ping with.
    Pong(Vec<u8>),
    Close,
}

/// Appends every whole data frame of `received` to `outgoing`, unmasked. Returns how many bytes they took.
pub fn unmask(received: &mut [u8], outgoing: &mut Vec<u8>) -> (usize, Control) {
    let mut used = 0;
    let mut control = Control::None;
    while let Some(frame) = whole_frame(&mut received[used..]) {
        used += frame.len();
        let Some((first, head, mask)) = parts(frame) else { break };
        let payload = &mut frame[head..];
        apply(mask, payload);
        match first & OPCODE {
            CLOSE => return (used, Control::Close),
            PING => control = Control::Pong([&[FINAL | PONG, payload.len() as u8], &*payload].concat()),
            PONG => {}
            _ => {
                begin(first, payload.len(), outgoing);
                outgoing.extend_from_slice(payload);
            }
        }
    }
    (used, control)
}

const FINAL: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The first frame, if all of it has arrived.
fn whole_frame(bytes: &mut [u8]) -> Option<&mut [u8]> {
    let (head, length) = sizes(bytes)?;
    bytes.get_mut(..head.checked_add(length)?)
}

/// Lengths of the head, the mask included, and of the payload.
fn sizes(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes.get(1)? & 0x7f {
        126 => Some((8, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into())),
        127 => Some((14, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?).try_into().ok()?)),
        short => Some((6, short.into())),
    }
}

/// First byte, length of the head, mask.
fn parts(frame: &[u8]) -> Option<(u8, usize, [u8; 4])> {
    let (head, _) = sizes(frame)?;
    Some((frame[0], head, frame[head - 4..head].try_into().ok()?))
}

/// Eight bytes at a time: a large value would cost more here than anywhere else.
fn apply(mask: [u8; 4], payload: &mut [u8]) {
    let wide = u64::from_ne_bytes([mask, mask].concat().try_into().expect("twice four bytes"));
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// The head of a server's frame.
fn begin(first: u8, length: usize, outgoing: &mut Vec<u8>) {
    outgoing.push(first);
    if let Ok(short @ 0..126) = u8::try_from(length) {
        outgoing.push(short);
    } else if let Ok(medium) = u16::try_from(length) {
        outgoing.push(126);
        outgoing.extend_from_slice(&medium.to_be_bytes());
    } else {
        outgoing.push(127);
        outgoing.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = Vec::new();
        begin(first, payload.len(), &mut frame);
        frame[1] |= 0x80;
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        begin(first, payload.len(), &mut frame);
        [frame, payload.to_vec()].concat()
    }

    #[test]
    fn whole_frames_of_each_length_are_unmasked_and_the_rest_is_left() {
        let payloads: Vec<Vec<u8>> = [0, 13, 125, 126, 65_535, 65_536].map(|length| vec![7; length]).into();
        let last = masked(0x82, b"cut off");
        let mut received: Vec<u8> = payloads.iter().flat_map(|payload| masked(0x82, payload)).collect();
        let whole = received.len();
        for cut in 0..last.len() {
            received.truncate(whole);
            received.extend_from_slice(&last[..cut]);
            let mut outgoing = Vec::new();
            assert_eq!(unmask(&mut received.clone(), &mut outgoing), (whole, Control::None));
            assert_eq!(outgoing, payloads.iter().flat_map(|payload| plain(0x82, payload)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_ping_is_answered_and_a_close_ends_it() {
        let mut outgoing = Vec::new();
        let (_, control) = unmask(&mut masked(0x89, b"there?"), &mut outgoing);
        assert_eq!(control, Control::Pong(plain(0x8a, b"there?")));
        assert_eq!(unmask(&mut masked(0x88, b""), &mut outgoing), (6, Control::Close));
        assert_eq!(outgoing, b"");
    }

    #[test]
    fn no_length_is_too_much() {
        let mut frame = masked(0x82, &[0; 65_536]);
        frame[2..10].fill(0xff);
        assert_eq!(unmask(&mut frame, &mut Vec::new()), (0, Control::None));
    }
}
