//! A message in the making.

use crate::json::{quote, Content};
use alloc::string::String;

/// A message to be sent: `Draft::to("pricing", "request", "how much?").field("reply_with", "q1")`.
///
/// What stands in it twice is refused by the host, so a field is given once.
#[derive(Clone, Debug)]
pub struct Draft(String); // without the closing brace

impl Draft {
    /// The first message of a conversation. *receiver* is a name, `capability:NAME`, `topic:NAME` or `broadcast://GROUP`.
    pub fn to(receiver: &str, performative: &str, content: impl Content) -> Draft {
        Draft::new(performative).field("receiver", receiver).field("content", content)
    }

    pub(crate) fn new(performative: &str) -> Draft {
        let mut text = String::with_capacity(512);
        text.push_str("{\"performative\":");
        quote(performative, &mut text);
        Draft(text)
    }

    pub fn field(mut self, name: &str, value: impl Content) -> Draft {
        self.0.push_str(",\"");
        self.0.push_str(name);
        self.0.push_str("\":");
        value.write(&mut self.0);
        self
    }

    pub(crate) fn raw(mut self, members: &str) -> Draft {
        self.0.push_str(members);
        self
    }

    pub fn conversation(self, id: &str) -> Draft {
        self.field("conversation_id", id)
    }

    pub fn protocol(self, name: &str) -> Draft {
        self.field("protocol", name)
    }

    pub fn reply_with(self, mark: &str) -> Draft {
        self.field("reply_with", mark)
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
