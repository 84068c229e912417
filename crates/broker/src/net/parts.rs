//! What has arrived of a message, in parts. One buffer that grows would be copied again and again, and everybody would wait
//! 10 ms for a copy of 30 MiB; parts are copied once, when the message is whole.

/// Bytes of the first part of a frame that is not smaller: what it says of its size may never come.
const FIRST: usize = 16 << 10;
/// Bytes of a part at most.
const LARGEST: usize = 1 << 20;

/// Bytes, in parts.
#[derive(Default)]
pub(super) struct Parts {
    full: Vec<Vec<u8>>,
    /// Bytes in those.
    in_full: usize,
    /// There may be room in it.
    last: Vec<u8>,
}

impl Parts {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.in_full + self.last.len()
    }

    /// Bytes of memory that they take.
    pub fn memory(&self) -> usize {
        // The others are full.
        self.in_full + self.last.capacity()
    }

    /// Where more belongs, and how much at most, if much is missing of a frame, which may be the last one.
    pub fn room(&mut self, missing: usize, is_last: bool) -> (&mut Vec<u8>, usize) {
        if self.last.len() == self.last.capacity() {
            let size = self.len().clamp(FIRST, LARGEST);
            self.begin(if is_last { size.min(missing) } else { size });
        }
        let room = missing.min(self.last.capacity() - self.last.len());
        (&mut self.last, room)
    }

    /// These are next; with them, so much is missing of a frame, which may be the last one.
    pub fn extend(&mut self, mut bytes: &[u8], mut missing: usize, is_last: bool) {
        while !bytes.is_empty() {
            if !is_last && self.last.len() == self.last.capacity() {
                // As much as there is, at least: fragments may be many.
                self.begin(self.len().max(bytes.len()).min(LARGEST));
            }
            let (to, room) = self.room(missing, is_last);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            to.extend_from_slice(now);
            missing -= now.len();
            bytes = later;
        }
    }

    fn begin(&mut self, size: usize) {
        let full = std::mem::replace(&mut self.last, Vec::with_capacity(size));
        if !full.is_empty() {
            self.in_full += full.len();
            self.full.push(full);
        }
    }

    /// The last bytes, if so many were put where [`Self::room`] said.
    pub fn last(&mut self, bytes: usize) -> &mut [u8] {
        let from = self.last.len().saturating_sub(bytes);
        &mut self.last[from..]
    }

    /// All of them, one after the other.
    pub fn into_bytes(self) -> Vec<u8> {
        if self.full.is_empty() {
            return self.last;
        }
        let mut bytes = Vec::with_capacity(self.len());
        // Each goes when it is copied.
        for part in self.full.into_iter().chain([self.last]) {
            bytes.extend_from_slice(&part);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts_of(frames: &[Vec<u8>], piece: usize) -> Parts {
        let mut parts = Parts::default();
        for (at, frame) in frames.iter().enumerate() {
            let is_last = at + 1 == frames.len();
            for (number, piece) in frame.chunks(piece).enumerate() {
                let missing = frame.len() - frame.len().min(number * piece.len());
                parts.extend(piece, missing.max(piece.len()), is_last);
            }
        }
        parts
    }

    proptest! {
        /// L-7.
        #[test]
        fn bytes_come_out_as_they_went_in_and_take_no_more_than_twice_their_memory(
            lengths in prop::collection::vec(prop_oneof![0..50_usize, 0..300_000_usize], 1..6),
            piece in prop_oneof![1000..70_000_usize, Just(usize::MAX)],
        ) {
            let frames: Vec<Vec<u8>> =
                lengths.iter().map(|length| (0..*length).map(|at| at as u8).collect()).collect();
            let parts = parts_of(&frames, piece);
            let length: usize = lengths.iter().sum();
            prop_assert_eq!(parts.len(), length);
            prop_assert!(parts.memory() <= (2 * length).max(FIRST));
            prop_assert_eq!(parts.into_bytes(), frames.concat());
        }
    }

    /// L-7.
    #[test]
    fn many_fragments_are_few_parts() {
        let parts = parts_of(&vec![vec![0]; 65_536], 1);
        assert!(parts.full.len() < 20, "{}", parts.full.len());
    }

    /// L-7.
    #[test]
    fn what_a_frame_says_of_its_size_takes_no_memory_before_it_comes() {
        let mut parts = Parts::default();
        parts.extend(&[0; 10], 32 << 20, true);
        assert_eq!(parts.memory(), FIRST);
        let mut read = 10;
        while read < 32 << 20 {
            let (to, room) = parts.room((32 << 20) - read, true);
            to.extend(vec![0; room]);
            read += room;
            assert!(parts.memory() <= 2 * read.max(FIRST) && parts.memory() <= read + LARGEST);
        }
        assert_eq!(parts.into_bytes().len(), 32 << 20);
    }

    #[test]
    fn a_large_frame_is_read_in_large_parts_whether_or_not_it_is_the_last_one() {
        for is_last in [true, false] {
            let mut parts = Parts::default();
            let mut missing = 200_000;
            while missing > 0 {
                let (to, room) = parts.room(missing, is_last);
                to.extend(vec![0; room]);
                missing -= room;
            }
            assert!(parts.full.len() < 5, "{}", parts.full.len());
        }
    }
}
