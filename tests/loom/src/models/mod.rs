//! The models, one file for each thing that threads share.
mod directory;
mod ending;
mod mailbox;

/// Runs a model in every order with at most so many switches away from a thread that could go on.
fn explore(switches: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(model);
}
