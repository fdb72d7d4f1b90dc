//! What other systems see of us: the only place where the wire's JSON is read and written.
//!
//! [`envelope`] is CloudEvents 1.0, [`inbound`] the messages we take, [`refusal`] what we answer when the rules
//! say no, [`events`] what we tell the world, and [`data`] what each of them says. [`schemas`] writes the JSON Schemas
//! of both from the same types and words.

pub mod binary;
pub mod data;
mod discrepancy_data;
pub mod envelope;
pub mod events;
mod file_data;
pub mod inbound;
mod message_fields;
pub mod refusal;
pub mod schemas;
pub mod story;
mod words;
