//! pikou (批扣, "batch deduction"): the worker behind a tax bureau's collection of social-insurance contributions.
//!
//! The story is one folder: [`stages`], read from top to bottom in the order in which money moves. A message comes in
//! by [`broker`] or a file and is taken by [`stages::intake`]; when [`schedule`] says so, [`stages::plan`] makes a run;
//! [`stages::seal`] makes its files and [`stages::deliver`] hands them over; the bank's answer goes through
//! [`stages::reconcile`]; [`stages::publish`] tells the world. [`worker`] drives them, each from the rows the one
//! before has left; no stage calls another.
//!
//! Everything else is vocabulary: [`domain`] is what is true, [`contract`] what others see, [`store`] all SQL,
//! [`gateway`] the files of banks, [`crypt`] what is kept secret. [`app`] puts it together from [`config`],
//! [`cli`] is what people type, [`demo`] is a day in the life, and [`fixtures`] holds cases against what is expected of them.

pub mod app;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contract;
pub mod crypt;
pub mod demo;
pub mod domain;
pub mod embedded;
pub mod fixtures;
pub mod gateway;
pub mod schedule;
pub mod stages;
pub mod store;
pub mod telemetry;
pub mod worker;
