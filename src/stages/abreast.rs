//! A few pieces of work side by side: the files of a run, of which one keeps the database busy while the other is
//! rendered or written. Called by the stages `seal` and `deliver`.

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::StageError;

/// Files of a run that are worked on at a time: enough to keep both sides busy, and few enough to hold in memory.
pub const FILES_ABREAST: usize = 2;

/// Does the work for each, at most so many at a time, each in a task that nothing cancels: a transaction is never left
/// half-way. `done` hears of each result. After a failure nothing more begins, and what has begun is waited for.
pub async fn abreast<I, F, T>(
    each: Vec<I>,
    at_a_time: usize,
    work: impl Fn(I) -> F,
    mut done: impl FnMut(T),
) -> Result<(), StageError>
where
    F: Future<Output = Result<T, StageError>> + Send + 'static,
    T: Send + 'static,
{
    let mut waiting = each.into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut failed = None;
    loop {
        let room = if failed.is_none() { at_a_time - under_way.len() } else { 0 };
        under_way.extend(waiting.by_ref().take(room).map(|one| tokio::spawn(work(one))));
        let Some(ended) = under_way.next().await else { break };
        match ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
            Ok(result) => done(result),
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}
