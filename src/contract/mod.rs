//! What other systems see of us: the only place where the wire's JSON is read and written.
//!
//! [`envelope`] is CloudEvents 1.0, [`inbound`] the messages we take, [`refusal`] what we answer when the rules
//! say no, [`events`] what we tell the world.

pub mod binary;
pub mod envelope;
pub mod events;
pub mod inbound;
pub mod refusal;
