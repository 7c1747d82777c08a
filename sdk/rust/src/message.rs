//! Messages that arrive, and answers to them.

use crate::draft::Draft;
use crate::json::{Content, Json};
use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use core::sync::atomic::{AtomicU32, Ordering};

/// One FIPA message, for the time of its turn. `Message::address` is what an answer in a later turn needs.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    whole: Json<'a>,
    performative: Option<Json<'a>>,
    sender: Option<Json<'a>>,
    content: Option<Json<'a>>,
    conversation_id: Option<Json<'a>>,
    reply_with: Option<Json<'a>>,
    in_reply_to: Option<Json<'a>>,
    reply_to: Option<Json<'a>>,
    protocol: Option<Json<'a>>,
    ontology: Option<Json<'a>>,
    language: Option<Json<'a>>,
}

fn plain(field: Option<Json<'_>>) -> Cow<'_, str> {
    field.and_then(Json::text).unwrap_or(Cow::Borrowed(""))
}

impl<'a> Message<'a> {
    pub fn new(text: &'a str) -> Message<'a> {
        let whole = Json::new(text);
        let mut message = Message {
            whole,
            performative: None,
            sender: None,
            content: None,
            conversation_id: None,
            reply_with: None,
            in_reply_to: None,
            reply_to: None,
            protocol: None,
            ontology: None,
            language: None,
        };
        for (key, value) in whole.members() {
            // the host writes keys without escapes
            match key.raw() {
                "\"performative\"" => message.performative = Some(value),
                "\"sender\"" => message.sender = Some(value),
                "\"content\"" => message.content = Some(value),
                "\"conversation_id\"" => message.conversation_id = Some(value),
                "\"reply_with\"" => message.reply_with = Some(value),
                "\"in_reply_to\"" => message.in_reply_to = Some(value),
                "\"reply_to\"" => message.reply_to = Some(value),
                "\"protocol\"" => message.protocol = Some(value),
                "\"ontology\"" => message.ontology = Some(value),
                "\"language\"" => message.language = Some(value),
                _ => {}
            }
        }
        message
    }

    pub fn performative(&self) -> Cow<'a, str> {
        plain(self.performative)
    }

    pub fn sender(&self) -> Cow<'a, str> {
        plain(self.sender)
    }

    pub fn conversation_id(&self) -> Cow<'a, str> {
        plain(self.conversation_id)
    }

    pub fn protocol(&self) -> Cow<'a, str> {
        plain(self.protocol)
    }

    pub fn in_reply_to(&self) -> Cow<'a, str> {
        plain(self.in_reply_to)
    }

    /// The content; `null` when it has none.
    pub fn content(&self) -> Json<'a> {
        self.content.unwrap_or_else(|| Json::new("null"))
    }

    /// Any field, by its name in docs/api.md.
    pub fn field(&self, name: &str) -> Option<Json<'a>> {
        self.whole.get(name)
    }

    /// Is it this act?
    pub fn is(&self, performative: &str) -> bool {
        self.performative.map_or(false, |act| act.is(performative))
    }

    /// FIPA: never answer `failure` and `not-understood`, or two agents will complain to each other for ever.
    pub fn is_complaint(&self) -> bool {
        self.is("failure") || self.is("not-understood")
    }

    /// What an answer in a later turn needs, to be kept.
    pub fn address(&self) -> Address {
        let mut text = String::with_capacity(256);
        self.write_address(&mut |name, value| {
            text.push_str(",\"");
            text.push_str(name);
            text.push_str("\":");
            text.push_str(value.raw());
        });
        Address(text)
    }

    fn write_address(&self, put: &mut dyn FnMut(&str, Json<'a>)) {
        let fields = [
            ("receiver", self.reply_to.or(self.sender)),
            ("conversation_id", self.conversation_id),
            ("in_reply_to", self.reply_with),
            ("protocol", self.protocol),
            ("ontology", self.ontology),
            ("language", self.language),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                put(name, value);
            }
        }
    }
}

/// Where an answer goes: receiver, conversation and what it answers to.
#[derive(Clone, Debug)]
pub struct Address(String); // members of an object, each with a comma before

impl Address {
    /// As text, to be kept in the state.
    pub fn to_text(&self) -> String {
        self.0.clone()
    }

    /// What `to_text` gave.
    pub fn from_text(text: &str) -> Address {
        Address(text.to_string())
    }
}

static EXPECTED: AtomicU32 = AtomicU32::new(0);

/// The answers by their acts, of a message in its turn and of an address later.
pub trait Answer {
    fn draft(&self, performative: &str) -> Draft;

    fn answer(&self, performative: &str, content: impl Content) -> Draft {
        self.draft(performative).field("content", content)
    }

    /// The same, when it will be answered in its turn: with a `reply_with` of its own.
    fn answer_and_expect(&self, performative: &str, content: impl Content) -> Draft {
        let number = EXPECTED.fetch_add(1, Ordering::Relaxed) + 1;
        let mut mark = performative.to_string();
        mark.push('-');
        number.write(&mut mark);
        self.answer(performative, content).reply_with(&mark)
    }

    fn agree(&self, content: impl Content) -> Draft {
        self.answer("agree", content)
    }

    fn refuse(&self, content: impl Content) -> Draft {
        self.answer("refuse", content)
    }

    fn inform(&self, content: impl Content) -> Draft {
        self.answer("inform", content)
    }

    fn failure(&self, content: impl Content) -> Draft {
        self.answer("failure", content)
    }

    fn not_understood(&self, content: impl Content) -> Draft {
        self.answer("not-understood", content)
    }

    fn propose(&self, content: impl Content) -> Draft {
        self.answer_and_expect("propose", content)
    }

    fn accept_proposal(&self, content: impl Content) -> Draft {
        self.answer_and_expect("accept-proposal", content)
    }

    fn reject_proposal(&self, content: impl Content) -> Draft {
        self.answer("reject-proposal", content)
    }
}

impl Answer for Message<'_> {
    fn draft(&self, performative: &str) -> Draft {
        let mut draft = Some(Draft::new(performative));
        self.write_address(&mut |name, value| draft = draft.take().map(|so_far| so_far.field(name, value)));
        draft.unwrap_or_else(|| Draft::new(performative))
    }
}

impl Answer for Address {
    fn draft(&self, performative: &str) -> Draft {
        Draft::new(performative).raw(&self.0)
    }
}
