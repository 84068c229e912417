//! What goes out: messages, at once or several together; and all else that the driver is to do.

use super::ClientSession;
use super::output::{Event, Output};
use crate::recovery::Frame;
use crate::wire::headers;

impl ClientSession {
    /// Send what waits to be sent together.
    pub fn flush(&mut self) {
        if let Some(frame) = self.batcher.take() {
            self.push(Output::Send(frame));
        }
    }

    /// Sends a message, or keeps it for the server to ask for when there is a connection again.
    pub(super) fn send(&mut self, frame: Vec<u8>) {
        if let Some(frame) = self.connection.send(frame.into()) {
            self.put_out(frame);
        }
    }

    /// Sends a message on the connection: at once, or with others if it has batching.
    pub(super) fn put_out(&mut self, frame: Frame) {
        // It may have been made for an earlier connection.
        let frame = match headers::surplus(frame.as_ref(), self.features()) {
            0 => frame,
            surplus => frame.as_ref()[surplus..].to_vec().into(),
        };
        let Some(limit) = self.connection.batch_limit() else {
            return self.push(Output::Send(frame));
        };
        if self.batcher.is_empty() {
            self.push(Output::FlushSoon);
        }
        if let Some(full) = self.batcher.push(frame, limit) {
            self.push(Output::Send(full));
        }
    }

    /// Gives the connection up. What waits to be sent on it is sent again with the rest, if there is another one.
    pub(super) fn disconnect(&mut self) {
        self.batcher.take();
        self.push(Output::Disconnect);
    }

    pub(super) fn deliver(&mut self, event: Event) {
        self.push(Output::Deliver(event));
    }

    // Not at each place where there is something to do: that would be a tenth of what browsers download.
    #[inline(never)]
    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}
