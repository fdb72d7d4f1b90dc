//! One decision on one discrepancy, and its reopening.

use super::ResolveArgs;
use crate::cli::by::By;
use crate::cli::runs::refused;
use crate::cli::{Failure, commands, print};
use crate::stages::Context;
use crate::stages::decider::Decider;
use crate::stages::resolve::{self, Reopened, Resolution, Resolved};

pub async fn resolve(ctx: &Context, args: &ResolveArgs, json: bool) -> Result<(), Failure> {
    let (Some(id), Some(decision)) = (args.id, args.decision) else {
        return Err(Failure::Usage("resolve takes a discrepancy with its --decision, or a sheet (--csv)".into()));
    };
    let decider = Decider::new(&args.by, args.reason.as_deref().unwrap_or_default())?;
    let second = second(args)?;
    let resolution = Resolution { decision, order_no: args.order.clone(), decider, second };
    let (resolved, what) = match resolve::resolve(ctx, id, &resolution).await? {
        Resolved::Done(resolved) => (resolved, "done"),
        Resolved::Repeated => (vec![id], "repeated"),
        Resolved::Refused(no) => {
            let about = [("discrepancy_id", id.into()), ("decision", decision.as_str().into())];
            return refused(json, no.code(), &format!("{no}; nothing happened"), &about);
        }
    };
    let events_published = commands::publish(ctx).await;
    if json {
        print::document(&serde_json::json!({"discrepancy_id": id, "decision": decision.as_str(), "outcome": what,
            "resolved": resolved, "events_published": events_published}));
    } else if what == "repeated" {
        println!("discrepancy {id} was resolved by {} before; nothing happened", decision.as_str());
    } else {
        println!("discrepancy {id} is resolved by {}", decision.as_str());
        for beside in resolved.iter().filter(|beside| **beside != id) {
            println!("and so is {beside}, which says the same of its order");
        }
    }
    Ok(())
}

/// The second person's name, checked as the first one's.
pub fn second(args: &ResolveArgs) -> Result<Option<String>, Failure> {
    let checked = |name: &String| Decider::new(name, "-").map(|checked| checked.by().to_owned());
    args.second.as_ref().map(checked).transpose().map_err(|_| Failure::Usage("--second: not a name".into()))
}

pub async fn reopen(ctx: &Context, id: i64, by: &By, json: bool) -> Result<(), Failure> {
    let outcome = match resolve::reopen(ctx, id, &by.decider()?).await? {
        Reopened::Done => "done",
        Reopened::IsOpen => "repeated",
        Reopened::Unknown => {
            let why = format!("there is no discrepancy {id}; nothing happened");
            return refused(json, "unknown_discrepancy", &why, &[("discrepancy_id", id.into())]);
        }
    };
    let events_published = commands::publish(ctx).await;
    if json {
        print::document(
            &serde_json::json!({"discrepancy_id": id, "outcome": outcome, "events_published": events_published}),
        );
    } else if outcome == "done" {
        println!("discrepancy {id} is open again; what was booked stays booked");
    } else {
        println!("discrepancy {id} is open; nothing happened");
    }
    Ok(())
}
